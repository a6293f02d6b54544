// The contract of a log: what every kind promises to the listener that writes and the processor that reads.
// test/log/conformance.ts holds each kind to it.

import type { Segment } from './segment.ts'

/** How safe an appended segment is: flushed to this host's disk, confirmed by a broker, or in memory only. */
export type Durability = 'fsynced' | 'broker-acked' | 'buffered'

/**
 * Where reading stands. A log is a set of lanes (a lane is one writer's chunks, or a topic's partition), each an
 * ordered run of segments; a position holds, for each lane, the number from which to read on. For lanes of
 * writers that number is the sequence after the last one read.
 */
export type Position = ReadonlyMap<string, number>

/** One segment read, and where its lane stands after it. Its bytes are valid until the next one is asked for. */
export interface LogEntry {
  segment: Segment
  lane: string
  next: number
}

/** What the newest durable segment of a writer is; shown by status. */
export interface Written {
  /** Segments, events and bodies made durable since this writer began. */
  segments: number
  events: number
  bodies: number
  /** Bytes that wait to be committed by the reader. */
  backlogBytes: number
}

/**
 * Owned by one listener. `append` may be called again before the last one resolved: segments get their sequence,
 * and become durable, in the order of the calls.
 */
export interface LogWriter {
  readonly kind: string
  /** This writer's identity: 16 hex digits, drawn anew for each writer. */
  readonly writer: string
  readonly durability: Durability
  /** Set where a segment's memory may be used again as soon as its append has resolved. */
  readonly givesBack?: boolean
  /**
   * Stamps the segment with (writer, sequence) and resolves once it is as durable as `durability` says.
   * Rejects with LogFull or LogUnavailable; the segment is then not in the log, and a later one can succeed.
   */
  append(segment: Segment): Promise<void>
  written(): Written
  /**
   * Resolves when all that was appended is safe from this process's end, rejects with LogUnavailable where some of it
   * is lost. Nothing may be appended after it.
   */
  close(): Promise<void>
}

/** Owned by one processor. */
export interface LogReader {
  readonly kind: string
  /**
   * All segments from a position on, those of one lane in order, for ever: it waits where there are none, and
   * ends when the signal is aborted. Never yields a segment before it is durable.
   */
  read(from: Position, signal: AbortSignal): AsyncIterable<LogEntry>
  /** The effects of everything before this position are durable: it will never be read again and may be trimmed. */
  committed(position: Position): void
  /**
   * Lanes that are over: their writer is gone, everything in them was committed, and nothing of them is left.
   * The ledger forgets their writers. Each is told once.
   */
  finished(): string[]
  /** Unix milliseconds: what was received before was read, from every log that may hold it. Left out: all that came. */
  readUpTo?(): number
  close(): Promise<void>
}

/** Everything in the log waits to be processed, and it is as large as it may be. Answered with 429. */
export class LogFull extends Error {
  override name = 'LogFull'
}

/** The log cannot be written: the disk is full or failing, the broker is away. Answered with 503. */
export class LogUnavailable extends Error {
  override name = 'LogUnavailable'
}

/** A segment was sent to a broker, which did not say in time whether it has it. Answered with 504. */
export class LogUnconfirmed extends Error {
  override name = 'LogUnconfirmed'
}

/** The broker is not what the configuration needs: starting again would not help. Names the setting. */
export class LogMisconfigured extends Error {
  override name = 'LogMisconfigured'
}
