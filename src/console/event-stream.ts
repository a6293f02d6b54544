// Server-sent events out of a body (https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6). The
// browser's own EventSource cannot send a key.

export interface ServerSent {
  /** `message` where the server names none. */
  event: string
  data: string
}

/** Ends with the stream. A reader that leaves early lets go of it. */
export async function* serverSent(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSent> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  let event = ''
  let data: string[] = []
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/)
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { event: event || 'message', data: data.join('\n') }
          event = ''
          data = []
        } else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''))
        else if (line.startsWith('event:')) event = line.slice(6).trim()
      }
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
