// How large the parts of a log have to be, for the configuration that checks its budget and the log that divides it.

import {
  CHUNK_BYTES_MIN,
  ENTRY_BYTES_MAX,
  SEGMENT_BODIES_MAX,
  SEGMENT_BYTES_TARGET,
  SEGMENT_HEADER_BYTES,
} from '../limits.ts'
import type { Config } from './config.ts'

/** For each writer the chunk it writes and the next one; and some that wait to be read, or to be used again. */
const CHUNKS_PER_WRITER = 2
const CHUNKS_MORE = 4

/** Bytes of the largest segment that bodies of this size make: one that was not full yet took the largest. */
export function segmentBytesMax(maxBody: number): number {
  return SEGMENT_HEADER_BYTES + SEGMENT_BYTES_TARGET + maxBody + SEGMENT_BODIES_MAX * ENTRY_BYTES_MAX
}

/** The fewest chunks that so many writers work with. */
export function chunksMin(writers: number): number {
  return CHUNKS_PER_WRITER * writers + CHUNKS_MORE
}

/** Bytes of the smallest chunk: it holds two of the largest segments, so that little is lost at its end. */
export function chunkBytesMin(segmentBytes: number): number {
  return Math.max(CHUNK_BYTES_MIN, 2 * segmentBytes)
}

/** The smallest budget of the embedded log. */
export function leastBytes(segmentBytes: number, writers: number): number {
  return chunksMin(writers) * chunkBytesMin(segmentBytes)
}

/** Half of a broker's budget is for what waits to be processed; each writer has its share of each partition's. */
export function backlogBytesMax(config: Pick<Config, 'log' | 'cluster' | 'grpc'>): number {
  const { retention, partitions } = config.log
  return Math.floor(retention.maxBytes / 2 / (partitions * writersOf(config)))
}

/** The smallest budget of a broker's log, for each partition: a writer's share takes two of the largest segments. */
export function leastBrokerBytes(segmentBytes: number, writers: number): number {
  return 2 * 2 * segmentBytes * writers
}

/** Processes that write: the listeners, and the gateway where there is gRPC. */
export function writersOf({ cluster, grpc }: Pick<Config, 'cluster' | 'grpc'>): number {
  return grpc === 'none' ? cluster.listeners : cluster.listeners + 1
}
