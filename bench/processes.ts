// What the daemon's processes take, read from /proc (Linux).

import { readdirSync, readFileSync } from 'node:fs'

export interface Process {
  pid: number
  /** Megabytes that no other process shares, and all that are resident. */
  privateMb: number
  /** Of the private ones those of no file. The others are pages of the store, most of them clean: a cache, in truth. */
  anonymousMb: number
  residentMb: number
  /** Seconds of processor time since it began. */
  cpu: number
}

const TICKS_PER_SECOND = 100

/** A process and its children. */
export function processesOf(pid: number): Process[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const pids = all.map(Number).filter((other) => other === pid || stat(other)?.parent === pid)
  return pids.flatMap((other) => {
    const read = stat(other)
    const memory = readText(`/proc/${other}/smaps_rollup`)
    if (read === undefined || memory === undefined) return []
    const kb = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(memory)?.[1] ?? 0)
    const privateMb = (kb('Private_Clean') + kb('Private_Dirty')) / 1024
    const [anonymousMb, residentMb] = [kb('Anonymous') / 1024, kb('Rss') / 1024]
    return [{ pid: other, privateMb, anonymousMb, residentMb, cpu: read.cpu }]
  })
}

/** Over all of them. */
export function sumOf(processes: readonly Process[], field: Exclude<keyof Process, 'pid'>): number {
  return processes.reduce((sum, process) => sum + process[field], 0)
}

export function cpuOf(pid: number): number {
  return sumOf(processesOf(pid), 'cpu')
}

function stat(pid: number): { parent: number; cpu: number } | undefined {
  const text = readText(`/proc/${pid}/stat`)
  if (text === undefined) return undefined
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { parent: Number(fields[1]), cpu: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND }
}

/** Undefined when the process has ended meanwhile. */
function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
