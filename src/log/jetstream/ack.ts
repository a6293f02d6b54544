// What JetStream answers to a message that was published.

import type { Msg } from 'nats'

/**
 * - `stored`: it is in the stream, now or since an earlier sending;
 * - `full`: refused for lack of room;
 * - `nobody`: no stream takes this subject at present, or JetStream is not up;
 * - `later`: refused for now, as while a cluster has no leader;
 * - `refused`: and will be again.
 */
export type Ack = { kind: 'stored' } | { kind: 'full' | 'nobody' | 'later' | 'refused'; reason: string }

const STORED: Ack = Object.freeze({ kind: 'stored' })

/** Codes of JetStream's answers: no room in the account, on the server's disk, in its memory. */
const NO_ROOM = [10002, 10023, 10028, 10047]
/** The store refused it; the description says why. */
const STORE_FAILED = 10077
/** Too much waits in the stream already. */
const TOO_MANY = 10167

interface Answer {
  stream?: string
  error?: { code: number; err_code?: number; description?: string }
}

export function parseAck(message: Msg): Ack {
  const { data } = message
  if (data.length === 0) return { kind: 'nobody', reason: 'no stream takes the subject' }
  let answer: Answer
  try {
    answer = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1'))
  } catch {
    return { kind: 'later', reason: 'an answer that is no JSON' }
  }
  const { error, stream } = answer
  if (error === undefined) {
    return stream === undefined ? { kind: 'later', reason: 'an answer without a stream' } : STORED
  }
  const { code, err_code: detail = 0, description: reason = `error ${detail}` } = error
  if (NO_ROOM.includes(detail)) return { kind: 'full', reason }
  if (detail === STORE_FAILED && /maximum (bytes|messages)/.test(reason)) return { kind: 'full', reason }
  // A store that fails may do so for a moment; whether the message is in it cannot be told then.
  if (code === 503 || detail === STORE_FAILED || detail === TOO_MANY) return { kind: 'later', reason }
  return { kind: 'refused', reason }
}
