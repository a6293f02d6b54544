// The role at the socket: takes events, and answers queries from the results stores.

import { setTimeout } from 'node:timers/promises'
import { Admission } from '../ingest/admission.ts'
import { openIntake } from '../ingest/intake.ts'
import { publish } from '../ingest/publish.ts'
import { Streams } from '../ingest/streams.ts'
import { BROKER_START_MS_MAX } from '../limits.ts'
import { openWriters } from '../log/open.ts'
import { brokerLines } from './broker-lines.ts'
import { DataPort } from './http.ts'
import type { Role, RoleParts } from './role.ts'

/** How long a drain waits for bodies that are on their way in. */
const UPLOAD_MS_MAX = 5_000
const UPLOAD_CHECK_MS = 5

export async function listener(parts: RoleParts): Promise<Role> {
  const { config, logger } = parts
  const port = await DataPort.open(parts)
  const writers = await openWriters(config, {
    ...brokerLines(logger),
    committed: (partition, writer) => port.stores.writer(partition, writer)?.sequence ?? 0,
  })
  const { lanes } = writers
  const intake = openIntake(lanes, parts.taps.source)
  const admission = new Admission()
  const { kind, durability } = lanes[0]
  const route = {
    intake,
    admission,
    auth: port.auth,
    refused: port.refused,
    draining: () => port.draining,
    closing: () => port.closing,
    maxBody: config.http.maxBody,
    durability,
  }
  port.app.post('/v1/events', publish(route))
  const streams = new Streams(route)
  streams.mount(port.app)
  await port.listen({ kind, durability }, { publish: true })
  // Without its broker it answers, too: queries, and 503.
  await Promise.race([writers.reached, setTimeout(BROKER_START_MS_MAX, undefined, { ref: false })])
  writers.reached.catch(parts.failed)

  return {
    report: () => ({
      lanes: lanes.map((lane) => ({ writer: lane.writer, written: lane.written() })),
      away: writers.away(),
      missing: writers.missing(),
    }),
    progress: (writers) => port.stores.progressOf(writers),
    async drain(leisure) {
      if (leisure !== undefined) {
        await port.leave(leisure)
        await streams.drain()
        await port.unused(() => streams.upgraded, leisure)
      }
      port.stopListening()
      const streamsOver = streams.drain()
      for (const deadline = Date.now() + UPLOAD_MS_MAX; admission.open > 0 && Date.now() < deadline; ) {
        await setTimeout(UPLOAD_CHECK_MS)
      }
      await intake.drained()
      await streamsOver
      await writers.close()
      await port.close()
    },
  }
}
