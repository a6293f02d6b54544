// Which partitions this processor owns: what the members of a consumer group agree on, with Kafka as the referee.
// Nothing is read through the group.
//
// Each member joins under a name that outlives its process (static membership): started again in time, it has its
// partitions back at once, and nobody else notices.

import { isStranger, type Ownership } from '../broker.ts'
import { LogMisconfigured } from '../log.ts'
import {
  assign,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from './assignment.ts'
import type { Cluster } from './cluster.ts'
import { type KafkaLimits, type Presence, pause } from './presence.ts'
import { CODE, type GroupMember, type Joined, type KafkaConnection, KafkaFailure } from './protocol.ts'

const PROTOCOL = 'millrace'
/** Signs of life in the time after which a member counts as gone; also how soon it hears of a change. */
const HEARTBEATS = 6
const NO_GENERATION = -1
/** Another kind of consumer is in the group; the broker does not allow so short a time. */
const INCONSISTENT_PROTOCOL = 23
const INVALID_SESSION_TIMEOUT = 26

export interface OwnershipParts {
  newCluster: () => Cluster
  presence: Presence
  limits: KafkaLimits
  /** Unlike that of any other processor of this topic, and the same when this one is started again. */
  member: string
  partitions: number
}

export class KafkaOwnership implements Ownership {
  readonly #parts: OwnershipParts

  constructor(parts: OwnershipParts) {
    this.#parts = parts
  }

  async run(changed: (owned: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    const cluster = this.#parts.newCluster()
    const membership = new Membership(this.#parts, cluster, changed)
    const end = () => cluster.close() // also a join that waits for others
    signal.addEventListener('abort', end)
    try {
      await this.#takePart(membership, cluster, signal)
    } finally {
      signal.removeEventListener('abort', end)
      cluster.close()
      changed(new Set())
      await this.#leave(membership)
    }
  }

  async #takePart(membership: Membership, cluster: Cluster, signal: AbortSignal): Promise<void> {
    const { presence, limits } = this.#parts
    while (!signal.aborted) {
      try {
        await membership.step()
        presence.back()
        await pause(membership.joined ? limits.ownerSilentMs / HEARTBEATS : 0, signal)
      } catch (error) {
        if (!(error instanceof KafkaFailure)) throw error
        if (signal.aborted) return
        const again = membership.failed(error)
        cluster.forget()
        if (error.kind !== 'refused') presence.gone(error.message)
        if (!again) await presence.pause(signal)
      }
    }
  }

  /** The others need not wait until we count as gone. Where the broker is away they have to. */
  async #leave({ member }: Membership): Promise<void> {
    if (member.id === '') return // whoever has our name then is another
    const cluster = this.#parts.newCluster()
    try {
      await (await cluster.coordinator(member.group)).leave(member)
    } catch (error) {
      if (!(error instanceof KafkaFailure)) throw error
    } finally {
      cluster.close()
    }
  }
}

/** This process in the group. */
class Membership {
  readonly member: GroupMember
  readonly #parts: OwnershipParts
  readonly #cluster: Cluster
  readonly #changed: (owned: ReadonlySet<number>) => void
  #coordinator: KafkaConnection | undefined
  #owned: number[] = []
  joined = false

  constructor(parts: OwnershipParts, cluster: Cluster, changed: (owned: ReadonlySet<number>) => void) {
    this.#parts = parts
    this.#cluster = cluster
    this.#changed = changed
    const group = `${cluster.topic}-processors`
    this.member = { group, instance: parts.member, id: '', generation: NO_GENERATION }
  }

  /** Joins, or says that we are still here. */
  async step(): Promise<void> {
    if (!this.#coordinator?.open) this.#coordinator = await this.#cluster.coordinator(this.member.group)
    if (this.joined) await this.#coordinator.heartbeat(this.member)
    else await this.#join(this.#coordinator)
  }

  /** What we own stays ours until the group says otherwise. True where another step may follow at once. */
  failed({ kind, code, message }: KafkaFailure): boolean {
    if (kind !== 'refused') {
      this.#coordinator = undefined
      return false
    }
    const { group, instance } = this.member
    switch (code) {
      case CODE.rebalanceInProgress:
      case CODE.illegalGeneration:
        this.joined = false
        return true
      case CODE.unknownMember:
        this.joined = false
        this.member.id = ''
        return true
      case CODE.fencedInstance:
        throw new LogMisconfigured(
          `another processor takes part in ${group} under our name, ${instance}: names must differ`,
        )
      case CODE.groupForbidden:
        throw new LogMisconfigured(`the user may not take part in the consumer group ${group}`)
      case INCONSISTENT_PROTOCOL:
        throw new LogMisconfigured(`the consumer group ${group} has members that are no processors of ours`)
      case INVALID_SESSION_TIMEOUT:
        throw new LogMisconfigured(
          `the broker must allow a session timeout of ${this.#parts.limits.ownerSilentMs} ms ` +
            `(group.min.session.timeout.ms, group.max.session.timeout.ms): ${message}`,
        )
      default: // the coordinator moves or starts
        this.#coordinator = undefined
        return false
    }
  }

  async #join(coordinator: KafkaConnection): Promise<void> {
    const { topic } = this.#cluster
    const { ownerSilentMs } = this.#parts.limits
    const joined = await coordinator.join({
      ...this.member,
      protocol: PROTOCOL,
      metadata: encodeSubscription(topic, this.#owned),
      sessionMs: ownerSilentMs,
      rebalanceMs: ownerSilentMs,
    })
    this.member.id = joined.id
    this.member.generation = joined.generation
    const assignments = joined.leader === joined.id ? this.#assignments(joined) : new Map<string, Buffer>()
    const given = await coordinator.sync(this.member, PROTOCOL, assignments)
    const { partitions, leader } = decodeAssignment(given, topic)
    if (isStranger(leader, this.member.instance)) {
      throw new LogMisconfigured(
        `the topic ${topic} is processed by another data directory: its processor is ${leader}, ours is ` +
          `${this.member.instance}. Each needs a topic of its own (log.kafka.topic)`,
      )
    }
    this.#owned = partitions
    this.joined = true
    this.#changed(new Set(this.#owned))
  }

  #assignments({ members }: Joined): Map<string, Buffer> {
    const { topic } = this.#cluster
    const leader = this.member.instance
    const candidates = members.map(({ id, instance, metadata }) => ({
      id,
      instance,
      owned: decodeSubscription(metadata, topic),
    }))
    // Processors of another data directory get nothing, and see from the leader's name why.
    const ours = candidates.filter(({ instance }) => !isStranger(instance, leader))
    const assigned = assign(ours, this.#parts.partitions)
    return new Map(
      members.map(({ id }) => [id, encodeAssignment(topic, { partitions: assigned.get(id) ?? [], leader })]),
    )
  }
}
