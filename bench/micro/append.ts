// Appends to the embedded log on the disk that the temporary folder is on: what a 202 waits for.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../../src/config/config.ts'
import { openLocalWriter } from '../../src/log/open.ts'
import { type Segment, SegmentBuilder } from '../../src/log/segment.ts'
import { bodies } from '../events.ts'
import type { Case } from './case.ts'

/** Nobody reads and nothing is freed: room for all that is appended. */
const LOG_BYTES = 8 * 1024 ** 3
const EVENTS_PER_BODY = 100

function segmentOf(frames: Buffer[]): Segment {
  const builder = new SegmentBuilder(64 * 1024)
  for (const frame of frames) builder.add(frame, EVENTS_PER_BODY, '', 0, '', Date.now())
  return builder.seal()
}

export async function append(): Promise<Case[]> {
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-micro-'))
  const config = {
    dataDir,
    http: { maxBody: 4 * 1024 * 1024 },
    cluster: { listeners: 1 },
    grpc: 'none',
    log: { kind: 'embedded', partitions: 1, retention: { maxBytes: LOG_BYTES, maxAge: 3_600_000 } },
  } as Config
  const writer = await openLocalWriter(config, 0)
  const frames = bodies(EVENTS_PER_BODY, 1000, 0, 64)
  const large = segmentOf(frames)
  const small = Array.from({ length: 16 }, (_, n) => segmentOf([frames[n]]))
  return [
    {
      name: 'append, a segment of 100 events',
      count: EVENTS_PER_BODY,
      unit: 'event',
      run: async () => writer.append(small[0]),
    },
    {
      name: 'append, 16 of these at once',
      count: EVENTS_PER_BODY * small.length,
      unit: 'event',
      run: async () => Promise.all(small.map((one) => writer.append(one))),
    },
    {
      name: 'append, a segment of 6400 events',
      count: EVENTS_PER_BODY * frames.length,
      unit: 'event',
      run: async () => writer.append(large),
      async close() {
        await writer.close()
        await rm(dataDir, { recursive: true, force: true })
      },
    },
  ]
}
