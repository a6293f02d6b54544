// The process that people start: settles what the workers need, keeps them running, and ends them in order.

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type AdminRoute, healthRoutes, openAdmin } from '../api/admin.ts'
import { consoleRoutes } from '../api/console.ts'
import { forwardRoute } from '../api/forward.ts'
import { liveRoute } from '../api/live.ts'
import { logLevelRoute } from '../api/log-level.ts'
import { pprofRoutes } from '../api/pprof.ts'
import { Auth } from '../auth.ts'
import type { Config, Listen } from '../config/config.ts'
import { correlationIdOf, makeCorrelationId } from '../ingest/correlation.ts'
import { DEAD_LETTERS_MS_MAX, DRAIN_MS_MAX } from '../limits.ts'
import { brokersOf } from '../log/open.ts'
import type { Order, Outcome } from '../results/dead-letters.ts'
import { checkPartitions } from '../results/stores.ts'
import { createLogger, type Logger } from '../telemetry/logger.ts'
import { Levels } from './levels.ts'
import { Conversation, type DaemonReport, type ListenerReport, type Receipt } from './link.ts'
import { Live } from './live.ts'
import { lock } from './lock.ts'
import { Collector, metricsRoute } from './metrics.ts'
import { freePort } from './ports.ts'
import { PrimaryProfiles, type Profiled } from './profiles.ts'
import { refusalLog } from './refusals.ts'
import { type Load, problemsOf, readAgain, roll } from './reload.ts'
import { forkChild, inlineChild, isProfiled } from './spawn.ts'
import { type Child, Slot } from './supervisor.ts'
import { PrimaryTaps } from './taps.ts'

/** How long the workers of a killed predecessor may take to let go of its ports and files. */
const PATIENCE_MS = 4_000
const REPORT_TIMEOUT_MS = 500

/** What a daemon can be started for: by default to take events and to process them. */
export type Roles = readonly ('ingest' | 'processor' | 'gateway')[]

export interface StartOptions {
  /** Where the configuration came from, for the log. */
  file?: string
  /** A part of the roles; others run as daemons of their own, on the same data directory. */
  roles?: Roles
  /** Reads the configuration anew, for SIGHUP. */
  load?: Load
}

/** Runs the daemon until it is told to end. Resolves with the exit code. */
export async function start(config: Config, options: StartOptions = {}): Promise<number> {
  const logger = createLogger('primary', config.logging.level)
  try {
    return await new Primary(config, options, logger).run()
  } catch (error) {
    logger.fatal({ err: error }, (error as Error).message)
    return 1
  }
}

type Why = { signal: string } | { reason: string; exitCode: number }

class Primary {
  readonly #file: string | undefined
  readonly #roles: Roles
  /** Others may have their part of the roles on this data directory. */
  readonly #shared: boolean
  readonly #logger: Logger
  readonly #profiled = isProfiled()
  readonly #slots: Slot[] = []
  readonly #conversations = new Map<Child, Conversation>()
  readonly #taps = new PrimaryTaps()
  readonly #profiles: PrimaryProfiles
  readonly #levels: Levels
  readonly #collector: Collector
  readonly #live: Live
  readonly #load: Load | undefined
  /** As it was asked for, and with the port settled. */
  #asked: Config
  #config: Config
  #auth: Auth
  #draining = false
  #ready = false
  #receipt: Receipt | undefined
  /** SIGHUP came, and what it asks for has not begun. */
  #reloadWanted = false
  /** Resolves `run` with the reason to end: a signal, or what went wrong. */
  #end!: (why: Why) => void

