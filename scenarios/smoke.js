// Does it hold at all: up to 100 virtual users within 30 s, to 500 within a minute, and back to none.
//
//   STAGES   30s:100,1m:500,30s:0         PAUSE    seconds that a user waits between two bodies (0.5)

import { sleep } from 'k6'
import { publish, setup, stages, teardown, thresholds } from './lib/daemon.js'

const PAUSE = Number(__ENV.PAUSE || 0.5)

export const options = {
  scenarios: {
    smoke: { executor: 'ramping-vus', stages: stages(__ENV.STAGES || '30s:100,1m:500,30s:0') },
  },
  thresholds: thresholds(100),
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
}

export { setup, teardown }

export default function (daemon) {
  publish(daemon)
  sleep(PAUSE)
}
