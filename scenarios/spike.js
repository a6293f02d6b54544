// Ten times the load from one second to the next, and back: what is refused is told when to come back, nothing that was
// acked is lost, and when it is over all is as before.
//
//   RATE     bodies a second, before and after (200)        SPIKE    bodies a second in the spike (10 times that)
//   CALM     how long before and after, seconds (30)        PEAK     how long the spike lasts, seconds (30)

import { publish, setup, teardown, thresholds } from './lib/daemon.js'

const RATE = Number(__ENV.RATE || 200)
const SPIKE = Number(__ENV.SPIKE || RATE * 10)
const CALM = Number(__ENV.CALM || 30)
const PEAK = Number(__ENV.PEAK || 30)

const { 'http_req_duration{name:publish}': calmly, ...spiked } = thresholds(100)

const at = (startTime, duration, rate, exec) => ({
  executor: 'constant-arrival-rate',
  startTime: `${startTime}s`,
  duration: `${duration}s`,
  rate,
  exec,
  preAllocatedVUs: 100,
  maxVUs: 1000,
})

export const options = {
  scenarios: {
    before: at(0, CALM, RATE, 'calm'),
    spike: at(CALM, PEAK, SPIKE, 'spike'),
    after: at(CALM + PEAK, CALM, RATE, 'calm'),
  },
  thresholds: {
    ...spiked,
    'http_req_duration{scenario:before}': calmly,
    'http_req_duration{scenario:after}': calmly,
  },
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
}

export { setup, teardown }

export function calm(daemon) {
  publish(daemon)
}

export function spike(daemon) {
  publish(daemon, true)
}
