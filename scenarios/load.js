// What a working day brings: bodies at a rate that does not ask whether the daemon keeps up.
//
//   RATE     bodies a second (1000)       DURATION   at that rate (5m)       RAMP   to get there, and back (30s)

import { publish, setup, teardown, thresholds } from './lib/daemon.js'

const { DURATION = '5m', RAMP = '30s' } = __ENV
const RATE = Number(__ENV.RATE || 1000)

export const options = {
  scenarios: {
    load: {
      executor: 'ramping-arrival-rate',
      startRate: 0,
      preAllocatedVUs: 100,
      maxVUs: 1000,
      stages: [
        { duration: RAMP, target: RATE },
        { duration: DURATION, target: RATE },
        { duration: RAMP, target: 0 },
      ],
    },
  },
  // A body that k6 had no user for was not sent: the rate is not what was asked for.
  thresholds: { ...thresholds(50), dropped_iterations: ['count<100'] },
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
}

export { setup, teardown }

export default function (daemon) {
  publish(daemon)
}
