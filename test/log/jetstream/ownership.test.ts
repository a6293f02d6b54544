import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import type { Config } from '../../../src/config/config.ts'
import { OWNER_SILENT_MS_MAX } from '../../../src/limits.ts'
import { openJetStreamOwnership } from '../../../src/log/jetstream/open.ts'
import { LogMisconfigured } from '../../../src/log/log.ts'
import { atEnd, killQuietly } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { aside, configOf, ownServer, servers, Told } from './server.ts'

/** How often leases are renewed at the least. */
const RENEW_INTERVAL_MS = OWNER_SILENT_MS_MAX / 3

/** What a member owns, and all that it has owned before. */
class Member {
  owned: number[] = []
  readonly history: number[][] = []
  leave: () => Promise<unknown> = async () => {}

  changed(owned: Iterable<number>): void {
    this.owned = [...owned].sort((a, b) => a - b)
    this.history.push(this.owned)
  }
}

/** A member in this process, which leaves with the test. */
async function join_(t: TestContext, config: Config, name: string, told = new Told()): Promise<Member> {
  const member = new Member()
  const ownership = await openJetStreamOwnership(config, name, told)
  const stop = new AbortController()
  const run = ownership.run((owned) => member.changed(owned), stop.signal)
  member.leave = () => {
    stop.abort()
    return run
  }
  atEnd(t, () => member.leave())
  return member
}

/** A member in a process of its own. */
async function joinAsChild(t: TestContext, config: Config, name: string): Promise<Member> {
  const { member, child } = await loaded(t, config, name)
  child.send('join')
  return member
}

/** One that has yet to be sent word to join. */
async function loaded(
  t: TestContext,
  config: Config,
  name: string,
): Promise<{ member: Member; child: ChildProcess }> {
  const script = join(import.meta.dirname, 'owner-child.js')
  const child = fork(script, [JSON.stringify(config), name], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  const member = new Member()
  createInterface({ input: child.stdout! }).on('line', (line) => member.changed(JSON.parse(line) as number[]))
  const ended = new Promise((resolve) => child.on('exit', resolve))
  member.leave = () => {
    killQuietly(child.pid!)
    return ended
  }
  atEnd(t, () => member.leave())
  let isLoaded = false
  child.once('message', () => {
    isLoaded = true
  })
  await until(() => isLoaded)
  return { member, child }
}

/** All partitions are owned, by one member each, in such shares. */
function shared(partitions: number, members: Member[], shares: number[]): boolean {
  const all = members.flatMap(({ owned }) => owned).sort((a, b) => a - b)
  const sizes = members.map(({ owned }) => owned.length).sort()
  return (
    all.length === partitions && all.every((owned, i) => owned === i) && `${sizes}` === `${shares.sort()}`
  )
}

test('one member owns all partitions; those who come share evenly; who leaves hands over at once', async (t) => {
  const config = configOf(t, await servers(), { partitions: 8 })
  const a = await join_(t, config, 'host.example:a')
  await until(() => shared(8, [a], [8]))
  const b = await join_(t, config, 'host.example:b')
  await until(() => shared(8, [a, b], [4, 4]))
  const c = await join_(t, config, 'host.example:c')
  await until(() => shared(8, [a, b, c], [2, 3, 3]))
  const left = performance.now()
  await b.leave()
  assert.deepEqual(b.owned, [])
  await until(() => shared(8, [a, c], [4, 4]))
  assert.ok(performance.now() - left < OWNER_SILENT_MS_MAX / 2, 'not by waiting for the end of a lease')
})

test('a member that comes while another one takes partitions has its share at once', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses, { partitions: 300 })
  const bucket = `${config.log.jetstream.stream}-owners`
  const connection = await aside(t, addresses)
  connection.subscribe(`$KV.${bucket}.partition.0`, {
    max: 1,
    callback: () => connection.publish(`$KV.${bucket}.member.b`),
  })
  await connection.flush()
  const a = await join_(t, config, 'a')
  await until(() => a.owned.length === 300)
  const took = performance.now()
  await until(() => a.owned.length === 150)
  assert.ok(performance.now() - took < RENEW_INTERVAL_MS, 'not with the next renewal')
})

test('at no time do two members believe that they own the same', async (t) => {
  const config = configOf(t, await servers(), { partitions: 6 })
  const members: Member[] = []
  const owners = new Map<number, Member>()
  const twice: number[] = []
  const told = (member: Member) => {
    const changed = member.changed.bind(member)
    member.changed = (owned) => {
      changed(owned)
      for (const [partition, owner] of owners) {
        if (owner === member && !member.owned.includes(partition)) owners.delete(partition)
      }
      for (const partition of member.owned) {
        if ((owners.get(partition) ?? member) !== member) twice.push(partition)
        owners.set(partition, member)
      }
    }
  }
  for (const name of ['a', 'b', 'c', 'd']) {
    const member = await join_(t, config, name)
    told(member)
    members.push(member)
  }
  await until(() => shared(6, members, [1, 1, 2, 2]))
  for (let left = 3; left > 0; left--) {
    await members.pop()!.leave()
    await until(() => shared(6, members, left === 3 ? [2, 2, 2] : left === 2 ? [3, 3] : [6]))
  }
  assert.deepEqual(twice, [])
})

