// For hours: does anything grow? Half of what the machine can do or less, at a constant rate.
//
//   RATE     bodies a second (500)        DURATION   2h

import { publish, setup, teardown, thresholds } from './lib/daemon.js'

const { DURATION = '2h' } = __ENV

export const options = {
  scenarios: {
    soak: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 500),
      duration: DURATION,
      preAllocatedVUs: 100,
      maxVUs: 1000,
    },
  },
  thresholds: { ...thresholds(50), dropped_iterations: ['rate<1'] },
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
}

export { setup, teardown }

export default function (daemon) {
  publish(daemon)
}
