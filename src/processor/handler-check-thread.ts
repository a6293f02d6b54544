// The thread in which one module is loaded to see whether it can be.

import { parentPort, workerData } from 'node:worker_threads'
import type { HandlerPlan } from '../config/config.ts'
import { HandlerError, loadHandler } from './handler-load.ts'

export type Checked = { plan: HandlerPlan } | { problems: string[] }

try {
  const { plan } = await loadHandler(workerData as string)
  parentPort!.postMessage({ plan } satisfies Checked)
} catch (error) {
  const problems = error instanceof HandlerError ? error.problems : [(error as Error).message]
  parentPort!.postMessage({ problems } satisfies Checked)
}