test('a processor of another data directory is refused while one lives, and takes nothing', async (t) => {
  const config = configOf(t, await servers(), { partitions: 4 })
  const first = await joinAsChild(t, config, '0123456789ab-0')
  await until(() => shared(4, [first], [4]))
  const ownership = await openJetStreamOwnership(config, 'ba9876543210-0', new Told())
  const stop = new AbortController()
  t.after(() => stop.abort())
  const owned: number[][] = []
  await assert.rejects(
    ownership.run((all) => owned.push([...all]), stop.signal),
    (error: Error) => {
      assert.ok(error instanceof LogMisconfigured, `${error}`)
      assert.match(error.message, /another data directory.*0123456789ab-0, ours is ba9876543210-0/)
      return true
    },
  )
  assert.ok(owned.every((all) => all.length === 0))
  assert.deepEqual(first.owned, [0, 1, 2, 3])
  await first.leave() // and leaves its keys behind
  const second = await join_(t, config, 'ba9876543210-0')
  await until(() => shared(4, [second], [4]))
})

test("a killed member's partitions go to others when it has been silent for long enough", async (t) => {
  const config = configOf(t, await servers(), { partitions: 5 })
  const a = await join_(t, config, 'a')
  const b = await joinAsChild(t, config, 'b')
  await until(() => shared(5, [a, b], [2, 3]))
  const kept = [...a.owned]
  const killed = performance.now()
  await b.leave()
  await until(() => a.owned.length === 5)
  const ms = performance.now() - killed
  assert.ok(ms > OWNER_SILENT_MS_MAX / 2 && ms < 2 * OWNER_SILENT_MS_MAX, `${ms} ms`)
  assert.ok(kept.every((partition) => a.history.slice(-3).every((owned) => owned.includes(partition))))
})

test('a member that is killed and comes again under its name has its partitions at once', async (t) => {
  const config = configOf(t, await servers(), { partitions: 4 })
  const a = await join_(t, config, 'a')
  const b = await joinAsChild(t, config, 'b')
  await until(() => shared(4, [a, b], [2, 2]))
  const [before, changes] = [[...b.owned], a.history.length]
  const { member: again, child } = await loaded(t, config, 'b')
  await b.leave()
  const joined = performance.now()
  child.send('join')
  await until(() => again.owned.length === 2)
  assert.ok(performance.now() - joined < OWNER_SILENT_MS_MAX / 2)
  assert.deepEqual(again.owned, before)
  assert.equal(a.history.length, changes, 'nobody else noticed')
})

test('what is owned stays owned while the server is away, for longer than a lease lasts', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers, { partitions: 4 })
  const told = new Told()
  const a = await join_(t, config, 'a', told)
  const b = await join_(t, config, 'b')
  await until(() => shared(4, [a, b], [2, 2]))
  const changes = [a, b].map(({ history }) => history.length)
  await nats.kill()
  const killed = performance.now()
  await until(() => performance.now() - killed > OWNER_SILENT_MS_MAX + 1000)
  assert.deepEqual(
    [a, b].map(({ history }) => history.length),
    changes,
  )
  await nats.restart()
  await until(() => told.all.includes('back'))
  await until(() => shared(4, [a, b], [2, 2]))
  await until(() => told.isBack)
})

test('a lease that somebody else has taken is given up', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses, { partitions: 3 })
  const a = await join_(t, config, 'a')
  await until(() => a.owned.length === 3)
  const bucket = await (await aside(t, addresses))
    .jetstream()
    .views.kv(`${config.log.jetstream.stream}-owners`)
  await bucket.put('partition.1', 'thief')
  await until(() => !a.owned.includes(1))
  assert.deepEqual(a.owned, [0, 2])
  await bucket.delete('partition.1')
  await until(() => a.owned.length === 3)
})

test('a bucket with leases of another length is refused', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  const name = `${config.log.jetstream.stream}-owners`
  await (await aside(t, addresses)).jetstream().views.kv(name, { ttl: 60_000 })
  await assert.rejects(
    openJetStreamOwnership(config, 'a', new Told()),
    (error) =>
      error instanceof LogMisconfigured && error.message.includes(`${name} keeps leases for 60000 ms`),
  )
})
