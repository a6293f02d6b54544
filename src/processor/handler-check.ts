// Checks the modules of handlers before anything is started, each in a thread of its own: one that hangs, ends its
// thread or throws when it is loaded hurts nobody.

import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { Config, HandlerPlan } from '../config/config.ts'
import { ConfigError } from '../config/problems.ts'
import { formatDuration } from '../config/units.ts'
import { HANDLER_LOAD_MS_MAX } from '../limits.ts'
import type { CheckData, Checked } from './handler-check-thread.ts'

/** The configuration with what its handlers say of themselves. Throws ConfigError with all that is wrong with them. */
export async function withPlans(config: Config): Promise<Config> {
  if (config.handlers.length === 0) return config
  const checked = await Promise.all(config.handlers.map((path) => check(path, config.pool.heap)))
  const problems: string[] = []
  const plans: HandlerPlan[] = []
  const handlers = new Map<string, string>()
  const measures = new Map(config.measures.map(({ name }) => [name, 'the configuration']))
  checked.forEach((one, i) => {
    const path = config.handlers[i]
    if ('problems' in one) {
      problems.push(...one.problems.map((problem) => `${path}: ${problem}`))
      return
    }
    const { plan } = one
    const twin = handlers.get(plan.name)
    if (twin !== undefined)
      problems.push(`${path}: name: ${twin} has a handler ${plan.name} too: names must differ`)
    handlers.set(plan.name, path)
    for (const { name } of plan.measures) {
      const owner = measures.get(name)
      if (owner !== undefined) {
        problems.push(`${path}: measures: there is a measure ${name} in ${owner}: names must differ`)
      }
      measures.set(name, path)
    }
    plans.push(plan)
  })
  if (problems.length > 0) throw new ConfigError(problems)
  return { ...config, plans }
}

function check(path: string, heapBytes: number): Promise<Checked> {
  if (!existsSync(path)) return Promise.resolve({ problems: ['there is no such file'] })
  return new Promise((resolve) => {
    const tag = randomUUID()
    const thread = new Worker(new URL('./handler-check-thread.js', import.meta.url), {
      workerData: { path, tag } satisfies CheckData,
      resourceLimits: { maxOldGenerationSizeMb: heapBytes / 2 ** 20 },
    })
    const settle = (checked: Checked) => {
      clearTimeout(timer)
      thread.removeAllListeners('exit')
      void thread.terminate()
      resolve(checked)
    }
    const timer = setTimeout(() => {
      settle({ problems: [`does not load: it has not ended after ${formatDuration(HANDLER_LOAD_MS_MAX)}`] })
    }, HANDLER_LOAD_MS_MAX)
    // A module may post whatever it likes.
    thread.on('message', (message) => {
      if (message?.tag === tag) settle(message.checked)
    })
    thread.on('error', (error) => settle({ problems: [`does not load: ${error.message}`] }))
    thread.on('exit', (code) => settle({ problems: [`ended its thread with exit code ${code} when loaded`] }))
  })
}
