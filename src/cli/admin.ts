// How the commands talk to the admin port: its address, the key, and what it refuses.

import { Failure, type Io, type Option, UsageError, type Words } from './command.ts'

const DEFAULT_ADMIN_URL = 'http://127.0.0.1:7072'

/** The option of all commands that talk to the admin port. */
export const adminOption: Option = {
  value: 'URL',
  help: `where the admin port is (default: MILLRACE_ADMIN_URL, or ${DEFAULT_ADMIN_URL})`,
}

export class Admin {
  readonly url: URL
  readonly #headers: Record<string, string>

  /** Of `--admin` and `--auth-key`. Throws UsageError where the address cannot be. */
  constructor(words: Words, io: Io) {
    const given = words.text('admin') || io.env.MILLRACE_ADMIN_URL || DEFAULT_ADMIN_URL
    const url = URL.canParse(given) ? new URL(given) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      throw new UsageError(`--admin ${given}: an address such as ${DEFAULT_ADMIN_URL}`)
    }
    this.url = url
    const key = words.text('auth-key') || io.env.MILLRACE_KEY
    this.#headers = key === undefined ? {} : { authorization: `Bearer ${key}` }
  }

  /** Throws Failure where it is not there, or refuses. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { ...this.#headers, ...(init.headers as Record<string, string>) }
    const address = new URL(path, this.url)
    let response: Response
    try {
      response = await fetch(address, { ...init, headers })
    } catch (error) {
      if (init.signal?.aborted) throw error
      const { cause } = error as { cause?: { code?: string; message?: string } }
      const why = cause?.code ?? cause?.message ?? (error as Error).message
      throw new Failure(`the admin port ${this.url.origin} does not answer: ${why}`, { cause: error })
    }
    if (response.ok) return response
    const text = await response.text()
    throw new Failure(`${address.pathname}: ${detailOf(text) ?? `${response.status} ${text.slice(0, 200)}`}`)
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
