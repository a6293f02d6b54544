// Until it breaks: more and more bodies a second, until 95 % of them are no longer answered in time, one in a thousand is
// refused, or k6 has no user left to send with. It is meant to end by itself, with k6's exit code 99; at which rate, the
// last lines of its progress say.
//
//   RATE     bodies a second at its end, which no machine should reach (50000)       DURATION   how long that takes (10m)
//   SETTLE   how long a run may miss its thresholds at its start (5s)

import { publish, setup, teardown, thresholds } from './lib/daemon.js'

const { DURATION = '10m', SETTLE = '5s' } = __ENV
const RATE = Number(__ENV.RATE || 50000)
const abort = { abortOnFail: true, delayAbortEval: SETTLE }

export const options = {
  scenarios: {
    stress: {
      executor: 'ramping-arrival-rate',
      startRate: 100,
      preAllocatedVUs: 200,
      maxVUs: 1000,
      stages: [{ duration: DURATION, target: RATE }],
    },
  },
  thresholds: {
    ...thresholds(100, abort),
    dropped_iterations: [{ threshold: 'rate<100', ...abort }],
  },
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
}

export { setup, teardown }

export default function (daemon) {
  publish(daemon)
}
