// Loads the module of a handler into this thread.

import { createRequire, register } from 'node:module'
import { pathToFileURL } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import type { HandlerPlan } from '../config/config.ts'
import type { HandlerDefinition } from '../handler.ts'
import type { Loaded } from './handling.ts'

const PACKAGE = 'millrace'
let resolves = false

/** The module is not one of a handler, or cannot be loaded: what is wrong, a line each. */
export class HandlerError extends Error {
  override name = 'HandlerError'
  readonly problems: string[]

  constructor(problems: string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

/** `path` is absolute. Throws HandlerError. */
export async function loadHandler(path: string): Promise<Loaded> {
  findPackage(path)
  const { planOf } = await import('../config/handlers.ts') // threads without handlers do without the checks' library
  let exported: { default?: unknown }
  try {
    exported = await import(pathToFileURL(path).href)
  } catch (error) {
    throw new HandlerError([`does not load: ${told(error)}`])
  }
  const found = planOf(exported.default, path)
  if ('problems' in found) throw new HandlerError(found.problems)
  return { plan: found.plan, map: found.map as HandlerDefinition['map'] }
}

/** Loads what was checked before. Throws where a module says something else by now. */
export async function loadPlanned(plans: readonly HandlerPlan[]): Promise<Loaded[]> {
  const loaded: Loaded[] = []
  for (const plan of plans) {
    const one = await loadHandler(plan.path)
    if (!isDeepStrictEqual(one.plan, plan)) {
      throw new Error(`${plan.path} has changed since it was checked: send SIGHUP, or start again`)
    }
    loaded.push(one)
  }
  return loaded
}

/** Modules may lie anywhere: where none of their folders has this package, its name means the one that is running. */
function findPackage(path: string): void {
  if (resolves || canResolve(path)) return
  resolves = true
  const url = new URL('../handler.js', import.meta.url).href
  const hook = `export const resolve = (name, context, next) =>
    name === '${PACKAGE}' ? { url: '${url}', shortCircuit: true } : next(name, context)`
  register(`data:text/javascript,${encodeURIComponent(hook)}`)
}

function canResolve(path: string): boolean {
  try {
    createRequire(path).resolve(PACKAGE)
    return true
  } catch {
    return false
  }
}

function told(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
