// The role at the socket: takes events, and answers queries from the results stores.

import { setTimeout } from 'node:timers/promises'
import { publish } from '../ingest/publish.ts'
import { Streams } from '../ingest/streams.ts'
import { openDoorLog } from './door-log.ts'
import { DataPort } from './http.ts'
import type { Role, RoleParts } from './role.ts'

/** How long a drain waits for bodies that are on their way in. */
const UPLOAD_MS_MAX = 5_000
const UPLOAD_CHECK_MS = 5

export async function listener(parts: RoleParts): Promise<Role> {
  const { config, metrics } = parts
  const port = await DataPort.open(parts)
  const log = await openDoorLog(parts, port.stores)
  const { admission, intake } = log
  const route = {
    intake,
    admission,
    auth: port.auth,
    refused: port.refused,
    draining: () => port.draining,
    closing: () => port.closing,
    maxBody: config.http.maxBody,
    durability: log.kept.durability,
    metrics,
  }
  port.app.post('/v1/events', publish(route))
  const streams = new Streams(route)
  streams.mount(port.app)
  metrics.reading('millrace_http_connections', {}, () => port.connections - streams.upgraded)
  await port.listen(log.kept, { publish: true })
  await log.begun()

  return {
    report: () => log.report(),
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
      await log.close()
      await port.close()
    },
  }
}
