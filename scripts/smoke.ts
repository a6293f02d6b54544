// `npm run smoke`: autocannon against a daemon that is started for it, some seconds; every event that was acked must
// have been counted, once. Exits with 1 where one was not, or where anything but 202 was answered.
//
//   --requests N    of 100 events each (40000)        --set a.b=c    a setting of the daemon

import { parseArgs } from 'node:util'
import autocannon from 'autocannon'
import { Daemon } from '../bench/daemon.ts'
import { bodies } from '../bench/events.ts'

const EVENTS = 100
const SUBJECTS = 1000

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '40000' },
    set: { type: 'string', multiple: true, default: [] },
  },
})
const amount = Number(values.requests)
if (!Number.isSafeInteger(amount) || amount < 1) {
  console.error(`--requests ${values.requests}: a whole number from 1 on`)
  process.exit(2)
}

const daemon = await Daemon.start(values.set)
try {
  const result = await autocannon({
    url: `${daemon.http}/v1/events`,
    connections: 32,
    amount, // a number of requests, not of seconds: none is cut off, so the count is exact
    requests: bodies(EVENTS, SUBJECTS).map((body) => ({
      method: 'POST' as const,
      headers: { 'content-type': 'application/x-protobuf' },
      body,
    })),
  })
  console.log(autocannon.printResult(result))
  await daemon.caughtUp()
  const { accepted, processed } = await daemon.status()
  const counts = {
    acked: result['2xx'] * EVENTS,
    accepted: accepted.events,
    processed: processed.events,
    'in by-subject': await countedBySubject(),
  }
  console.table(counts)
  const exact = new Set(Object.values(counts)).size === 1
  if (!exact) console.error('these are not equal')
  if (!exact || counts.acked !== amount * EVENTS || result.errors > 0) process.exitCode = 1
} finally {
  await daemon.stop()
}

async function countedBySubject(): Promise<number> {
  const response = await fetch(`${daemon.http}/v1/measures/by-subject/top?limit=${SUBJECTS * 2}`)
  const { rows } = (await response.json()) as { rows: { count: number }[] }
  return rows.reduce((sum, { count }) => sum + count, 0)
}
