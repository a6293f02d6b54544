// Starts the real daemon as a child process on ports and in a folder of its own, and ends it with the test.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { stringify } from 'yaml'
import { millrace } from '#proto'
import { reservePort } from '../../scripts/ports.ts'
import { until } from '../until.ts'

export const root = resolve(import.meta.dirname, '../../..')
export const entry = join(root, 'dist', 'index.js')

/** For a line of the log, beside other tests. */
const LINE_MS_MAX = 120_000

export interface Status {
  accepted: { events: number; frames: number }
  processed: {
    events: number
    frames: number
    duplicates: { events: number; frames: number }
    redelivered: { events: number }
    damaged: { events: number }
  }
  lag: { events: number; bytes: number; seconds: number }
  log: {
    kind: string
    durability: string
    away?: Record<string, string>
    missing?: Record<string, { segments: number; events: number }>
  }
  roles: { role: string; pid: number; ready: boolean; restarts: number }[]
}

export interface DaemonOptions {
  /** Configuration laid over the tests' defaults. */
  config?: Record<string, unknown>
  dataDir?: string
  /** A part of the roles, as `--roles` takes it. */
  roles?: string
  /** Node's own arguments. */
  nodeArguments?: string[]
  env?: Record<string, string>
  /** A file to stand for /proc/sys/kernel/random/boot_id: the daemon believes that the machine was started anew. */
  bootId?: string
}

/** Settings, as environment, of a daemon that something else starts. */
export async function ownPorts(): Promise<Record<string, string>> {
  const listen = async () => `127.0.0.1:${await reservePort()}`
  return {
    MILLRACE_HTTP__LISTEN: await listen(),
    MILLRACE_GRPC__LISTEN: await listen(),
    MILLRACE_ADMIN__LISTEN: await listen(),
  }
}

/** A line of the daemon's log. */
export type Line = Record<string, unknown> & { msg?: string; role?: string }

export class Daemon {
  readonly lines: Line[] = []
  readonly dataDir: string
  readonly #options: DaemonOptions
  #child: ChildProcess | undefined
  #exited: Promise<{ code: number | null; signal: string | null }> | undefined
  #watchers: (() => void)[] = []
  http = ''
  admin = ''
  /** `host:port`, where the configuration has a gateway. */
  grpc = ''
  /** The test is over: clients need not try any longer. */
  ended = false
  /** Kept through restarts, so that clients find the daemon again. */
  readonly #ports: { http: number; grpc: number }

  private constructor(dataDir: string, ports: { http: number; grpc: number }, options: DaemonOptions) {
    this.dataDir = dataDir
    this.#ports = ports
    this.#options = options
  }

  /** A running daemon that ends, with its folder, when the test does. */
  static async start(t: TestContext, options: DaemonOptions = {}): Promise<Daemon> {
    const daemon = await Daemon.#make(t, options)
    await daemon.launch()
    return daemon
  }