  constructor(config: Config, { file, roles, load }: StartOptions, logger: Logger) {
    this.#asked = config
    this.#config = config
    this.#auth = new Auth(config.auth, 1)
    this.#load = load
    this.#file = file
    this.#roles = roles ?? ['ingest', 'processor', 'gateway']
    this.#shared = roles !== undefined
    this.#logger = logger
    this.#profiles = new PrimaryProfiles(this.#profiled ? 'all' : 'primary', () => this.#profilable())
    this.#levels = new Levels(logger, config.logging.level)
    this.#collector = new Collector({
      config,
      logger,
      profiled: this.#profiled,
      ready: () => this.#notReady() === undefined,
      taps: this.#taps,
    })
    this.#live = new Live({
      config,
      collect: () => this.#collector.collect(),
      notReady: () => this.#notReady(),
      slots: this.#slots,
    })
  }

  async run(): Promise<number> {
    const ended = new Promise<Why>((resolve) => {
      this.#end = resolve
    })
    this.#onSignals()
    await mkdir(this.#config.dataDir, { recursive: true })
    checkPartitions(this.#config.dataDir, this.#config.log.partitions)
    const unlock = this.#shared
      ? async () => {}
      : await lock(join(this.#config.dataDir, 'daemon.sock'), PATIENCE_MS)
    try {
      const admin = await openAdmin({
        listen: this.#config.admin.listen,
        auth: () => this.#auth,
        routes: this.#adminRoutes(),
        failed: refusalLog(this.#logger),
        correlationId: ({ headers }) =>
          correlationIdOf({ getHeader: (name) => String(headers[String(name)] ?? '') }) ||
          makeCorrelationId(),
      })
      try {
        return await this.#serve(admin.address, ended)
      } finally {
        admin.server.close()
        admin.server.closeAllConnections()
      }
    } finally {
      await this.#live.close()
      await this.#collector.close()
      await unlock()
      if (process.connected) process.disconnect() // pm2's channel would keep this process alive
    }
  }

  async #serve(admin: Listen, ended: Promise<Why>): Promise<number> {
    const logger = this.#logger
    this.#live.begin()
    if (this.#serves) {
      const http = await freePort(this.#config.http.listen, PATIENCE_MS, 'http.listen')
      this.#config = { ...this.#config, http: { ...this.#config.http, listen: http } }
    }
    if (this.#grpc !== undefined) {
      const listen = await freePort(this.#grpc.listen, PATIENCE_MS, 'grpc.listen')
      this.#config = { ...this.#config, grpc: { ...this.#grpc, listen } }
    }
    if (!this.#shared) this.#collector.left.begin() // others who share the directory may write already
    const started = this.#startSlots().then(() => {
      this.#announce(admin)
      if (this.#reloadWanted) void this.#reloads()
    })
    const why = await Promise.race([ended, started.then(() => ended)])
    if ('reason' in why) logger.fatal(why.reason)
    else logger.info(`${why.signal}: draining`)
    const clean = await this.#drain()
    logger.info(clean ? 'drained, bye' : 'not everything ended in time')
    if ('reason' in why) return why.exitCode
    return clean ? 0 : 1
  }

  #adminRoutes(): Record<string, AdminRoute> {
    return {
      ...healthRoutes(() => this.#notReady()),
      '/metrics': metricsRoute(this.#collector),
      ...pprofRoutes((order, signal) => this.#profiles.take(order, signal)),
      '/live': liveRoute(this.#live),
      '/log-level': logLevelRoute(this.#levels),
      ...consoleRoutes(),
      '/v1/': forwardRoute(() => (this.#serves ? this.#config.http : undefined)),
    }
  }

  /** True when the data port is open. */
  get #serves(): boolean {
    return this.#roles.some((role) => role !== 'processor')
  }

  /** What the gateway serves beside queries over HTTP; undefined where there is none. */
  get #grpc(): Exclude<Config['grpc'], 'none'> | undefined {
    const { grpc } = this.#config
    return grpc === 'none' || !this.#roles.includes('gateway') ? undefined : grpc
  }

  /** The processor first: it makes the store that the listeners read. */
  async #startSlots(): Promise<void> {
    const { listeners, processors } = this.#config.cluster
    const has = (role: Roles[number]) => this.#roles.includes(role)
    if (has('processor'))
      for (let i = 0; i < (this.#profiled ? 1 : processors); i++) this.#addSlot('processor')
    // Where there is a broker, events are taken also while none can be read.
    if (this.#profiled || brokersOf(this.#config.log.kind).length === 0) {
      await Promise.all(this.#slots.map((slot) => slot.untilReady()))
      if (this.#draining) return
    }
    if (has('ingest')) for (let i = 0; i < (this.#profiled ? 1 : listeners); i++) this.#addSlot('listener')
    if (has('gateway') && (this.#grpc !== undefined || !has('ingest'))) this.#addSlot('gateway')
    await Promise.all(this.#slots.map((slot) => slot.untilReady()))
  }

  #addSlot(role: Slot['role']): void {
    const slot = new Slot({
      role,
      worker: this.#slots.filter((other) => other.role === role).length,
      config: this.#config,
      http: !this.#roles.includes('ingest'),
      logger: this.#logger,
      spawn: () => (this.#profiled ? inlineChild() : forkChild()),
      started: (child) => {
        const handlers = { daemon: () => this.#report(), letters: (order: Order) => this.#letters(order) }
        const conversation = new Conversation(child.link, handlers)
        this.#conversations.set(child, conversation)
        this.#collector.attach(slot, child, conversation)
        this.#taps.attach(child.link)
        this.#levels.attach(role, child.link)
        child.onExit(() => {
          this.#conversations.delete(child)
          this.#taps.detach(child.link)
          this.#levels.detach(child.link)
        })
      },
      gaveUp: (reason, exitCode) => this.#end({ reason, exitCode }),
    })
    this.#slots.push(slot)
    this.#collector.watch(slot)
    slot.start()
  }

  #announce(admin: Listen): void {
    const { http, log, dataDir } = this.#config
    const address = ({ host, port }: Listen) => `${host.includes(':') ? `[${host}]` : host}:${port}`
    this.#ready = true
    this.#logger.info(
      {
        http: this.#serves ? `${http.tls ? 'https' : 'http'}://${address(http.listen)}` : undefined,
        grpc: this.#grpc && address(this.#grpc.listen),
        admin: `http://${address(admin)}`,
        log: log.kind,
        dataDir,
        roles: this.#shared ? this.#roles : undefined,
        config: this.#file,
        profiled: this.#profiled || undefined,
      },
      'ready',
    )
    process.send?.('ready') // pm2, with wait_ready
  }

  #notReady(): string | undefined {
    if (this.#draining) return 'draining'
    if (!this.#ready) return 'starting'
    // One that a reload replaces is no reason: events are taken meanwhile.
    const missing = this.#slots.filter((slot) => !slot.ready && !slot.replacing).map((slot) => slot.role)
    return missing.length > 0 ? `waiting for: ${missing.join(', ')}` : undefined
  }

  async #report(): Promise<DaemonReport> {
    const roles: DaemonReport['roles'] = [
      { role: 'primary', pid: process.pid, ready: this.#notReady() === undefined, restarts: 0 },
    ]
    const { lanes, left } = this.#collector
    const answers: Promise<ListenerReport | undefined>[] = []
    for (const { role, child, listening, ready, restarts } of this.#slots) {
      if (child !== undefined) roles.push({ role, pid: child.pid, ready, restarts })
      if (role === 'processor' || !ready) continue
      for (const one of listening) {
        const report = this.#conversations.get(one)?.ask('report', REPORT_TIMEOUT_MS)
        const heard = Promise.resolve(report).then((answer) => {
          this.#collector.heard(one, answer)
          return answer
        })
        answers.push(heard.catch(() => silent(lanes.last(one)))) // it is stalled, or has just ended
      }
    }
    const answered = await Promise.all(answers)
    await left.settled(REPORT_TIMEOUT_MS) // who did not answer may have ended
    const listeners = answered.filter((report) => report !== undefined)
    const told = new Set(listeners.flatMap((report) => report.lanes.map(({ writer }) => writer)))
    const untold = lanes.all().filter(({ writer }) => !told.has(writer))
    if (untold.length > 0) listeners.push({ lanes: untold, away: {}, missing: undefined })
    return { roles, listeners, ...(this.#receipt === undefined ? {} : { reload: this.#receipt }) }
  }

  /** One after another; those that are asked for while one runs are one more. */
  async #reloads(): Promise<void> {
    while (this.#reloadWanted && !this.#draining) {
      this.#reloadWanted = false
      await this.#reload()
    }
  }

  async #reload(): Promise<void> {
    const logger = this.#logger
    const begun = Date.now()
    const receipt: Receipt = {
      at: new Date(begun).toISOString(),
      outcome: 'running',
      changed: [],
      needsRestart: [],
      problems: [],
      restarted: [],
      seconds: 0,
    }
    this.#receipt = receipt
    try {
      const { config: asked, changed, needsRestart } = await readAgain(this.#load!, this.#asked)
      Object.assign(receipt, { changed, needsRestart })
      receipt.outcome = await this.#apply(asked, receipt)
    } catch (error) {
      receipt.outcome = 'invalid'
      receipt.problems = problemsOf(error as Error)
    }
    receipt.seconds = (Date.now() - begun) / 1000
    const { outcome } = receipt
    if (outcome === 'applied') logger.info(receipt, 'reloaded')
    else if (outcome === 'invalid') logger.error(receipt, 'not reloaded: the configuration is wrong')
    else if (outcome === 'rolled-back') logger.error(receipt, 'not reloaded: a worker could not run with it')
  }

  async #apply(asked: Config, receipt: Receipt): Promise<Receipt['outcome']> {
    const { changed, needsRestart } = receipt
    const former = this.#config
    const config = { ...asked, http: { ...asked.http, listen: former.http.listen }, grpc: former.grpc }
    this.#logger.info({ changed, needsRestart }, 'SIGHUP: the workers are replaced one by one')
    const replaced = ({ role }: Slot, pid: number) => void receipt.restarted.push({ role, pid })
    const failure = await roll(this.#slots, former, config, replaced, () => this.#draining)
    if (failure === 'interrupted') return failure
    if (failure !== undefined) {
      receipt.problems.push(failure.failed)
      return 'rolled-back'
    }
    this.#asked = asked
    this.#config = config
    this.#auth = new Auth(config.auth, 1)
    this.#levels.reset(config.logging.level)
    return 'applied'
  }

  /** The processes beside this one, with their numbers among those of their role. */
  #profilable(): Profiled[] {
    if (this.#profiled) return []
    return this.#slots.flatMap(({ role, worker, listening }): Profiled[] => {
      if (listening.length === 0) return [{ role, worker }]
      return listening.map((child) => ({
        role,
        worker,
        pid: child.pid,
        conversation: this.#conversations.get(child),
      }))
    })
  }

  /** Has dead letters replayed or dropped by the processors that own them. */
  async #letters(order: Order): Promise<Outcome[]> {
    const asked: Promise<Outcome[]>[] = []
    const processors = this.#slots.filter(({ role }) => role === 'processor')
    for (const child of processors.flatMap(({ listening }) => listening)) {
      const outcomes = this.#conversations.get(child)?.ask('letters', DEAD_LETTERS_MS_MAX, order)
      asked.push(Promise.resolve(outcomes ?? []).catch(() => []))
    }
    const outcomes = new Map((await Promise.all(asked)).flat().map((outcome) => [outcome.id, outcome]))
    const reason = this.#roles.includes('processor')
      ? 'the processor of this dead letter is starting, has ended or does not answer; what it began may be done'
      : 'this daemon has no processor, as its --roles say: ask one that has, such as --roles gateway,processor'
    return order.ids.map((id) => outcomes.get(id) ?? { id, outcome: 'refused', code: 'no-processor', reason })
  }

  /** Listeners first, so that nothing new comes; then the processors. True when all ended by themselves. */
  async #drain(): Promise<boolean> {
    this.#draining = true
    let clean = true
    const overdue = setTimeout(() => {
      clean = false
      for (const slot of this.#slots) slot.kill()
    }, DRAIN_MS_MAX)
    for (const role of ['gateway', 'listener', 'processor'] as const) {
      await Promise.all(this.#slots.filter((slot) => slot.role === role).map((slot) => slot.drain()))
    }
    clearTimeout(overdue)
    return clean
  }

  #onSignals(): void {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.removeAllListeners(signal) // a profiler's own would end the process before it has drained
      process.on(signal, () => this.#end({ signal }))
    }
    process.on('SIGHUP', () => {
      if (this.#load === undefined || this.#profiled) {
        this.#logger.warn('SIGHUP: here the configuration is read at start only')
        return
      }
      const isIdle = !this.#reloadWanted && this.#receipt?.outcome !== 'running'
      this.#reloadWanted = true
      if (this.#ready && isIdle) void this.#reloads()
    })
    // pm2 on Windows and its `shutdown_with_message` send this instead of a signal.
    process.on('message', (message) => {
      if (message === 'shutdown') this.#end({ signal: 'shutdown' })
    })
  }
}

/** What is known of one that does not answer; its lanes are told with those of the others that are not here. */
function silent(last: ListenerReport | undefined): ListenerReport | undefined {
  return last && { ...last, lanes: [] }
}
