// What handlers stored, as HTTP answers it: one result as its bytes, and lists as JSON.

import { Problem } from '../errors.ts'
import { getResult, listResults, type ResultsQuery } from '../results/handler-results.ts'
import type { Stores } from '../results/stores.ts'

/** An answer other than an object to be written as JSON. */
export class Content {
  readonly type: string
  readonly bytes: Uint8Array | string
  constructor(type: string, bytes: Uint8Array | string) {
    this.type = type
    this.bytes = bytes
  }
}

/** What bytes hold, as far as they say: JSON, other text, or neither. */
export interface Readable {
  json?: string
  text?: string
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `json` is the text that it stands in, so that nothing of it is changed by reading it. */
export function readable(bytes: Uint8Array): Readable {
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    return {}
  }
  try {
    JSON.parse(text)
    return { json: text }
  } catch {
    return { text }
  }
}

export class Results {
  readonly #stores: Stores

  constructor(stores: Stores) {
    this.#stores = stores
  }

  /** The bytes under this key, with a type that says what they hold. */
  one(key: string): Content {
    const result = getResult(this.#stores, key)
    if (result === undefined) {
      throw new Problem('not-found', `no handler has stored anything under ${JSON.stringify(key)}`)
    }
    const { json, text } = readable(result.bytes)
    if (json !== undefined) return new Content('application/json', result.bytes)
    return new Content(
      text === undefined ? 'application/octet-stream' : 'text/plain; charset=utf-8',
      result.bytes,
    )
  }

  /** `{results: [{key, receivedAt, json | text | base64}], cursor?}`. */
  list(query: ResultsQuery): Content {
    const snapshot = this.#stores.snapshot()
    try {
      const page = listResults(snapshot, query)
      if (page === undefined) {
        throw new Problem('malformed', 'cursor: not one that a query like this has answered with')
      }
      const results = page.results.map(({ key, at, bytes }) => {
        const { json, text } = readable(bytes)
        const head = `"key":${JSON.stringify(key)},"receivedAt":"${new Date(at).toISOString()}"`
        if (json !== undefined) return `{${head},"json":${json}}`
        if (text !== undefined) return `{${head},"text":${JSON.stringify(text)}}`
        return `{${head},"base64":"${bytes.toString('base64')}"}`
      })
      const cursor = page.cursor === undefined ? '' : `,"cursor":"${page.cursor}"`
      return new Content('application/json', `{"results":[${results.join(',')}]${cursor}}`)
    } finally {
      snapshot.done()
    }
  }
}
