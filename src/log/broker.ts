// What JetStream and Kafka are asked for: a few functions behind which each hides its client.
//
// A broker's log has one lane for each partition. Its number is the broker's own (sequence in the stream, offset in
// the partition), and its name has in it what tells one stream or topic from another of the same name made later,
// so that a position never speaks of another log.

import type { LogReader } from './log.ts'
import type { Segment } from './segment.ts'

/** Sends segments, of one process, to all partitions. */
export interface Publisher {
  readonly kind: 'jetstream' | 'kafka'
  /** Why nothing can be sent at present, in words; undefined while the broker answers. */
  readonly away: string | undefined
  /**
   * Resolves once the broker has confirmed the segment, which is stamped: its identity goes with it, and sending it
   * again does no harm. Segments of a partition reach the log in the order of the calls, also when earlier ones are not
   * confirmed yet; one that is sent anew may come after its successors. Rejects with
   *
   * - LogFull: the broker refused it for lack of room;
   * - LogUnavailable: the broker is away, and the segment surely is not in the log;
   * - LogUnconfirmed: it was sent, and for CONFIRM_MS_MAX nobody could say whether it is in the log.
   *
   * It keeps trying until then, through lost connections and restarts of the broker.
   */
  publish(partition: number, segment: Segment): Promise<void>
  /** Waits for what is on its way, up to CONFIRM_MS_MAX. */
  close(): Promise<void>
}

/** Reads one partition. Keeps trying while the broker is away: `read` does not end and does not throw for that. */
export interface BrokerReader extends LogReader {
  readonly kind: 'jetstream' | 'kafka'
  /** The name of its one lane; settled once the first `read` or `bounds` has reached the broker. */
  lane(): Promise<string>
  /** The number of the oldest segment held and the one that the next will get, as of now. Rejects when it is away. */
  bounds(): Promise<{ first: number; next: number }>
}

export interface BrokerHooks {
  /** Told when the broker goes away, with the reason, and when it is back: once each, not once a message. */
  onAway(reason: string): void
  onBack(): void
  /** Segments that the position asks for and the broker does not hold any more: lost to us. */
  onLost(lane: string, from: number, to: number): void
  /** Something in the log that is no segment of ours: it was skipped. */
  onForeign(lane: string, at: number, reason: string): void
  /** Something that breaks no promise but that an operator will want to know. */
  onNotice(text: string): void
}

/** The data directory that a processor's name begins with (daemon/seat.ts); undefined for names of another shape. */
export function directoryOf(member: string): string | undefined {
  return /^([0-9a-f]{12})-[0-9]+$/.exec(member)?.[1]
}

/** Two of one log would have a part of the results each. */
export function isStranger(member: string, self: string): boolean {
  const [theirs, ours] = [directoryOf(member), directoryOf(self)]
  return theirs !== undefined && ours !== undefined && theirs !== ours
}

/**
 * Which partitions this process owns. The store's epoch is what makes a mistake harmless; this decides who works on
 * what. What is owned stays owned while the broker is away: nobody can tell otherwise then.
 */
export interface Ownership {
  /** Takes part until the signal is aborted, then gives up what it has. `changed`: all that is owned now. */
  run(changed: (owned: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void>
}
