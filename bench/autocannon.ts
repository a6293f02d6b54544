// autocannon with frames of 100 events at 32 connections: its command line would read a body as text, which a frame is
// not. `node build/bench/autocannon.js URL SECONDS`; exits with 1 when anything but 202 was answered.

import autocannon from 'autocannon'
import { bodies } from './events.ts'

const [url = 'http://127.0.0.1:7070', seconds = '10'] = process.argv.slice(2)
const result = await autocannon({
  url: `${url}/v1/events`,
  connections: 32,
  duration: Number(seconds),
  requests: bodies(100, 1000).map((body) => ({
    method: 'POST' as const,
    headers: { 'content-type': 'application/x-protobuf' },
    body,
  })),
})
console.log(autocannon.printResult(result))
if (result['2xx'] === 0 || result.non2xx > 0 || result.errors > 0) process.exitCode = 1
