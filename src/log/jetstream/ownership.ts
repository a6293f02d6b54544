// Who works on which partition: leases in a key-value bucket of the server, which alone decides.
//
//   member.<name>      lives as long as its member renews it
//   partition.<n>      the name of the member that owns it, likewise
//
// A key that is not renewed for OWNER_SILENT_MS_MAX is removed by the server. A lease is taken by making the key, which
// only one can, and renewed on condition that nobody has written it since.

import { createHash } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import {
  AckPolicy,
  createInbox,
  DeliverPolicy,
  type JetStreamManager,
  type KV,
  type Msg,
  type NatsConnection,
  nanos,
  StringCodec,
} from 'nats'
import type { Config } from '../../config/config.ts'
import { BROKER_REQUEST_MS_MAX, OWNER_SILENT_MS_MAX } from '../../limits.ts'
import { type BrokerHooks, isStranger, type Ownership } from '../broker.ts'
import { LogMisconfigured, LogUnavailable } from '../log.ts'
import { Link } from './connection.ts'
import { deliveryOf } from './delivery.ts'
import { apiCode, managerOf } from './stream.ts'

const RENEW_INTERVAL_MS = OWNER_SILENT_MS_MAX / 3
/** From hearing of a change to acting on it: the store is a little behind the news. */
const WAKE_MS = 50
/** How long leases may take to be given up at the end. */
const LEAVE_MS_MAX = 1_000
const WRONG_REVISION = 10071

const text = StringCodec()

interface Lease {
  value: string
  revision: number
}

export class JetStreamLease implements Ownership {
  readonly #partitions: number
  readonly #member: string
  readonly #bucket: string
  #link: Link | undefined
  #kv: KV | undefined
  /** Partition to the revision of its key. */
  readonly #owned = new Map<number, number>()
  #members: string[] = []
  #changed: (owned: ReadonlySet<number>) => void = () => {}
  #wake: () => void = () => {}
  /** Something may have changed that no turn has looked at yet. */
  #news = false
  #told = false
  /** Members of other data directories that were there before us, with the revisions of their keys. */
  #strangers = new Map<string, number>()
  #failures = 0

  private constructor(config: Config, member: string) {
    this.#partitions = config.log.partitions
    this.#member = member
    this.#bucket = `${config.log.jetstream.stream}-owners`
  }

  /** `member`: a name that stays the same when this process is started again. See Link.open. */
  static async open(
    config: Config,
    member: string,
    hooks: BrokerHooks,
    signal?: AbortSignal,
  ): Promise<JetStreamLease> {
    const lease = new JetStreamLease(config, member)
    lease.#link = await Link.open(
      { config: config.log.jetstream, hooks, prepare: (connection) => lease.#prepare(connection, config) },
      signal,
    )
    return lease
  }

