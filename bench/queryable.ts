// How long after its 202 an event shows up in the answers, while others come at a steady rate.

import { Agent, request } from 'node:http'
import { millrace } from '#proto'
import { Histogram } from '../src/cli/histogram.ts'
import { bodies } from './events.ts'
import { generate } from './generator.ts'

const agent = new Agent({ keepAlive: true })

/** `rate`: requests a second of the load beside the probes. Returns a line of text. */
export async function queryableAfterAck(url: string, rate: number, seconds: number): Promise<string> {
  const load = { url, connections: 32, bodies: bodies(100, 1000), eventsPerBody: 100, warmupSeconds: 2 }
  await generate({ ...load, seconds: 1 }) // compiled code first: a fresh process falls behind and stays there
  const loading = generate({ ...load, seconds, rate })
  let done = false
  const finished = loading.finally(() => {
    done = true
  })
  const latency = new Histogram()
  for (let n = 0; !done; n++) {
    const subject = `probe-${n}`
    const event = { source: 'probe', type: 'probe', subject, value: 1 }
    await send(url, 'POST', '/v1/events', Buffer.from(millrace.v1.Frame.encode({ events: [event] }).finish()))
    const acked = performance.now()
    for (;;) {
      const answer = await send(url, 'GET', `/v1/measures/by-subject?key=${subject}`)
      if (JSON.parse(answer).rows.length > 0) break
      await new Promise((resolve) => setTimeout(resolve, 1)) // asking without pause would be a load of its own
    }
    latency.record(performance.now() - acked)
  }
  const outcome = await finished
  const [p50, p99] = [latency.quantile(0.5), latency.quantile(0.99)]
  const ack = `ack p50 ${outcome.latency.quantile(0.5).toFixed(1)} ms p99 ${outcome.latency.quantile(0.99).toFixed(1)} ms`
  return `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms of ${latency.count} probes; ${ack}`
}

function send(url: string, method: string, path: string, body?: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/x-protobuf' }
    const sent = request(url + path, { method, headers, agent }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      response.on('end', () => {
        if (response.statusCode! < 300) resolve(text)
        else reject(new Error(`${response.statusCode}: ${text}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