  static async #make(t: TestContext, options: DaemonOptions): Promise<Daemon> {
    const dataDir = options.dataDir ?? (await temporaryFolder(t))
    const ports = { http: await reservePort(), grpc: await reservePort() }
    const daemon = new Daemon(dataDir, ports, options)
    atEnd(t, () => daemon.end())
    return daemon
  }

  /** From the next launch on. */
  configure(config: Record<string, unknown>): void {
    this.#options.config = config
  }

  /** A daemon that is expected to end by itself: resolves with how it ended. */
  static async run(t: TestContext, options: DaemonOptions = {}) {
    const daemon = await Daemon.#make(t, options)
    daemon.#spawn()
    return { ...(await daemon.exited()), daemon }
  }

  get pid(): number {
    return this.#child!.pid!
  }

  exited(): Promise<{ code: number | null; signal: string | null }> {
    return this.#exited!
  }

  /** Starts the process (again) and waits until it is ready. */
  async launch(): Promise<void> {
    const from = this.lines.length
    this.#spawn()
    const ready = await this.line((line) => line.msg === 'ready' && line.role === 'primary', from)
    this.admin = String(ready.admin)
    if (ready.grpc !== undefined) this.grpc = String(ready.grpc)
    if (ready.http === undefined) return // a daemon of processors
    this.http = String(ready.http)
  }

  #spawn(): void {
    const { config, roles, nodeArguments = [], env, bootId } = this.#options
    const settings = merge(
      {
        dataDir: this.dataDir,
        http: { listen: `127.0.0.1:${this.#ports.http}` },
        grpc: 'none', // a process less, where it is not what is tested; {} for one
        admin: { listen: '127.0.0.1:0' },
        cluster: { listeners: 2 },
        log: { retention: { maxBytes: '256MiB' } },
      },
      config ?? {},
    )
    if (isMap(settings.grpc)) settings.grpc = { listen: `127.0.0.1:${this.#ports.grpc}`, ...settings.grpc }
    // One key of a section each: a file may say the others.
    const leaves = Object.entries(settings).flatMap(([key, value]): [string, unknown][] =>
      isMap(value)
        ? Object.entries(value).map(([inner, one]) => [`${key}.${inner}`, one] as [string, unknown])
        : [[key, value]],
    )
    const sets = leaves.flatMap(([key, value]) => ['--set', `${key}=${flow(value)}`])
    const only = roles === undefined ? [] : ['--roles', roles]
    const command = [process.execPath, ...nodeArguments, entry, 'start', ...only, ...sets]
    // A private mount namespace; sh is replaced by the daemon, so that its process id is the child's.
    const mounted = `mount --bind '${bootId}' /proc/sys/kernel/random/boot_id && exec "$@"`
    const [program, ...words] =
      bootId === undefined ? command : ['unshare', '-m', 'sh', '-c', mounted, 'sh', ...command]
    const child = spawn(program, words, {
      cwd: this.dataDir,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    let rest = ''
    const read = (text: string) => {
      rest += text
      const lines = rest.split('\n')
      rest = lines.pop()!
      for (const line of lines) this.lines.push(parse(line))
      this.#tell()
    }
    child.stdout.setEncoding('utf8').on('data', read)
    child.stderr.setEncoding('utf8').on('data', read)
    this.#exited = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        resolve({ code, signal })
        this.#child = undefined
        this.#tell()
      })
    })
  }

  /** Waits for a line of the log. Rejects when the daemon ends without it, or goes on for too long. */
  async line(matches: (line: Line) => boolean, from = 0): Promise<Line> {
    let late = false
    const deadline = setTimeout(() => {
      late = true
      this.#tell()
    }, LINE_MS_MAX)
    try {
      for (;;) {
        const found = this.lines.slice(from).find(matches)
        if (found !== undefined) return found
        if (late) throw new Error(`waited ${LINE_MS_MAX} ms in vain for a line; the last:\n${this.tail()}`)
        if (this.#child === undefined) throw new Error(`the daemon ended:\n${this.tail()}`)
        await new Promise<void>((resolve) => this.#watchers.push(resolve))
      }
    } finally {
      clearTimeout(deadline)
    }
  }

  tail(): string {
    return this.lines
      .slice(-30)
      .map((line) => JSON.stringify(line))
      .join('\n')
  }

  #tell(): void {
    for (const watcher of this.#watchers.splice(0)) watcher()
  }

  async status(): Promise<Status> {
    const response = await fetch(`${this.http}/v1/status`)
    if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`)
    return (await response.json()) as Status
  }

  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
  async get(path: string): Promise<any> {
    const response = await fetch(this.http + path)
    if (!response.ok) throw new Error(`${path} ${response.status}: ${await response.text()}`)
    return response.json()
  }

  post(body: Uint8Array | string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.http}/v1/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', ...headers },
      body: body as never,
    })
  }

  /** Polls the status until it is as wanted. */
  async until(condition: (status: Status) => boolean, timeoutMs = 120_000): Promise<Status> {
    const deadline = Date.now() + timeoutMs
    let last: Status | Error | undefined
    for (;;) {
      try {
        last = await this.status()
        if (condition(last)) return last
      } catch (error) {
        last = error as Error
      }
      if (Date.now() > deadline) {
        const shown = last instanceof Error ? last.message : JSON.stringify(last)
        throw new Error(`waited ${timeoutMs} ms in vain; last: ${shown}\n${this.tail()}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  /** Waits until these many events are counted and nothing waits. */
  processed(events: number, timeoutMs?: number): Promise<Status> {
    return this.until((status) => status.processed.events >= events && status.lag.events === 0, timeoutMs)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Ends it as an operator would. */
  async stop(): Promise<{ code: number | null; signal: string | null }> {
    this.signal('SIGTERM')
    return this.exited()
  }

  /** Kills the primary and every worker at once. */
  async killAll(): Promise<void> {
    const pids = this.#child === undefined ? [] : [this.pid, ...(await childrenOf(this.pid))]
    for (const pid of pids) killQuietly(pid)
    await this.exited()
    await gone(pids)
  }

  /** Kills the primary alone and starts it again, while its workers end by themselves. */
  async killPrimary(): Promise<void> {
    const workers = await childrenOf(this.pid)
    killQuietly(this.pid)
    await this.exited()
    await Promise.all([this.launch(), gone(workers)])
  }

  /** For `after`: whatever is left of it goes. */
  async end(): Promise<void> {
    this.ended = true
    if (this.#child !== undefined) await this.killAll()
  }
}

const cleanups = new WeakMap<TestContext, (() => unknown)[]>()

/** Has something done when the test is over, what came last first: processes end before their folders go. */
export function atEnd(t: TestContext, act: () => unknown): void {
  const acts = cleanups.get(t) ?? []
  if (!cleanups.has(t)) {
    cleanups.set(t, acts)
    t.after(async () => {
      for (const next of acts.reverse()) await next()
    })
  }
  acts.push(act)
}

/** Folder under the system's temporary one that goes with the test. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  atEnd(t, () => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
  return folder
}

/** Process ids of the direct children of a process (Linux). */
export async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
    if (Number(parent) === pid) children.push(Number(name))
  }
  return children
}

/** False for what has ended, also where nobody has asked for its exit code yet. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z'
}

/** Resolves when these have ended; kills those that do not, and rejects. */
export async function gone(pids: number[], mostMs?: number): Promise<void> {
  const over = async () => !(await Promise.all(pids.map(isRunning))).includes(true)
  try {
    await until(over, `processes ${pids} to end`, mostMs)
  } catch (error) {
    for (const pid of pids) killQuietly(pid)
    throw error
  }
}

/** Sends a signal to a process that may have ended meanwhile. */
export function killQuietly(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export type EventProperties = millrace.v1.Event.$Properties

/** The bytes of a frame of these events. */
export function frame(...events: Partial<EventProperties>[]): Buffer {
  const whole = events.map((event) => ({ source: 'test', type: 'test', ...event }))
  return Buffer.from(millrace.v1.Frame.encode({ events: whole }).finish())
}

function flow(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim()
}

function parse(line: string): Line {
  try {
    return JSON.parse(line)
  } catch {
    return { msg: line }
  }
}

type Settings = Record<string, unknown>

function merge(base: Settings, over: Settings): Settings {
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const below = base[key]
    merged[key] = isMap(value) && isMap(below) ? merge(below, value) : value
  }
  return merged
}

function isMap(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