  async run(changed: (owned: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    this.#changed = changed
    try {
      while (!signal.aborted) {
        await this.#turn(signal)
        await this.#pause(signal)
      }
      await Promise.race([this.#leave(), wait(LEAVE_MS_MAX)])
    } finally {
      await this.#link!.close()
    }
  }

  async #prepare(connection: NatsConnection, config: Config): Promise<void> {
    const { replicas } = config.log.jetstream
    const { views } = connection.jetstream({ timeout: BROKER_REQUEST_MS_MAX })
    this.#kv = await views.kv(this.#bucket, { ttl: OWNER_SILENT_MS_MAX, history: 1, replicas })
    const { ttl } = await this.#kv.status()
    if (ttl !== OWNER_SILENT_MS_MAX) {
      throw new LogMisconfigured(
        `the bucket ${this.#bucket} keeps leases for ${ttl} ms and must keep them for ${OWNER_SILENT_MS_MAX} ms: ` +
          'remove it, there is nothing else in it',
      )
    }
    connection.subscribe(`$KV.${this.#bucket}.>`, {
      callback: (error, message) => {
        if (error === null && this.#isNews(message)) this.#hear()
      },
    })
    this.#hear()
  }

  /** What comes in the middle of a turn is kept for the pause after it: the turn may have looked before. */
  #hear(): void {
    this.#news = true
    this.#wake()
  }

  /** A lease was given up, or there is a member that we do not know. */
  #isNews({ subject, headers }: Msg): boolean {
    const [, , kind, name] = subject.split('.')
    if (kind === 'member') {
      if (headers?.get('KV-Operation') === 'DEL') return true
      return name !== memberName(this.#member) && !this.#members.includes(name)
    }
    return headers?.get('KV-Operation') === 'DEL' && !this.#owned.has(Number(name))
  }

  async #pause(signal: AbortSignal): Promise<void> {
    if (!this.#news) {
      const woken = new AbortController()
      this.#wake = () => woken.abort()
      const either = AbortSignal.any([signal, woken.signal])
      await wait(RENEW_INTERVAL_MS, undefined, { signal: either }).catch(() => {})
    }
    if (!this.#news) return
    this.#news = false
    await wait(WAKE_MS, undefined, { signal }).catch(() => {})
  }

  /** Renews what is owned, gives up what is too much, takes what is free. Nothing changes while the server is away. */
  async #turn(signal: AbortSignal): Promise<void> {
    const connection = this.#link!.connection
    if (connection === undefined) return
    try {
      const manager = await managerOf(connection)
      if (!this.#told && (await this.#waitsForStrangers(connection, manager))) return
      await this.#kv!.put(memberKey(this.#member), '')
      await this.#renew()
      const leases = await readAll(connection, manager, this.#bucket)
      if (signal.aborted || connection.isClosed()) return
      this.#members = membersOf(leases, this.#member)
      await this.#takeBack(leases)
      const share = shareOf(this.#member, this.#members, this.#partitions)
      await this.#giveUp(this.#owned.size - share)
      await this.#take(leases, share)
      this.#failures = 0
      if (!this.#told) this.#tell() // also that there is nothing for us
      if (this.#link!.connection === connection) this.#link!.presence.back()
    } catch (error) {
      if (error instanceof LogMisconfigured) throw error
      // Once is nothing: the next turn comes well before a lease ends.
      if (++this.#failures > 1 && this.#link!.connection === connection) {
        this.#link!.presence.away(`the bucket ${this.#bucket} does not answer: ${(error as Error).message}`)
      }
    }
  }

  /** Before we show: true while there are some that may be dead. Throws once one of them gives a sign of life. */
  async #waitsForStrangers(connection: NatsConnection, manager: JetStreamManager): Promise<boolean> {
    const leases = await readAll(connection, manager, this.#bucket)
    const strangers = new Map<string, number>()
    for (const [key, { revision }] of leases) {
      const member = key.startsWith('member.') ? key.slice('member.'.length) : ''
      if (!isStranger(member, this.#member)) continue
      if ((this.#strangers.get(member) ?? revision) !== revision) {
        throw new LogMisconfigured(
          `the stream of ${this.#bucket} is processed by another data directory: its processor is ${member}, ours is ` +
            `${this.#member}. Each needs a stream of its own (log.jetstream.stream)`,
        )
      }
      strangers.set(member, revision)
    }
    this.#strangers = strangers
    return strangers.size > 0
  }

  async #renew(): Promise<void> {
    const lost: number[] = []
    await Promise.all(
      [...this.#owned].map(async ([partition, revision]) => {
        const renewed = await this.#write(partition, revision)
        if (renewed === undefined) lost.push(partition)
        else this.#owned.set(partition, renewed)
      }),
    )
    if (lost.length === 0) return
    for (const partition of lost) this.#owned.delete(partition)
    this.#tell()
  }

  /** The new revision, or undefined where somebody else has the lease. */
  async #write(partition: number, revision: number): Promise<number | undefined> {
    const key = partitionKey(partition)
    try {
      return await this.#kv!.update(key, this.#member, revision)
    } catch (error) {
      if (apiCode(error) !== WRONG_REVISION) throw error
    }
    // The answer to our own last writing may have been lost, or the server was away for longer than a lease lasts.
    const entry = await this.#kv!.get(key)
    if (entry === null || entry.operation !== 'PUT') return this.#make(key)
    if (entry.string() !== this.#member) return undefined
    return this.#kv!.update(key, this.#member, entry.revision).catch(raced)
  }

  /** The revision of a lease that was free, or undefined where somebody was quicker. */
  #make(key: string): Promise<number | undefined> {
    return this.#kv!.create(key, text.encode(this.#member)).catch(raced)
  }

  /** What an earlier process of our name has left. */
  async #takeBack(leases: Map<string, Lease>): Promise<void> {
    const before = this.#owned.size
    for (let partition = 0; partition < this.#partitions; partition++) {
      const lease = leases.get(partitionKey(partition))
      if (lease?.value !== this.#member || this.#owned.has(partition)) continue
      const revision = await this.#write(partition, lease.revision)
      if (revision !== undefined) this.#owned.set(partition, revision)
    }
    if (this.#owned.size > before) this.#tell()
  }

  async #giveUp(count: number): Promise<void> {
    if (count <= 0) return
    const leaving = [...this.#owned].slice(-count)
    for (const [partition] of leaving) this.#owned.delete(partition)
    this.#tell()
    await this.#remove(leaving)
  }

  async #take(leases: Map<string, Lease>, share: number): Promise<void> {
    const before = this.#owned.size
    // Members begin at different places, so that they seldom want the same.
    const start = Math.floor(
      (this.#members.indexOf(memberName(this.#member)) / this.#members.length) * this.#partitions,
    )
    for (let i = 0; i < this.#partitions && this.#owned.size < share; i++) {
      const partition = (start + i) % this.#partitions
      const key = partitionKey(partition)
      if (leases.has(key) || this.#owned.has(partition)) continue
      const revision = await this.#make(key)
      if (revision !== undefined) this.#owned.set(partition, revision)
    }
    if (this.#owned.size > before) this.#tell()
  }

  #tell(): void {
    this.#told = true
    this.#changed(new Set(this.#owned.keys()))
  }

  /** What cannot be given up now ends by itself. */
  async #leave(): Promise<void> {
    const leaving = [...this.#owned]
    this.#owned.clear()
    if (leaving.length > 0) this.#tell()
    if (this.#link!.connection === undefined) return
    await this.#kv!.delete(memberKey(this.#member)).catch(() => {})
    await this.#remove(leaving)
  }

  /** On condition that the leases are still ours. */
  async #remove(leases: [partition: number, revision: number][]): Promise<void> {
    await Promise.all(
      leases.map(([partition, revision]) =>
        this.#kv!.delete(partitionKey(partition), { previousSeq: revision }).catch(() => {}),
      ),
    )
  }
}

function raced(error: unknown): undefined {
  if (apiCode(error) !== WRONG_REVISION) throw error
  return undefined
}

function partitionKey(partition: number): string {
  return `partition.${partition}`
}

function memberKey(member: string): string {
  return `member.${memberName(member)}`
}

/** A key takes few characters: others are written as their numbers. A long name is cut, with a hash of all of it. */
function memberName(member: string): string {
  const name = member.replace(
    /[^A-Za-z0-9_-]/gu,
    (character) => `=${character.codePointAt(0)!.toString(16)}=`,
  )
  if (name.length <= 128) return name
  return `${name.slice(0, 96)}-${createHash('sha256').update(member).digest('hex').slice(0, 31)}`
}

/** Names of those that live, in order; ourselves among them. */
function membersOf(leases: Map<string, Lease>, self: string): string[] {
  const names = new Set([memberName(self)])
  for (const key of leases.keys()) {
    if (key.startsWith('member.')) names.add(key.slice('member.'.length))
  }
  return [...names].sort()
}

/** As many as everybody else; what does not come out even goes to the first ones, one each. */
function shareOf(member: string, members: readonly string[], partitions: number): number {
  const more = partitions % members.length
  return Math.floor(partitions / members.length) + (members.indexOf(memberName(member)) < more ? 1 : 0)
}

/** All keys that have a value, as of now. */
async function readAll(
  connection: NatsConnection,
  manager: JetStreamManager,
  bucket: string,
): Promise<Map<string, Lease>> {
  const stream = `KV_${bucket}`
  const prefix = `$KV.${bucket}.`
  const consumer = await manager.consumers.add(stream, {
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.LastPerSubject,
    filter_subject: `${prefix}>`,
    inactive_threshold: nanos(BROKER_REQUEST_MS_MAX),
    mem_storage: true,
    num_replicas: 1,
  })
  const leases = new Map<string, Lease>()
  if (consumer.num_pending > 0) {
    const batch = consumer.num_pending
    await deliveries(connection, `${stream}.${consumer.name}`, batch, (message) => {
      if (message.headers?.get('KV-Operation')) return // the mark of a key that was removed
      const lease = { value: text.decode(message.data), revision: deliveryOf(message).at }
      leases.set(message.subject.slice(prefix.length), lease)
    })
  }
  void manager.consumers.delete(stream, consumer.name).catch(() => {})
  return leases
}

/** So many messages of a consumer, or fewer where there are no more. */
function deliveries(
  connection: NatsConnection,
  consumer: string,
  batch: number,
  take: (message: Msg) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const inbox = createInbox()
    let left = batch
    const end = () => {
      clearTimeout(timer)
      subscription.unsubscribe()
      resolve()
    }
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null || message.subject === inbox) return end()
        take(message)
        if (--left === 0) end()
      },
    })
    const timer = setTimeout(() => {
      subscription.unsubscribe()
      reject(new LogUnavailable('its messages did not come in time'))
    }, BROKER_REQUEST_MS_MAX)
    const request = JSON.stringify({ batch, no_wait: true })
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${consumer}`, request, { reply: inbox })
  })
}
