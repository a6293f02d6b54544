// What listeners and gateways share: the server on the data port, and the queries on it.

import type { TemplatedApp, us_listen_socket } from 'uWebSockets.js'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { Letters } from '../api/dead-letters.ts'
import { Results } from '../api/handler-results.ts'
import { mountQueries, mountUnknown, type RouteParts } from '../api/routes.ts'
import { type LogStatus, status } from '../api/status.ts'
import { Tails } from '../api/tail.ts'
import { Auth } from '../auth.ts'
import type { Config } from '../config/config.ts'
import { correlationIdOf, makeCorrelationId } from '../ingest/correlation.ts'
import { CONNECTION_IDLE_MS_MAX, DEAD_LETTERS_MS_MAX, HANDSHAKE_MS_MAX } from '../limits.ts'
import { Query } from '../results/query.ts'
import { openStores, type Stores } from '../results/stores.ts'
import { openedStores } from './opened-stores.ts'
import { refusalLog } from './refusals.ts'
import { FinalError, type RoleParts } from './role.ts'
import { shareConnections, yieldConnections } from './steer.ts'

/** The primary waits twice half a second, for its workers' words and for what is left in the log; and it may be busy. */
const STATUS_TIMEOUT_MS = 5000
const CONNECTIONS_CHECK_MS = 20
const HARD_TO_LEAVE =
  'connections that are being made in this moment may be reset: they cannot be led to the successor here. ' +
  'sysctl net.ipv4.tcp_migrate_req=1 has the kernel do it'
/** How much longer than the processors the primary may take to say what became of dead letters. */
const LETTERS_PATIENCE_MS = 1000

export class DataPort {
  readonly app: TemplatedApp
  readonly stores: Stores
  readonly auth: Auth
  draining = false
  /** Answers close their connections: a successor, or nobody, takes the next one. */
  closing = false
  #connections = 0
  get connections(): number {
    return this.#connections
  }

  readonly refused: ReturnType<typeof refusalLog>
  readonly #parts: RoleParts
  readonly #closeServer: (socket: us_listen_socket) => void
  #socket: us_listen_socket | undefined
  #tails: Tails | undefined

  /** Nothing is mounted yet. */
  static async open(parts: RoleParts): Promise<DataPort> {
    const uWS = await loadServer()
    const { tls } = parts.config.http
    const app = tls ? secureApp(uWS, tls) : uWS.App()
    const stores = await openStores(parts.config.dataDir, parts.config.log.partitions, openedStores)
    return new DataPort(parts, app, stores, uWS.us_listen_socket_close)
  }

  private constructor(
    parts: RoleParts,
    app: TemplatedApp,
    stores: Stores,
    closeServer: (socket: us_listen_socket) => void,
  ) {
    this.#parts = parts
    this.app = app
    this.stores = stores
    this.auth = new Auth(parts.config.auth, 1 / parts.config.cluster.listeners)
    this.refused = refusalLog(parts.logger)
    this.#closeServer = closeServer
    // biome-ignore lint/suspicious/useIterableCallbackReturn: this filters no list
    app.filter((_res, change) => {
      this.#connections += Number(change)
    })
  }

  /** Mounts the queries behind what the role has mounted, and listens. `publish`: this port takes events. */
  async listen(log: LogStatus, { publish }: { publish: boolean }): Promise<void> {
    const { config } = this.#parts
    const routes: RouteParts = {
      auth: this.auth,
      refused: this.refused,
      closing: () => this.closing,
      metrics: this.#parts.metrics,
      correlationId: (req) => correlationIdOf(req) || makeCorrelationId(),
      fresh: () => this.stores.appear(),
      query: new Query(this.stores),
      results: new Results(this.stores),
      letters: new Letters(this.stores, (order) =>
        this.#parts.conversation.ask('letters', DEAD_LETTERS_MS_MAX + LETTERS_PATIENCE_MS, order),
      ),
      status: () => daemonStatus(this.#parts, this.stores, log),
    }
    this.#tails = new Tails(routes, this.#parts.taps)
    this.#tails.mount(this.app)
    mountQueries(this.app, routes)
    mountUnknown(this.app, routes, { publish })
    this.#socket = await listen(this.app, config)
    shareConnections(config.http.listen.port)
  }

  /**
   * Leaves the port to a successor that listens on it too: no connection is refused, and none is closed while its
   * client may be sending a request. Resolves when that is done, or was aborted.
   */
  async leave(leisure: AbortSignal): Promise<void> {
    this.closing = true
    // Closing a socket resets the connections that the kernel holds for it: so first it gets no more of them.
    const { port } = this.#parts.config.http.listen
    if (!yieldConnections(port)) this.#parts.logger.warn(HARD_TO_LEAVE)
    this.#tails?.drain() // whoever taps comes again, to the successor
    await pause(HANDSHAKE_MS_MAX, leisure)
    // When this process stood still, timers have their turn before sockets: what waits there is accepted between these.
    await setImmediate()
    await setImmediate()
    this.#stop()
  }

  /** Resolves when every connection but `others` is closed: by its answer, or idle for as long as they may be. */
  async unused(others: () => number, leisure: AbortSignal): Promise<void> {
    const deadline = Date.now() + CONNECTION_IDLE_MS_MAX
    while (this.#connections > others() && Date.now() < deadline && !leisure.aborted) {
      await pause(CONNECTIONS_CHECK_MS, leisure)
    }
  }

  /** Takes no new connections, and ends those that would not end by themselves. */
  stopListening(): void {
    this.draining = true
    this.closing = true
    this.#tails?.drain()
    this.#stop()
  }

  async close(): Promise<void> {
    this.app.close()
    await this.stores.close()
  }

  #stop(): void {
    if (this.#socket !== undefined) this.#closeServer(this.#socket)
    this.#socket = undefined
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<unknown> {
  return setTimeout(milliseconds, undefined, { signal }).catch(() => {})
}

function secureApp(
  { SSLApp }: Awaited<ReturnType<typeof loadServer>>,
  { cert, key }: { cert: string; key: string },
) {
  try {
    return SSLApp({ cert_file_name: cert, key_file_name: key })
  } catch (error) {
    const why = 'the files are gone or changed, or of a kind that BoringSSL does not know, such as Ed448'
    throw new FinalError(`http.tls: the server cannot use ${cert} with ${key}: ${why}`, { cause: error })
  }
}

export async function daemonStatus({ conversation }: RoleParts, stores: Stores, log: LogStatus) {
  const daemon = await conversation.ask('daemon', STATUS_TIMEOUT_MS)
  await stores.appear()
  return status(stores, daemon, log)
}

async function loadServer() {
  try {
    return (await import('uWebSockets.js')).default
  } catch (error) {
    const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
    throw new FinalError(
      `uWebSockets.js cannot be loaded: it needs Node 20 with glibc 2.27 or later, or Node 22 to 24 with glibc ` +
        `2.38 or later; this is Node ${process.versions.node} with ` +
        `${header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : 'no glibc'} (${(error as Error).message})`,
      { cause: error },
    )
  }
}

function listen(app: TemplatedApp, config: Config): Promise<us_listen_socket> {
  const { host, port } = config.http.listen
  return new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket) resolve(socket)
      else reject(new FinalError(`cannot listen on ${host}:${port}`))
    })
  })
}
