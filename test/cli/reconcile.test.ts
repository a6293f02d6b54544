import assert from 'node:assert/strict'
import { Readable, Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { readWords, UsageError } from '../../src/cli/command.ts'
import { reconcileCommand } from '../../src/cli/reconcile.ts'
import type { BrokerHooks } from '../../src/log/broker.ts'
import { LogMisconfigured } from '../../src/log/log.ts'
import { countedIn } from '../../src/processor/counted.ts'
import { Claims, HORIZON, Ledger } from '../../src/processor/ledger.ts'
import { openStore } from '../../src/results/store.ts'
import { temporaryFolder } from '../e2e/daemon.ts'
import { FakeBroker, stamped } from '../log/dual/fake-broker.ts'
import { run } from './fake.ts'

/** Two logs, and a data directory whose ledger has these segments. */
async function world(t: TestContext, counted: [writer: number, sequence: number][] = [], partitions = 1) {
  const dataDir = await temporaryFolder(t)
  if (counted.length > 0) {
    const store = await openStore(dataDir, 0)
    const ledger = new Ledger()
    const claims = new Claims()
    for (const [writer, sequence] of counted) {
      ledger.claimSegment(writer.toString(16).padStart(16, '0'), sequence, 1, claims)
    }
    ledger.claimBody('someone', 3, 1, claims)
    await store.commit(await store.takeOwnership(), (batch) => ledger.count([claims], batch))
    await store.close()
  }
  const brokers = {
    jetstream: new FakeBroker('jetstream', partitions),
    kafka: new FakeBroker('kafka', partitions),
  }
  const hooks: { kafka?: BrokerHooks } = {}
  const command = reconcileCommand(async (_config, hooksOf) => {
    hooks.kafka = hooksOf('kafka')
    return {
      openReader: async (kind, partition) => brokers[kind].reader(partition),
      openPublisher: async (kind) => brokers[kind].publisher(),
    }
  })
  const reconcile = async (...argv: string[]) => {
    const text = { out: '', err: '' }
    const into = (name: 'out' | 'err') =>
      new Writable({
        write(chunk, _encoding, done) {
          text[name] += chunk
          done()
        },
      })
    const sets = ['log.kind=dual', `log.partitions=${partitions}`, `dataDir=${dataDir}`]
    const words = readWords(command, [...argv, ...sets.flatMap((set) => ['--set', set])])!
    const io = { stdin: Readable.from([]), stdout: into('out'), stderr: into('err'), env: {} }
    const code = await command.run(words, io)
    return { code, stdout: text.out, stderr: text.err }
  }
  return { ...brokers, reconcile, dataDir, hooks }
}

test('a log that is not dual is wrong usage', async () => {
  const { code, stderr, stdout } = await run(['reconcile'])
  assert.deepEqual([code, stdout], [2, ''])
  assert.equal(
    stderr,
    'millrace reconcile: log.kind is embedded, which has one log only: there is nothing to compare\n' +
      'millrace reconcile --help says how\n',
  )
  assert.match((await run(['--help'])).stdout, /^ {2}reconcile /m)
})

test('two logs that agree', async (t) => {
  const { jetstream, kafka, reconcile, dataDir } = await world(t, [[1, 0]])
  kafka.store(0, stamped(1, 0))
  kafka.trim(0, 1)
  for (const broker of [jetstream, kafka]) {
    for (let n = 1; n < 1201; n++) broker.store(0, stamped(1, n, { receivedAt: 2, events: 3 }))
  }
  const agreeing = await reconcile()
  assert.deepEqual([agreeing.code, agreeing.stderr], [0, ''])
  assert.equal(
    agreeing.stdout,
    `partition  log        segments  events  equal  different  duplicates  trimmed there  only here  of it counted  of it copied
0          jetstream     1,200   3,600  1,200          0           0              0          0              0             0
0          kafka         1,200   3,600  1,200          0           0              0          0              0             0

Both logs have the same: nothing to do.
`,
  )
  jetstream.store(0, stamped(1, 0))
  const { code, stdout } = await reconcile()
  assert.equal(code, 0, dataDir)
  assert.match(
    stdout,
    /\n\nBoth logs have the same: nothing to do\.\n1 segment counted and trimmed in one log before the other: no loss\.\n$/,
  )
})

test('what is lacking is told, copied with --apply, and then both have the same', async (t) => {
  const { jetstream, kafka, reconcile } = await world(t, [[1, 0]], 2)
  jetstream.store(0, stamped(1, 0, { events: 5 }))
  jetstream.store(1, stamped(1, 1, { events: 5 }))
  kafka.store(1, stamped(2, 0))
  const before = await reconcile()
  assert.equal(before.code, 1)
  assert.equal(
    before.stdout,
    `partition  log        segments  events  equal  different  duplicates  trimmed there  only here  of it counted  of it copied
0          jetstream         1       5      0          0           0              0          1              1             0
0          kafka             0       0      0          0           0              0          0              0             0
1          jetstream         1       5      0          0           0              0          1              0             0
1          kafka             1       1      0          0           0              0          1              0             0
all        jetstream         2      10      0          0           0              0          2              1             0
all        kafka             1       1      0          0           0              0          1              0             0

kafka lacks 2 segments (10 events) of jetstream; 1 segment (5 events) not in the results yet.
jetstream lacks 1 segment (1 event) of kafka; 1 segment (1 event) not in the results yet.
Run it again with --apply to copy what is lacking.
`,
  )
  const applied = await reconcile('--apply')
  assert.equal(applied.code, 0)
  assert.match(
    applied.stdout,
    /\n\n2 segments \(10 events\) copied from jetstream into kafka\.\n1 segment \(1 event\) copied from kafka into jetstream\.\nBoth logs have the same now\.\n$/,
  )
  const after = await reconcile('--json')
  assert.equal(after.code, 0)
  const { agree, total, partitions } = JSON.parse(after.stdout)
  assert.equal(agree, true)
  assert.deepEqual(total.kafka.equal, { segments: 3, events: 11 })
  assert.equal(partitions.length, 2)
})

test('what is counted and lacking is told as such', async (t) => {
  const { kafka, reconcile } = await world(t, [[7, 0]])
  kafka.store(0, stamped(7, 0))
  const { code, stdout } = await reconcile()
  assert.equal(code, 1)
  assert.match(
    stdout,
    /^jetstream lacks 1 segment \(1 event\) of kafka, all counted: the results are right without them\.$/m,
  )
})

test('two contents of one identity are listed, and --apply does not make them agree', async (t) => {
  const { jetstream, kafka, reconcile } = await world(t)
  jetstream.store(0, stamped(1, 4, { text: 'one' }))
  kafka.store(0, stamped(1, 4, { text: 'other' }))
  const { code, stdout } = await reconcile('--apply', '--set', 'log.dual.consume=union')
  assert.equal(code, 1)
  assert.match(
    stdout,
    /^different: partition 0, writer 0{15}1, sequence 4: checksum [0-9a-f]{8} in jetstream, [0-9a-f]{8} in kafka$/m,
  )
  assert.match(
    stdout,
    /^1 segment with the same identity and other bytes: .* the results have what was read first\. /m,
  )
  assert.doesNotMatch(stdout, /Both logs have the same/)
})

test('without results, all that only one log has is taken as not counted, and that is said', async (t) => {
  const { jetstream, reconcile, dataDir } = await world(t)
  jetstream.store(0, stamped(1, 0))
  const { stderr } = await reconcile()
  assert.equal(
    stderr,
    `${dataDir} has no results of partition 0: what only one log has is taken as not counted\n`,
  )
})

test('a log that is away, or full while it is copied into, fails with what to do', async (t) => {
  const { jetstream, kafka, reconcile } = await world(t, [[1, 0]])
  jetstream.store(0, stamped(1, 0))
  kafka.answer = () => 'full'
  await assert.rejects(reconcile('--apply'), {
    name: 'Failure',
    message:
      'partition 0: copying into kafka stopped after 0 segments: full. What was copied is complete; run it again to go on',
  })
  kafka.away = 'connection refused'
  await assert.rejects(reconcile(), {
    name: 'Failure',
    message: 'partition 0: kafka does not say what it holds: connection refused',
  })
})

test('a log that goes away meanwhile is waited for, which is said', async (t) => {
  const { kafka, reconcile, hooks } = await world(t)
  const makeReader = kafka.reader.bind(kafka)
  kafka.reader = () => {
    hooks.kafka!.onAway('connection\u001b lost')
    hooks.kafka!.onBack()
    return makeReader()
  }
  const { code, stderr } = await reconcile()
  assert.equal(code, 0)
  assert.equal(stderr, 'kafka is away (connection\\u001b lost): waiting until it is back\nkafka is back\n')
})

test('a stored ledger says which segments were counted', async () => {
  const stored: [string, Buffer][] = []
  const ledger = new Ledger()
  const claims = new Claims()
  for (const sequence of [0, 1, 2, 7]) ledger.claimSegment('00000000000000aa', sequence, 1, claims)
  ledger.count([claims], { putLedger: (key, value) => stored.push([key, value]), removeLedger: () => {} })
  const counted = countedIn([...stored, ['p:00000000000000bb', stored[0][1]]])
  const asked = [0, 1, 2, 3, 6, 7, 8].filter((sequence) => counted('00000000000000aa', sequence, 1))
  assert.deepEqual(asked, [0, 1, 2, 7])
  assert.equal(counted('00000000000000bb', 0, 1), false, 'a producer is no writer')
})

test('a broker that is not what the configuration says is wrong configuration', async () => {
  const command = reconcileCommand(async () => ({
    openReader: () => Promise.reject(new LogMisconfigured('the topic has 3 partitions')),
    openPublisher: () => assert.fail('nothing is to be copied'),
  }))
  const words = readWords(command, ['--set', 'log.kind=dual'])!
  const io = { stdin: Readable.from([]), stdout: new Writable(), stderr: new Writable(), env: {} }
  await assert.rejects(
    async () => command.run(words, io),
    (error: Error) => {
      assert.ok(error instanceof UsageError, `${error}`)
      assert.equal(error.message, 'the topic has 3 partitions')
      return true
    },
  )
})

test('what is older than all that the ledger remembers is told apart from what is counted', async (t) => {
  const { jetstream, reconcile, dataDir } = await world(t, [[1, 0]])
  const store = await openStore(dataDir, 0)
  const horizon = Buffer.alloc(8)
  horizon.writeDoubleLE(1000)
  await store.commit(await store.takeOwnership(), (batch) => batch.putLedger(HORIZON, horizon))
  await store.close()
  jetstream.store(0, stamped(1, 0))
  jetstream.store(0, stamped(9, 0, { receivedAt: 999 }))
  jetstream.store(0, stamped(9, 1, { receivedAt: 1000 }))
  const { code, stdout } = await reconcile()
  assert.equal(code, 1)
  assert.match(
    stdout,
    /kafka lacks 3 segments \(3 events\) of jetstream; 1 segment \(1 event\) not in the results yet\./,
  )
  assert.match(stdout, /\n1 segment \(1 event\) of jetstream from before all that the results remember/)
})
