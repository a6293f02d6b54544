// The floor's listener: body -> scan -> ring -> 202. No headers are looked at, nothing is admitted or refused.

import uWS, { type HttpResponse } from 'uWebSockets.js'
import { connect } from 'node:net'
import { join } from 'node:path'
import { scan } from '../../src/ingest/scan.ts'
import { onMessage, PROCESSOR_SOCKET, tell } from './link.ts'
import { Ring } from './ring.ts'

type Waiting = HttpResponse & { gone?: boolean; body?: Buffer }

let answering: Waiting
const answer = () => {
  answering.writeStatus('202 Accepted').end()
}

/** Resolves with the port. `lane`: a number of its own. */
export async function startListener(dir: string, lane: number, port: number): Promise<number> {
  const processor = connect(join(dir, PROCESSOR_SOCKET))
  await new Promise((resolve) => processor.once('connect', resolve))
  const totals = { accepted: 0, processed: 0 }
  const ring = new Ring<Waiting>(
    join(dir, `${lane}.ring`),
    (waiting) => {
      for (answering of waiting) if (!answering.gone) answering.cork(answer)
    },
    (at, bytes, events) => tell(processor, at, bytes, events),
  )
  await ring.ready()
  tell(processor, lane, 0, 0)
  onMessage(processor, (writes, accepted, processed) => {
    ring.free(writes)
    totals.accepted = accepted
    totals.processed = processed
  })
  const app = uWS.App()
  app.post('/v1/events', (res: Waiting) => {
    res.onAborted(() => {
      res.gone = true
    })
    res.onData((chunk, last) => {
      let body: Uint8Array = new Uint8Array(chunk)
      if (!last || res.body !== undefined) {
        res.body = Buffer.concat([res.body ?? Buffer.alloc(0), body])
        if (!last) return
        body = res.body
      }
      if (!ring.add(body, scan(body, 0, body.length), res)) res.writeStatus('503 Service Unavailable').end()
    })
  })
  app.get('/v1/status', (res) => {
    res.end(
      JSON.stringify({
        accepted: { events: totals.accepted },
        processed: { events: totals.processed, duplicates: { events: 0 } },
        lag: { events: totals.accepted - totals.processed, bytes: 0, seconds: 0 },
      }),
    )
  })
  return new Promise((resolve, reject) => {
    app.listen('127.0.0.1', port, (socket) => {
      if (socket) resolve(uWS.us_socket_local_port(socket))
      else reject(new Error('cannot listen'))
    })
  })
}
