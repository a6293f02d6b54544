// What a stream sends: text for what is said once, binary for acks. docs/stream.md is the specification.

import type { Problem } from '../errors.ts'
import { writeU64 } from '../log/segment.ts'

/** The sub-protocol, with its version. */
export const SUBPROTOCOL = 'millrace.v1'

/** What the client may have sent: messages with sequences below, while it has sent fewer bytes than. */
export interface Credit {
  messages: number
  /** Of payloads, since the connection began. */
  bytes: number
}

export interface Hello {
  /** Of the first message. */
  sequence: number
  durability: string
  /** Bytes of the largest message. */
  maxMessage: number
  credit: Credit
  correlationId: string
}

export function helloMessage(hello: Hello): string {
  return JSON.stringify({ hello })
}

/** `sequence`: of the first message that is not taken; all before it are durable. */
export function errorMessage(problem: Problem, sequence: number, correlationId: string): string {
  const { retryAfter } = problem
  const again = retryAfter === undefined ? '' : `,"retryAfter":${retryAfter}`
  return `{"error":${problem.body(correlationId)},"sequence":${sequence}${again}}`
}

/** The close code that tells an error's status: 4429 for 429. */
export function closeCode(problem: Problem): number {
  return problem.code === 'draining' ? GOING_AWAY : 4000 + problem.status
}
const GOING_AWAY = 1001

export const ACK_BYTES = 24

/**
 *   0  u64  sequence below which all messages are durable
 *   8  u64  credit: sequence below which messages may be sent
 *  16  u64  credit: bytes of payloads since the connection began; a message may be sent while fewer are
 *
 * Little endian. Holds until the next one is made.
 */
export function ackMessage(durable: number, credit: Credit): Uint8Array {
  writeU64(ack, 0, durable)
  writeU64(ack, 8, credit.messages)
  writeU64(ack, 16, credit.bytes)
  return ack
}
const ack = Buffer.alloc(ACK_BYTES)
