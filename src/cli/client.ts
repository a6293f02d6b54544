// How the commands talk to a daemon: the options of all of them, and a client made of these.

import { Client, type ClientOptions } from '../client/client.ts'
import { MillraceError } from '../client/error.ts'
import { DEFAULT_URL, type Target, targetOf } from '../client/target.ts'
import { Failure, type Io, type Option, UsageError, type Words } from './command.ts'

/** The options of all commands that talk to a daemon. */
export const daemonOptions: Record<string, Option> = {
  url: { value: 'URL', help: `where the daemon is (default: MILLRACE_URL, or ${DEFAULT_URL})` },
  'auth-key': { value: 'KEY', help: 'the key, where the daemon asks for one (default: MILLRACE_KEY)' },
}

interface Given {
  url: string
  key: string | undefined
  target: Target
}

/** Throws UsageError where an address or a key cannot be. */
export function givenOf(words: Words, io: Io): Given {
  const url = words.text('url') || io.env.MILLRACE_URL || DEFAULT_URL
  const key = words.text('auth-key') || io.env.MILLRACE_KEY
  try {
    return { url, key, target: targetOf(url, key) }
  } catch (error) {
    throw new UsageError(`--${(error as Error).message.replace(/^key:/, 'auth-key:')}`)
  }
}

/** Throws UsageError as above. */
export function clientOf(words: Words, io: Io, options: ClientOptions = {}): Client {
  const { url, key } = givenOf(words, io)
  return new Client({ ...options, url, key })
}

/** What a daemon is asked, by a client of its own. Throws Failure with what there is to say. */
export async function asking<T>(words: Words, io: Io, ask: (client: Client) => Promise<T>): Promise<T> {
  const client = clientOf(words, io)
  try {
    return await ask(client)
  } catch (error) {
    if (error instanceof MillraceError) throw new Failure(error.message, { cause: error })
    throw error
  } finally {
    await client.close()
  }
}
