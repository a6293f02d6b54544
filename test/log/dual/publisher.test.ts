import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BEHIND_BYTES_MAX, KEEPING_UP_MS_MIN } from '../../../src/limits.ts'
import { DualPublisher } from '../../../src/log/dual/publisher.ts'
import { LogFull, LogUnavailable, LogUnconfirmed } from '../../../src/log/log.ts'
import { type Answer, FakeBroker, stamped } from './fake-broker.ts'

function dual(ackWhen: 'both' | 'any') {
  const jetstream = new FakeBroker('jetstream')
  const kafka = new FakeBroker('kafka')
  const told: string[] = []
  const publisher = new DualPublisher({
    jetstream: jetstream.publisher(),
    kafka: kafka.publisher(),
    ackWhen,
    hooks: {
      onBehind: (kind, reason) => told.push(`${kind} behind: ${reason}`),
      onKeepingUp: (kind, { segments }) => told.push(`${kind} keeps up, lacks ${segments}`),
    },
  })
  const answer = (ofJetstream: Answer, ofKafka: Answer) => {
    jetstream.answer = () => ofJetstream
    kafka.answer = () => ofKafka
  }
  return { publisher, jetstream, kafka, told, answer }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))
const nothing = { segments: 0, events: 0 }

/** Whether the promise is settled after some turns of the event loop. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false
  const set = () => {
    done = true
  }
  promise.then(set, set)
  for (let i = 0; i < 5; i++) await turn()
  return done
}

test('both: a segment is written when both logs have confirmed it, and each has the same bytes', async () => {
  const { publisher, jetstream, kafka, answer } = dual('both')
  answer('confirm', 'hold')
  const written = publisher.publish(0, stamped(1, 0))
  assert.equal(await settled(written), false)
  kafka.held[0]()
  await written
  assert.deepEqual(jetstream.segments(0)[0].bytes, kafka.segments(0)[0].bytes)
  assert.deepEqual(publisher.missing, { jetstream: nothing, kafka: nothing })
})

test('both: while one log is away, neither is sent anything', async () => {
  for (const kind of ['jetstream', 'kafka'] as const) {
    const { publisher, jetstream, kafka } = dual('both')
    const broker = kind === 'kafka' ? kafka : jetstream
    broker.away = 'connection refused'
    assert.equal(publisher.away, `${kind} is away: connection refused`)
    await assert.rejects(publisher.publish(0, stamped(1, 0)), LogUnavailable)
    assert.deepEqual([...jetstream.asked, ...kafka.asked], [])
    broker.away = undefined
    assert.equal(publisher.away, undefined)
    await publisher.publish(0, stamped(1, 0))
  }
})

test('both: what both refuse alike is refused so, and what one has is unconfirmed', async () => {
  const cases: [Answer, Answer, new () => Error, RegExp][] = [
    ['full', 'full', LogFull, /^jetstream has not got it \(full\), kafka has not got it \(full\)$/],
    ['away', 'away', LogUnavailable, /refused/],
    ['full', 'away', LogUnavailable, /jetstream has not got it \(full\), kafka has not got it \(refused\)/],
    ['confirm', 'full', LogUnconfirmed, /^jetstream has the segment, kafka has not got it \(full\)$/],
    ['away', 'confirm', LogUnconfirmed, /^jetstream has not got it \(refused\), kafka has the segment$/],
    ['stored', 'full', LogUnconfirmed, /^jetstream may have it \(no word\), kafka has not got it \(full\)$/],
    ['confirm', 'lost', LogUnconfirmed, /^jetstream has the segment, kafka may have it \(no word\)$/],
    ['lost', 'stored', LogUnconfirmed, /jetstream may have it .*kafka may have it/],
  ]
  for (const [ofJetstream, ofKafka, kind, message] of cases) {
    const { publisher, answer, jetstream, kafka } = dual('both')
    answer(ofJetstream, ofKafka)
    const error: Error = await publisher.publish(0, stamped(1, 0)).then(
      () => assert.fail('it was taken'),
      (reason) => reason,
    )
    assert.equal(error.name, kind.name, `${ofJetstream}, ${ofKafka}`)
    assert.match(error.message, message)
    if (kind !== LogUnconfirmed) assert.equal(jetstream.segments(0).length + kafka.segments(0).length, 0)
  }
})

test('both: a log that answers late is waited for, however much is on its way', async () => {
  const { publisher, kafka, answer } = dual('both')
  answer('confirm', 'hold')
  const bytes = BEHIND_BYTES_MAX / 2
  const written = [0, 1, 2, 3].map((n) => publisher.publish(0, stamped(1, n, { bytes })))
  assert.equal(await settled(Promise.race(written)), false)
  const last = publisher.publish(0, stamped(1, 4, { bytes }))
  for (const release of kafka.held) release()
  await Promise.all([...written, last])
  assert.equal(kafka.segments(0).length, 5)
})

test('any: a segment is written when one log has confirmed it', async () => {
  for (const answers of [
    ['confirm', 'hold'],
    ['hold', 'confirm'],
    ['confirm', 'full'],
    ['lost', 'confirm'],
  ] as [Answer, Answer][]) {
    const { publisher, answer } = dual('any')
    answer(...answers)
    await publisher.publish(0, stamped(1, 0))
  }
})

test('any: one that is away is left out, and what it lacks is counted and told once', async () => {
  const { publisher, jetstream, kafka, told } = dual('any')
  kafka.away = 'connection refused'
  assert.equal(publisher.away, undefined)
  for (let n = 0; n < 3; n++) await publisher.publish(0, stamped(1, n, { events: 5 }))
  await turn()
  assert.deepEqual(kafka.asked, [])
  assert.deepEqual(publisher.missing, { jetstream: nothing, kafka: { segments: 3, events: 15 } })
  assert.deepEqual(told, ['kafka behind: connection refused'])

  jetstream.away = 'gone'
  assert.equal(publisher.away, 'jetstream is away: gone; kafka is away: connection refused')
  await assert.rejects(publisher.publish(0, stamped(1, 3)), LogUnavailable)
  assert.deepEqual(publisher.missing.kafka, { segments: 3, events: 15 }, 'nobody has it')
})

test('any: it is told when a log keeps up again, and not while it misses some and takes others', async (t) => {
  t.mock.method(performance, 'now', () => now)
  let now = 0
  const { publisher, kafka, told } = dual('any')
  kafka.answer = ({ sequence }) => (sequence % 2 === 0 ? 'full' : 'confirm')
  for (let n = 0; n < 10; n++) {
    await publisher.publish(0, stamped(1, n))
    await turn()
    now += KEEPING_UP_MS_MIN / 4
  }
  assert.deepEqual(told, ['kafka behind: full'])
  kafka.answer = () => 'confirm'
  for (let n = 10; n < 20; n++) {
    await publisher.publish(0, stamped(1, n))
    await turn()
    now += KEEPING_UP_MS_MIN / 4
  }
  assert.deepEqual(told, ['kafka behind: full', 'kafka keeps up, lacks 5'])
})

test('any: both failing is LogFull when both are full, and says what is known otherwise', async () => {
  const cases: [Answer, Answer, new () => Error][] = [
    ['full', 'full', LogFull],
    ['full', 'away', LogUnavailable],
    ['away', 'away', LogUnavailable],
    ['full', 'lost', LogUnconfirmed],
    ['stored', 'away', LogUnconfirmed],
  ]
  for (const [ofJetstream, ofKafka, kind] of cases) {
    const { publisher, answer, told } = dual('any')
    answer(ofJetstream, ofKafka)
    await assert.rejects(
      publisher.publish(0, stamped(1, 0)),
      { name: kind.name },
      `${ofJetstream}, ${ofKafka}`,
    )
    assert.deepEqual(publisher.missing, { jetstream: nothing, kafka: nothing })
    assert.deepEqual(told, [])
  }
  const { publisher, kafka, answer } = dual('any')
  kafka.away = 'gone'
  answer('lost', 'confirm')
  await assert.rejects(publisher.publish(0, stamped(1, 0)), LogUnconfirmed)
  answer('full', 'confirm')
  await assert.rejects(publisher.publish(0, stamped(1, 1)), LogUnavailable)
})

test('any: a log that is slow is left out when too much is on its way to it, but not while the other is away', async () => {
  const { publisher, jetstream, kafka, answer, told } = dual('any')
  answer('confirm', 'hold')
  const bytes = BEHIND_BYTES_MAX / 4
  for (let n = 0; n < 8; n++) await publisher.publish(0, stamped(1, n, { bytes }))
  await turn()
  const taken = kafka.asked.length
  assert.ok(taken >= 4 && taken < 8, `${taken} were taken`)
  assert.equal(publisher.missing.kafka.segments, 8 - taken)
  assert.match(told.join(), /^kafka behind: [0-9]+ bytes are on their way to it, [0-9]+ at most$/)

  jetstream.away = 'gone'
  const alone = publisher.publish(0, stamped(1, 8))
  assert.equal(kafka.asked.length, taken + 1)
  for (const release of kafka.held.splice(0)) release()
  await alone
  jetstream.away = undefined
  answer('confirm', 'confirm')
  await turn()
  await publisher.publish(0, stamped(1, 9))
  assert.equal(kafka.asked.length, taken + 2, 'it is sent again once it has caught up')
})
