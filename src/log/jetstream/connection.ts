// The way to the server: one connection at a time, made again and again for as long as it is wanted.
//
// The client's own reconnecting is not used. It cannot tell wrong credentials from a server that is away, it keeps what
// was published meanwhile for later, and it does not give up a connection whose other end is stopped while there is
// something to be written. Here each connection is new, and whoever uses it begins anew with it.

import { readFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { type ConnectionOptions, connect, ErrorCode, type NatsConnection, nkeyAuthenticator } from 'nats'
import type { JetStreamConfig } from '../../config/config.ts'
import { CONNECT_MS_MAX, RECONNECT_MS_MAX, RECONNECT_MS_MIN, STALL_MS_MAX } from '../../limits.ts'
import type { BrokerHooks } from '../broker.ts'
import { LogMisconfigured, LogUnavailable } from '../log.ts'
import { every } from './every.ts'
import { addressOf, greeting } from './greeting.ts'
import { Presence } from './presence.ts'

const PING_INTERVAL_MS = STALL_MS_MAX / 2
/** The client's own pings are replaced by ours: once a day is as good as never. */
const NEVER_MS = 86_400_000

/** What is done with a new connection before it counts: what throws here is a reason to try again. */
type Prepare = (connection: NatsConnection) => Promise<void>

export interface LinkParts {
  config: JetStreamConfig
  hooks: Pick<BrokerHooks, 'onAway' | 'onBack'>
  prepare: Prepare
  /** The connection is gone; what was sent on it may have arrived or not. */
  lost?: () => void
}

export class Link {
  readonly presence: Presence
  /** Set while there is one and it is prepared. */
  connection: NatsConnection | undefined
  /** The server has refused us this, in its words. */
  denied: string | undefined
  readonly #parts: LinkParts
  readonly #ended = new AbortController()
  #opened = false
  #attempts = 0
  #done: Promise<void> = Promise.resolve()
  #arrived: (() => void)[] = []

  private constructor(parts: LinkParts) {
    this.#parts = parts
    this.presence = new Presence(parts.hooks)
  }

  /**
   * Resolves with the first connection; tries for ever. Rejects with LogMisconfigured where trying again would not help,
   * and with LogUnavailable when the signal is aborted before.
   */
  static async open(parts: LinkParts, signal?: AbortSignal): Promise<Link> {
    const link = new Link(parts)
    await new Promise<void>((resolve, reject) => {
      const abort = () => void link.close()
      signal?.addEventListener('abort', abort)
      if (signal?.aborted === true) abort()
      link.#done = link.#run(resolve).catch(reject)
      void link.#done.then(() => {
        reject(new LogUnavailable('ended before a NATS server was reached'))
      })
      link.#arrived.push(() => signal?.removeEventListener('abort', abort))
    })
    return link
  }

  /** The connection, once there is one; undefined when the signal is aborted before. */
  async connected(signal: AbortSignal): Promise<NatsConnection | undefined> {
    while (this.connection === undefined && !signal.aborted && !this.#ended.signal.aborted) {
      await new Promise<void>((resolve) => {
        const settle = () => {
          signal.removeEventListener('abort', settle)
          this.#ended.signal.removeEventListener('abort', settle)
          resolve()
        }
        signal.addEventListener('abort', settle)
        this.#ended.signal.addEventListener('abort', settle)
        this.#arrived.push(settle)
      })
    }
    return signal.aborted ? undefined : this.connection
  }

  async close(): Promise<void> {
    this.#ended.abort()
    await this.connection?.close()
    await this.#done
  }

  async #run(opened: () => void): Promise<void> {
    const { servers } = this.#parts.config
    while (!this.#ended.signal.aborted) {
      const server = servers[this.#attempts % servers.length]
      try {
        await this.#use(server, opened)
      } catch (error) {
        if (error instanceof LogMisconfigured && !this.#opened) throw error
        this.presence.away((error as Error).message)
      }
      await this.#pause(servers.length)
    }
  }

  async #use(server: string, opened: () => void): Promise<void> {
    const connection = await dial(this.#parts.config, server)
    void this.#listen(connection)
    const endWatch = watch(connection)
    try {
      if (this.#ended.signal.aborted) return
      await this.#parts.prepare(connection).catch((error: Error) => {
        throw refused(error, server)
      })
      if (this.#ended.signal.aborted) return
      this.#attempts = 0
      this.#opened = true
      this.connection = connection
      this.presence.back()
      opened()
      for (const arrived of this.#arrived.splice(0)) arrived()
      const reason = await connection.closed()
      if (!this.#ended.signal.aborted) {
        const words = reason instanceof Error ? `: ${reason.message}` : ''
        this.presence.away(`${server}: the connection was lost${words}`)
      }
    } finally {
      endWatch()
      const wasUp = this.connection !== undefined
      this.connection = undefined
      await connection.close()
      if (wasUp) this.#parts.lost?.()
    }
  }

  /** Tries all servers in turn, then waits longer and longer. */
  async #pause(servers: number): Promise<void> {
    const rounds = Math.floor(this.#attempts / servers)
    this.#attempts++
    const most = Math.min(RECONNECT_MS_MAX, RECONNECT_MS_MIN * 2 ** Math.min(rounds, 16))
    const ms = most / 2 + (Math.random() * most) / 2
    await wait(ms, undefined, { signal: this.#ended.signal }).catch(() => {})
  }

  /** What the server says about the connection beside answers: only refusals matter here. */
  async #listen(connection: NatsConnection): Promise<void> {
    for await (const { permissionContext: context } of connection.status()) {
      if (context !== undefined) this.denied = `the server refuses ${context.operation} to ${context.subject}`
    }
  }
}

/** Gives a connection up that does not answer any more: a stopped server keeps its sockets open. */
function watch(connection: NatsConnection): () => void {
  let askedAt: number | undefined
  return every(PING_INTERVAL_MS, (now) => {
    if (askedAt !== undefined && now - askedAt >= STALL_MS_MAX) void connection.close()
    if (askedAt !== undefined || connection.isClosed()) return
    askedAt = now
    connection.flush().then(
      () => {
        askedAt = undefined
      },
      () => {},
    )
  })
}

async function dial(config: JetStreamConfig, server: string): Promise<NatsConnection> {
  try {
    await greeting(server)
    return await connect(await optionsOf(config, server))
  } catch (error) {
    throw refused(error as Error, server)
  }
}

async function optionsOf(config: JetStreamConfig, server: string): Promise<ConnectionOptions> {
  const { user, password, token, nkey, tls } = config
  const options: ConnectionOptions = {
    servers: [server],
    name: 'millrace',
    timeout: CONNECT_MS_MAX,
    reconnect: false,
    noAsyncTraces: true,
    pingInterval: NEVER_MS,
    resolve: false, // the socket tries all addresses of a name by itself
  }
  if (user !== undefined) options.user = user
  if (password !== undefined) options.pass = password
  if (token !== undefined) options.token = token
  if (nkey !== undefined) options.authenticator = nkeyAuthenticator(await readSeed(nkey))
  if (tls !== undefined) options.tls = tlsOf(tls, server)
  return options
}

/** The seed of a user's nkey; the file may have comments around it. */
async function readSeed(path: string): Promise<Uint8Array> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new LogMisconfigured(`log.jetstream.nkey: cannot read the seed: ${error.message}`)
  })
  const seed = /^SU[A-Z2-7]{56}$/m.exec(text)?.[0]
  if (seed === undefined) {
    throw new LogMisconfigured(
      `log.jetstream.nkey: ${path} holds no seed of a user (58 characters that begin with SU)`,
    )
  }
  return Buffer.from(seed)
}

