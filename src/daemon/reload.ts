// SIGHUP: the configuration is read again from where it came from, and compared; then every worker is replaced, one
// after another. What cannot be done leaves everything as it was. The receipt says what was done; no values are in it,
// so no secrets either.

import type { Config } from '../config/config.ts'
import { ConfigError } from '../config/problems.ts'
import { formatListen } from '../config/units.ts'
import type { RoleName } from './link.ts'
import type { Replaced, Slot } from './supervisor.ts'

/** Reads the configuration from its sources, with more `--set key=value` over all of them. Throws ConfigError. */
export type Load = (more?: readonly string[]) => Promise<Config>

/**
 * What stays as it is until the daemon is started anew: where others know it by, and what names the log, of which some
 * workers would have another idea than others for a while. With its value as `--set` takes it.
 */
const fixed: Record<string, (config: Config) => unknown> = {
  dataDir: ({ dataDir }) => dataDir,
  grpc: ({ grpc }) => (grpc === 'none' ? grpc : { ...grpc, listen: formatListen(grpc.listen) }),
  'http.listen': ({ http }) => formatListen(http.listen),
  'admin.listen': ({ admin }) => formatListen(admin.listen),
  'cluster.listeners': ({ cluster }) => cluster.listeners,
  'cluster.processors': ({ cluster }) => cluster.processors,
  'log.kind': ({ log }) => log.kind,
  'log.partitions': ({ log }) => log.partitions,
  'log.jetstream.stream': ({ log }) => log.jetstream.stream,
  'log.kafka.topic': ({ log }) => log.kafka.topic,
}

/** Listeners first: what they cannot run with is known before the results are touched. */
const order: readonly RoleName[] = ['listener', 'gateway', 'processor']

export interface Read {
  config: Config
  changed: string[]
  needsRestart: string[]
}

/**
 * The configuration as it is to run now: as read, but for what is fixed. All that has to be right before a worker may
 * be touched is checked here. Throws ConfigError.
 */
export async function readAgain(load: Load, running: Config): Promise<Read> {
  const asked = await load()
  const text = (key: string, of: Config) => JSON.stringify(fixed[key](of))
  const needsRestart = Object.keys(fixed).filter((key) => text(key, asked) !== text(key, running))
  // Checked together with what stays: a port that stays open to others needs the keys that it has.
  const config =
    needsRestart.length === 0 ? asked : await load(needsRestart.map((key) => `${key}=${text(key, running)}`))
  return { config, changed: differences(running, config), needsRestart }
}

/** Paths of what differs, such as `logging.level` or `measures[by-subject]`. */
export function differences(before: unknown, after: unknown, path = ''): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  const [left, right] = [partsOf(before), partsOf(after)]
  if (left === undefined || right === undefined) return [path]
  const names = new Set([...left.keys(), ...right.keys()])
  const inside = [...names].flatMap((name) => {
    const isElement = name.startsWith('[')
    const inner = path === '' ? name : `${path}${isElement ? '' : '.'}${name}`
    if (isElement && JSON.stringify(left.get(name)) !== JSON.stringify(right.get(name))) return [inner]
    return differences(left.get(name), right.get(name), inner)
  })
  return inside.length > 0 ? inside : [path] // only in another order
}

/** Of a map by its keys, of a list by the names of its elements; undefined for what has no parts. */
function partsOf(value: unknown): Map<string, unknown> | undefined {
  if (Array.isArray(value)) {
    const named = value.every((one) => typeof one?.name === 'string')
    return named ? new Map(value.map((one) => [`[${one.name}]`, one])) : undefined
  }
  return typeof value === 'object' && value !== null ? new Map(Object.entries(value)) : undefined
}

export function problemsOf(error: Error): string[] {
  return error instanceof ConfigError ? [...error.problems] : [error.message]
}

/**
 * Replaces every worker, one after another. Where one cannot run with the new configuration, those before it get the
 * former one back, and the reason is returned; `interrupted` when everything ends.
 */
export async function roll(
  slots: readonly Slot[],
  former: Config,
  config: Config,
  replaced: (slot: Slot, pid: number) => void,
  ending: () => boolean,
): Promise<undefined | { failed: string } | 'interrupted'> {
  const done: Slot[] = []
  const replace = async (slot: Slot, to: Config): Promise<Replaced> => {
    const outcome = await slot.replace(to)
    if (outcome !== 'interrupted' && 'pid' in outcome) replaced(slot, outcome.pid)
    return outcome
  }
  for (const slot of order.flatMap((role) => slots.filter((one) => one.role === role))) {
    if (ending()) return 'interrupted'
    const outcome = await replace(slot, config)
    if (outcome === 'interrupted') return outcome
    if ('failed' in outcome) {
      let failed = `the ${slot.role} does not start with it: ${outcome.failed}`
      for (const one of done.reverse()) {
        const back = await replace(one, former)
        if (back === 'interrupted') return back
        if ('failed' in back) failed += `; a ${one.role} runs with it and did not go back: ${back.failed}`
      }
      await slot.untilReady()
      return { failed }
    }
    done.push(slot)
  }
  return undefined
}
