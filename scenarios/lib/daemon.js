// What all scenarios share: where the daemon is, how a body is posted and its answer checked, and the account at the end.
//
//   URL      http://127.0.0.1:7070        KEY      sent as `Authorization: Bearer`
//   EVENTS   events in a body (10)        BODIES   different bodies of each virtual user (8)
//   P95      milliseconds in which 95 % of the bodies have to be answered; each scenario has its own default
//   SHARED   set where others send to this daemon too: what it accepted cannot be compared with what was acked then

import { check, fail, sleep } from 'k6'
import http from 'k6/http'
import { Counter } from 'k6/metrics'
import { frames } from './frame.js'

const { URL = 'http://127.0.0.1:7070', KEY, P95, SHARED } = __ENV
const EVENTS = Number(__ENV.EVENTS || 10)
const SUBJECTS = 1000
/** How long the daemon may take to process what is left when the load is over, seconds. */
const CATCH_UP_MAX = 60

const bodies = frames(Number(__ENV.BODIES || 8), EVENTS, SUBJECTS)
const authorization = KEY ? { authorization: `Bearer ${KEY}` } : {}
const request = {
  headers: { 'content-type': 'application/x-protobuf', ...authorization },
  tags: { name: 'publish' },
}

const acked = new Counter('events_acked')
/** Of bodies without an answer: nobody knows whether they were taken. */
const unanswered = new Counter('events_unanswered')
/** Acked, less what the daemon says at the end that it has accepted: 0. */
const unaccounted = new Counter('events_unaccounted')

/**
 * What has to hold of all that is posted: 95 % answered within `p95` milliseconds, half within a quarter of that, 99 %
 * within twice that. `abort`: the first that does not hold ends the run, instead of the account at its end.
 */
export function thresholds(p95, abort = undefined) {
  const most = Number(P95 || p95)
  const held = (threshold) => (abort === undefined ? threshold : { threshold, ...abort })
  return {
    'http_req_duration{name:publish}': [`p(95)<${most}`, `med<${most / 4}`, `p(99)<${most * 2}`].map(held),
    'http_req_failed{name:publish}': ['rate<0.001'].map(held),
    checks: ['rate>0.999'].map(held),
    ...(SHARED || abort !== undefined ? {} : { events_unaccounted: ['count==0'] }),
  }
}

/** `30s:100,1m:500`: within 30 s to 100, then within a minute to 500. */
export function stages(text) {
  return text.split(',').map((stage) => {
    const [duration, target] = stage.split(':')
    return { duration, target: Number(target) }
  })
}

/** Before the load: whether the daemon is there, and where its count stands. */
export function setup() {
  const { accepted, log } = status()
  return { before: accepted.events, durability: log.durability }
}

/** Posts one body. `refusable`: 429 and 503 are answers as good as 202, since more comes than can be taken. */
export function publish({ durability }, refusable = false) {
  const response = http.post(`${URL}/v1/events`, bodies[__ITER % bodies.length], request)
  if (response.status === 202) {
    acked.add(EVENTS)
    unaccounted.add(EVENTS)
  }
  if (response.status === 0) unanswered.add(EVENTS)
  if (refusable && (response.status === 429 || response.status === 503)) {
    check(response, { 'says when to come back': ({ headers }) => Number(headers['Retry-After']) > 0 })
    sleep(1)
    return
  }
  check(response, {
    '202, all accepted, as durable as the log is': (answer) => {
      if (answer.status !== 202) return false
      const said = answer.json()
      return said.accepted === EVENTS && said.durability === durability
    },
  })
}

/** After the load: all is processed, and the daemon has accepted what was acked. */
export function teardown({ before }) {
  let now = status()
  for (let waited = 0; now.lag.events > 0 && waited < CATCH_UP_MAX; waited += 0.1) {
    sleep(0.1)
    now = status()
  }
  unaccounted.add(before - now.accepted.events)
  if (now.lag.events > 0) fail(`${now.lag.events} events wait to be processed after ${CATCH_UP_MAX} s`)
}

function status() {
  const response = http.get(`${URL}/v1/status`, { headers: authorization, tags: { name: 'status' } })
  if (response.status !== 200) fail(`no status from ${URL}: ${response.error || response.body}`)
  return response.json()
}
