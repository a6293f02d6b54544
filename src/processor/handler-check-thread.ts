// The thread in which one module is loaded to see whether it can be.

import { parentPort, workerData } from 'node:worker_threads'
import type { HandlerPlan } from '../config/config.ts'
import { HandlerError, loadHandler } from './handler-load.ts'

export type Checked = { plan: HandlerPlan } | { problems: string[] }

export interface CheckData {
  path: string
  /** Tells what is found here from what the module posts. */
  tag: string
}

const { path, tag } = workerData as CheckData
parentPort!.postMessage({ tag, checked: await check() })

async function check(): Promise<Checked> {
  try {
    const { plan } = await loadHandler(path)
    return { plan }
  } catch (error) {
    return { problems: error instanceof HandlerError ? error.problems : [(error as Error).message] }
  }
}
