// One line when a broker goes away, and one when it is back, which is counted.

import type { BrokerEvents } from '../log/open.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Metrics } from '../telemetry/metrics.ts'

export function brokerLines(logger: Logger, metrics: Metrics): BrokerEvents {
  return {
    onAway: (broker, reason) => logger.warn({ broker, reason }, `waiting for ${broker}: ${reason}`),
    onBack(broker) {
      metrics.counter('millrace_log_reconnects_total', { broker }).add(1)
      logger.info({ broker }, `${broker} is back`)
    },
    onNotice: (broker, text) => logger.warn({ broker }, text),
    onBehind: (broker, reason) =>
      logger.warn(
        { broker, reason },
        `${broker} misses what the other log has: millrace reconcile copies it`,
      ),
    onKeepingUp: (broker, missing) =>
      logger.warn({ broker, missing }, `${broker} keeps up again; millrace reconcile copies what it missed`),
  }
}
