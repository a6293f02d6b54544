// How the commands talk to the admin port: its address, the key, and what it refuses.

import { reasonOf, type Target, targetOf } from '../client/target.ts'
import { Failure, type Io, type Option, UsageError, type Words } from './command.ts'

const DEFAULT_ADMIN_URL = 'http://127.0.0.1:7072'

/** The option of all commands that talk to the admin port. */
export const adminOption: Option = {
  value: 'URL',
  help: `where the admin port is (default: MILLRACE_ADMIN_URL, or ${DEFAULT_ADMIN_URL})`,
}

export class Admin {
  readonly #target: Target

  /** Of `--admin` and `--auth-key`. Throws UsageError where they cannot be. */
  constructor(words: Words, io: Io) {
    const url = words.text('admin') || io.env.MILLRACE_ADMIN_URL || DEFAULT_ADMIN_URL
    try {
      this.#target = targetOf(url, words.text('auth-key') || io.env.MILLRACE_KEY)
    } catch (error) {
      const { message } = error as Error
      throw new UsageError(`--${message.replace(/^key:/, 'auth-key:').replace(/^url/, 'admin')}`)
    }
  }

  get origin(): string {
    return this.#target.origin
  }

  /** Throws Failure where it is not there, or refuses. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    const { origin, prefix } = this.#target
    const headers = { ...this.#target.headers, ...(init.headers as Record<string, string>) }
    let response: Response
    try {
      response = await fetch(`${origin}${prefix}${path}`, { ...init, headers })
    } catch (error) {
      if (init.signal?.aborted) throw error
      const cause = ((error as Error).cause ?? error) as Error
      throw new Failure(`the admin port ${origin} does not answer: ${reasonOf(cause)}`, { cause: error })
    }
    if (response.ok) return response
    const text = await response.text()
    throw new Failure(
      `${path.split('?')[0]}: ${detailOf(text) ?? `${response.status} ${text.slice(0, 200)}`}`,
    )
  }
}

/** Of a problem's body. */
function detailOf(text: string): string | undefined {
  try {
    const { code, detail } = JSON.parse(text) as { code?: string; detail?: string }
    return code === undefined ? undefined : `${code}: ${detail}`
  } catch {
    return undefined
  }
}
