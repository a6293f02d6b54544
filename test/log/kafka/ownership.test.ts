import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, type TestContext, test } from 'node:test'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import type { Config } from '../../../src/config/config.ts'
import { openKafkaOwnership } from '../../../src/log/kafka/open.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { administrator, clients, configFor, Heard } from './fixture.ts'

const SILENT_MS = 2000
const PARTITIONS = 5

const kafka = await startKafka({ properties: { 'group.min.session.timeout.ms': '500' } })
after(() => kafka.stop())

const limits = { ownerSilentMs: SILENT_MS, reconnectMsMin: 20, reconnectMsMax: 200 }

for (const client of clients) {
  test(`${client}: one owns all; each that comes gets a share, and few partitions move`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    const a = new Owner(t, config, 'a')
    await a.until(() => a.owned.length === 5)
    const b = new Owner(t, config, 'b')
    await shared([a, b])
    const before = [a.owned, b.owned]
    const c = new Owner(t, config, 'c')
    await shared([a, b, c])
    for (const [i, member] of [a, b].entries()) {
      assert.ok(
        member.owned.every((partition) => before[i].includes(partition)),
        `${before[i]} became ${member.owned}`,
      )
    }
  })

  test(`${client}: what a member has that leaves goes to the others at once`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    const silentMs = 12_000
    const [a, b] = [new Owner(t, config, 'a', silentMs), new Owner(t, config, 'b', silentMs)]
    await shared([a, b])
    const started = performance.now()
    await a.leave()
    assert.deepEqual(a.owned, [])
    await b.until(() => b.owned.length === PARTITIONS)
    const ms = performance.now() - started
    // The last sign of life of one that left without a word would be up to a sixth of that time ago.
    assert.ok(ms < (silentMs * 5) / 6, `${ms} ms`)
  })

  test(`${client}: what a member has that is killed goes to the others`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    const a = new Owner(t, config, 'a')
    const b = new OwnerProcess(t, config, 'b')
    await shared([a, b])
    const started = performance.now()
    b.kill('SIGKILL')
    await a.until(() => a.owned.length === PARTITIONS)
    const ms = performance.now() - started
    assert.ok(ms < 3 * SILENT_MS, `${ms} ms`)
    t.diagnostic(`taken over after ${Math.round(ms)} ms`)
  })

  test(`${client}: a member that is killed and started again has its own back, unnoticed`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    // Long enough that the others cannot have it in the meantime.
    const silentMs = 60_000
    const a = new Owner(t, config, 'a', silentMs)
    const b = new OwnerProcess(t, config, 'b', silentMs)
    await shared([a, b])
    const [ofA, ofB] = [a.owned, b.owned]
    const changes = a.changes
    b.kill('SIGKILL')
    await b.gone
    const started = performance.now()
    const again = new OwnerProcess(t, config, 'b', silentMs)
    await again.until(() => again.owned.length > 0)
    t.diagnostic(
      `had again after ${Math.round(performance.now() - started)} ms, start of the process included`,
    )
    assert.deepEqual(again.owned, ofB)
    assert.deepEqual(a.owned, ofA)
    assert.equal(a.changes, changes)
  })

  test(`${client}: what is owned stays owned while the broker is away, and after`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    // Long enough that both are heard by a broker that has just started before it takes them for gone.
    const silentMs = 6000
    const [a, b] = [new Owner(t, config, 'a', silentMs), new Owner(t, config, 'b', silentMs)]
    await shared([a, b])
    const before = [a.owned, b.owned, a.changes, b.changes]
    await kafka.kill()
    const killed = performance.now()
    await Promise.all([a, b].map(({ heard }) => heard.until(() => heard.isAway)))
    await until(() => performance.now() - killed > silentMs)
    await kafka.restart()
    await Promise.all([a, b].map(({ heard }) => heard.until(() => !heard.isAway)))
    assert.deepEqual([a.owned, b.owned, a.changes, b.changes], before)
    // The group still works.
    await b.leave()
    await a.until(() => a.owned.length === PARTITIONS)
  })

  test(`${client}: a member under a name that another one takes is told so`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    const first = new Owner(t, config, 'same')
    await first.until(() => first.owned.length === PARTITIONS)
    const second = new Owner(t, config, 'same')
    await second.until(() => second.owned.length === PARTITIONS)
    await assert.rejects(first.ended, { name: 'LogMisconfigured', message: /under our name, same/ })
    assert.deepEqual(first.owned, [])
    assert.deepEqual(second.owned.length, PARTITIONS)
  })

  test(`${client}: a processor of another data directory is refused, and takes nothing`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    const first = new Owner(t, config, '0123456789ab-0')
    await first.until(() => first.owned.length === PARTITIONS)
    const stranger = new Owner(t, config, 'ba9876543210-0')
    await assert.rejects(stranger.ended, {
      name: 'LogMisconfigured',
      message: /another data directory.*0123456789ab-0, ours is ba9876543210-0.*log\.kafka\.topic/,
    })
    assert.deepEqual(stranger.owned, [])
    const second = new Owner(t, config, '0123456789ab-1')
    await shared([first, second])
  })

  test(`${client}: leaving while the broker is away ends soon`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: PARTITIONS })
    const a = new Owner(t, config, 'a')
    await a.until(() => a.owned.length === PARTITIONS)
    await kafka.kill()
    const started = performance.now()
    await a.leave()
    assert.ok(performance.now() - started < 5000)
    await kafka.restart()
  })
}

