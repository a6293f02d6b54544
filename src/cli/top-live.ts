// The live view of `millrace top`: samples as the daemon takes them, drawn over each other on a terminal, and a line each
// elsewhere.

import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import type { ReadStream } from 'node:tty'
import type { Sample } from '../api/live.ts'
import { Admin } from './admin.ts'
import { clientOf } from './client.ts'
import { Failure, type Io, type Words } from './command.ts'
import { serverSent } from './event-stream.ts'
import { HottestKeys } from './top-keys.ts'
import { lineOf, screenOf } from './top-screen.ts'

/** Samples that are kept: what a sparkline shows. */
const HISTORY = 60
const RETRY_MS = 1000

export async function watch(words: Words, io: Io): Promise<number> {
  const admin = new Admin(words, io)
  const by = words.choice('by', ['rate', 'count']) ?? 'rate'
  if (words.flag('once')) return printOnce(admin, words, io)
  const plain = words.flag('json') || io.stdout.isTTY !== true || io.env.TERM === 'dumb'
  const end = new AbortController()
  const stop = () => end.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    if (plain) await printLines(admin, words, io, end.signal)
    else await draw(admin, words, io, by, end)
    return 0
  } finally {
    process.removeListener('SIGINT', stop)
    process.removeListener('SIGTERM', stop)
  }
}

async function printOnce(admin: Admin, words: Words, io: Io): Promise<number> {
  const response = await admin.ask('/live')
  const { samples } = (await response.json()) as { samples: Sample[] }
  print(io, words, samples[0])
  return 0
}

function print(io: Io, words: Words, sample: Sample): boolean {
  return io.stdout.write(`${words.flag('json') ? JSON.stringify(sample) : lineOf(sample)}\n`)
}

async function printLines(admin: Admin, words: Words, io: Io, signal: AbortSignal): Promise<void> {
  try {
    for await (const sample of follow(admin, 1, signal)) {
      if (!print(io, words, sample)) await once(io.stdout, 'drain', { signal })
    }
  } catch (error) {
    if (signal.aborted) return
    throw error
  }
  if (!signal.aborted) throw new Failure(`${admin.origin} has ended`)
}

/** The newest samples that are kept, and then each as it comes. Throws Failure where the daemon is not there. */
async function* follow(admin: Admin, kept: number, signal: AbortSignal): AsyncGenerator<Sample> {
  const headers = { accept: 'text/event-stream' }
  const response = await admin.ask(`/live?samples=${kept}`, { headers, signal })
  try {
    for await (const { data } of serverSent(response.body!)) yield JSON.parse(data)
  } catch (error) {
    if (signal.aborted) throw error
    throw new Failure(`${admin.origin} has gone away: ${(error as Error).message}`, { cause: error })
  }
}

/** Until the signal, or a key, ends it. A daemon that goes away, once it was there, is waited for. */
async function draw(
  admin: Admin,
  words: Words,
  io: Io,
  by: 'rate' | 'count',
  end: AbortController,
): Promise<void> {
  const client = clientOf(words, io)
  const keys = new HottestKeys(client, words.text('measure'), by)
  const terminal = new Terminal(io)
  let samples: Sample[] = []
  let away: string | undefined
  const show = () => {
    if (samples.length === 0) return
    const { columns, rows } = terminal
    terminal.draw(screenOf({ samples, keys: keys.view, away }, columns, rows, terminal.colours))
  }
  try {
    for (let begun = false; !end.signal.aborted; ) {
      try {
        for await (const sample of follow(admin, HISTORY, end.signal)) {
          if (!begun) {
            terminal.begin(() => end.abort(), show)
            void keys.follow(end.signal, show)
          }
          begun = true
          away = undefined
          samples = [...samples.filter(({ at }) => at < sample.at), sample].slice(-HISTORY)
          show()
        }
        away = `${admin.origin} has ended`
      } catch (error) {
        if (end.signal.aborted) break
        if (!begun || !(error instanceof Failure)) throw error
        away = error.message
      }
      show()
      await setTimeout(RETRY_MS, undefined, { signal: end.signal }).catch(() => {}) // aborted: over at once
    }
  } finally {
    end.abort()
    terminal.end()
    await client.close()
  }
}

const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
/** The other screen, without a cursor; and back. (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html) */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[2J'
const LEAVE = '\u001b[?25h\u001b[?1049l'

/** The terminal, which is left as it was found, however this process ends. */
class Terminal {
  readonly colours: boolean
  readonly #out: Io['stdout'] & { columns?: number; rows?: number }
  readonly #in: ReadStream | undefined
  #begun = false
  #full = false
  #show = () => {}
  #quit = () => {}

  constructor({ stdin, stdout, env }: Io) {
    this.#out = stdout
    this.#in = (stdin as ReadStream).isTTY ? (stdin as ReadStream) : undefined
    this.colours = !env.NO_COLOR
  }

  get columns(): number {
    return this.#out.columns || 80
  }

  get rows(): number {
    return this.#out.rows || 24
  }

  begin(quit: () => void, show: () => void): void {
    this.#begun = true
    this.#quit = quit
    this.#show = show
    process.once('exit', this.#restore)
    process.on('SIGCONT', this.#shown)
    this.#out.on('resize', this.#shown)
    this.#in?.setRawMode(true)
    this.#in?.on('data', this.#key)
    this.#out.write(ENTER)
  }

  /** Over what was there. A terminal that does not keep up is left alone until it does. */
  draw(lines: readonly string[]): void {
    if (this.#full || !this.#begun) return
    const text = lines.map((line) => `${line}\u001b[K`).join('\r\n')
    this.#full = !this.#out.write(`\u001b[H${text}\u001b[J`)
    if (!this.#full) return
    this.#out.once('drain', () => {
      this.#full = false
    })
  }

  end(): void {
    if (!this.#begun) return
    this.#begun = false
    process.removeListener('exit', this.#restore)
    process.removeListener('SIGCONT', this.#shown)
    this.#out.removeListener('resize', this.#shown)
    this.#in?.removeListener('data', this.#key)
    this.#in?.pause()
    this.#restore()
  }

  readonly #restore = (): void => {
    this.#in?.setRawMode(false)
    this.#out.write(LEAVE)
  }

  readonly #shown = (): void => {
    this.#in?.setRawMode(true) // a shell that was in between has taken it back
    this.#show()
  }

  readonly #key = (typed: Buffer): void => {
    const text = typed.toString()
    if (/[qQ]/.test(text) || text.includes(CTRL_C) || text.includes(CTRL_D)) this.#quit()
  }
}