/** The client would check a certificate against `localhost` where the server is named by its address. */
function tlsOf(
  tls: NonNullable<JetStreamConfig['tls']>,
  server: string,
): NonNullable<ConnectionOptions['tls']> {
  const { host } = addressOf(server)
  const isAddress = /^[0-9.]+$|:/.test(host)
  const { ca, cert, key } = tls === true ? {} : tls
  return {
    ...(isAddress ? { host } : { servername: host }),
    ...(ca === undefined ? {} : { caFile: ca }),
    ...(cert === undefined ? {} : { certFile: cert }),
    ...(key === undefined ? {} : { keyFile: key }),
  }
}

const CERTIFICATE = /^(ERR_SSL_|ERR_TLS_|EPROTO|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH)/

/** The same error in words that say where and what to do, never with a secret. */
function refused(error: Error, server: string): Error {
  if (error instanceof LogMisconfigured || error instanceof LogUnavailable) return error
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (code === ErrorCode.AuthorizationViolation || code === ErrorCode.BadAuthentication) {
    return new LogMisconfigured(
      `${server} refuses the credentials: check user and password, token or nkey in log.jetstream`,
    )
  }
  if (code === ErrorCode.PermissionsViolation) {
    return new LogMisconfigured(`${server} refuses us a permission that is needed: ${error.message}`)
  }
  if (code === ErrorCode.ServerOptionNotAvailable) {
    return new LogMisconfigured(`${server} does not speak TLS as log.jetstream.tls asks: ${error.message}`)
  }
  if (code === ErrorCode.Tls || CERTIFICATE.test(code)) {
    return new LogMisconfigured(`${server}: TLS failed, check log.jetstream.tls: ${error.message} (${code})`)
  }
  if (code === 'ECONNREFUSED' || code === ErrorCode.ConnectionRefused) {
    return new LogUnavailable(`${server} refuses the connection: is it running?`)
  }
  if (code === ErrorCode.Timeout) return new LogUnavailable(`${server} does not answer`)
  return new LogUnavailable(`${server}: ${error.message}`, { cause: error })
}