test('members with different clients share, and Kafka sees who has what', async (t) => {
  const config = configFor(kafka.brokers, 'kafkajs', { partitions: 4 })
  const other = { ...config.log.kafka, client: 'platformatic' as const }
  const a = new Owner(t, config, 'a')
  const b = new Owner(t, { ...config, log: { ...config.log, kafka: other } }, 'b')
  await shared([a, b], 4)
  const admin = await administrator(t, kafka.brokers)
  const { groups } = await admin.describeGroups([`${config.log.kafka.topic}-processors`])
  assert.equal(groups[0].state, 'Stable')
  assert.equal(groups[0].members.length, 2)
})

test('a time of silence that the broker does not allow is told', async (t) => {
  const owner = new Owner(t, configFor(kafka.brokers, 'kafkajs'), 'a', 100)
  await assert.rejects(owner.ended, { name: 'LogMisconfigured', message: /group\.min\.session\.timeout\.ms/ })
})

/** Waits until all partitions are owned once, in shares that differ by one at the most. */
async function shared(owners: (Owner | OwnerProcess)[], partitions = PARTITIONS): Promise<void> {
  const good = () => {
    const all = owners.flatMap(({ owned }) => owned).sort()
    const sizes = owners.map(({ owned }) => owned.length)
    const fair = Math.max(...sizes) - Math.min(...sizes) <= 1
    return fair && all.length === partitions && new Set(all).size === partitions
  }
  while (!good()) await Promise.race(owners.map((owner) => owner.next()))
}

class Changing {
  owned: number[] = []
  changes = 0
  #told: (() => void)[] = []

  /** Resolves with the next change. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#told.push(resolve))
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.next()
  }

  protected change(owned: Iterable<number>): void {
    this.owned = [...owned]
    this.changes++
    for (const told of this.#told.splice(0)) told()
  }
}

/** A member in this process. */
class Owner extends Changing {
  readonly heard = new Heard()
  readonly ended: Promise<void>
  readonly #stop = new AbortController()

  constructor(t: TestContext, config: Config, member: string, ownerSilentMs = SILENT_MS) {
    super()
    this.ended = this.#run(config, member, ownerSilentMs)
    this.ended.catch(() => {})
    atEnd(t, () => this.leave())
  }

  async leave(): Promise<void> {
    this.#stop.abort()
    await this.ended.catch(() => {})
  }

  async #run(config: Config, member: string, ownerSilentMs: number): Promise<void> {
    const options = { limits: { ...limits, ownerSilentMs } }
    const ownership = await openKafkaOwnership(config, member, this.heard, options)
    await ownership.run((owned) => this.change(owned), this.#stop.signal)
  }
}

/** A member in a process of its own. */
class OwnerProcess extends Changing {
  readonly gone: Promise<unknown>
  readonly #child: ChildProcess

  constructor(t: TestContext, config: Config, member: string, ownerSilentMs = SILENT_MS) {
    super()
    const script = join(import.meta.dirname, 'owner-child.js')
    this.#child = spawn(process.execPath, [script, JSON.stringify(config), member, String(ownerSilentMs)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.gone = new Promise((resolve) => this.#child.once('close', resolve))
    atEnd(t, async () => {
      this.kill('SIGKILL')
      await this.gone
    })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.change(JSON.parse(line)))
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}
