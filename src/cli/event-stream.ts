// Server-sent events as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6).

import { StringDecoder } from 'node:string_decoder'

export interface ServerSent {
  /** `message` where the server names none. */
  event: string
  data: string
}

/** The events of a stream. Comments and the fields that nobody here needs are passed over. */
export async function* serverSent(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSent> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  let event = ''
  let data: string[] = []
  for await (const chunk of body) {
    const lines = (rest + decoder.write(Buffer.from(chunk))).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop()!
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { event: event || 'message', data: data.join('\n') }
        event = ''
        data = []
        continue
      }
      const colon = line.indexOf(':')
      const name = colon < 0 ? line : line.slice(0, colon)
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
      if (name === 'data') data.push(value)
      else if (name === 'event') event = value
    }
  }
}
