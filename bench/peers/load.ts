// What a load is and what comes of it, for systems with HTTP and without.

import type { Histogram } from '../../src/cli/histogram.ts'

/** `whole`: a peer stores each body as one entry; else each event as an entry of its own. */
export interface Shape {
  events: number
  connections: number
  whole: boolean
}

export interface Load extends Shape {
  bodies: Buffer[]
  warmupSeconds: number
  seconds: number
}

export interface Outcome {
  seconds: number
  /** Events that were acked. */
  events: number
  /** Answers other than success, by status. */
  others: Map<string, number>
  /** Milliseconds. */
  latency: Histogram
}

/** A system that is started. */
export interface Running {
  /** Of its processes; their children count too. */
  pids: number[]
  load(load: Load): Promise<Outcome>
  /** Entries that are stored, or events that are processed: proof that an ack meant something. */
  stored(): Promise<number>
  /** Events processed so far, where a system processes. */
  processed?(): Promise<number>
  stop(): Promise<void>
}

export interface System {
  name: string
  /** What an ack means: flushed to disk, or written to the operating system's memory. */
  durability: 'fsync' | 'write'
  millrace: boolean
  /** Makes aggregates by key of the events, beside storing them. */
  processes: boolean
  open(whole: boolean): Promise<Running>
}
