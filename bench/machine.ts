// The machine that figures were measured on: without it they say nothing.

import { close, fdatasync, mkdtempSync, openSync, readFileSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Histogram } from '../src/cli/histogram.ts'

export interface Machine {
  cpu: string
  cores: number
  memoryGiB: number
  node: string
  kernel: string
  /** Of the folder that the data is in. */
  fileSystem: string
  /** Of a write of 4 KiB in an allocated file and its fdatasync, milliseconds. */
  syncP50Ms: number
  syncP99Ms: number
}

const SYNCS = 500
const PAGE_BYTES = 4096
const FILE_PAGES = 1024

/** Takes a fraction of a second for the syncs. */
export async function describeMachine(): Promise<Machine> {
  const folder = tmpdir()
  const latency = await syncLatency(folder)
  return {
    cpu: cpus()[0].model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    kernel: release(),
    fileSystem: fileSystemOf(folder),
    syncP50Ms: latency.quantile(0.5),
    syncP99Ms: latency.quantile(0.99),
  }
}

/** In a line of text. */
export function machineLine(machine: Machine): string {
  const { cpu, cores, memoryGiB, node, kernel, fileSystem, syncP50Ms, syncP99Ms } = machine
  return (
    `${cores} x ${cpu}, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}; data on ${fileSystem}, fdatasync of 4 KiB ` +
    `p50 ${syncP50Ms.toFixed(2)} ms, p99 ${syncP99Ms.toFixed(2)} ms; the generator on the same cores`
  )
}

async function syncLatency(folder: string): Promise<Histogram> {
  const own = mkdtempSync(join(folder, 'millrace-sync-'))
  const fd = openSync(join(own, 'file'), 'w+')
  try {
    const page = Buffer.alloc(PAGE_BYTES, 120)
    writeSync(fd, Buffer.alloc(PAGE_BYTES * FILE_PAGES))
    const sync = promisify(fdatasync)
    await sync(fd)
    const latency = new Histogram()
    for (let n = 0; n < SYNCS; n++) {
      const started = performance.now()
      writeSync(fd, page, 0, PAGE_BYTES, (n % FILE_PAGES) * PAGE_BYTES)
      await sync(fd)
      latency.record(performance.now() - started)
    }
    return latency
  } finally {
    await promisify(close)(fd)
    rmSync(own, { recursive: true, force: true })
  }
}

/** The type of the mount that the folder is in, as the kernel names it; its number where there is no list of mounts. */
function fileSystemOf(folder: string): string {
  try {
    const mounts = readFileSync('/proc/self/mounts', 'utf8').trim().split('\n')
    const found = mounts
      .map((line) => line.split(' '))
      .filter(([, on]) => folder === on || folder.startsWith(on === '/' ? '/' : `${on}/`))
      .sort(([, one], [, other]) => other.length - one.length)[0]
    return found[2]
  } catch {
    return `file system ${statfsSync(folder).type.toString(16)}`
  }
}
