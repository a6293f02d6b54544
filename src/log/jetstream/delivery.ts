// What the address for acknowledgements says about a message that a consumer has delivered.

import type { Msg } from 'nats'

/**
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<in the stream>.<of the consumer>.<time>.<pending>`, with domain and account
 * before the stream in newer servers. `at`: its number in the stream; `nth`: it is the consumer's nth one.
 */
export function deliveryOf({ reply = '' }: Msg): { at: number; nth: number } {
  const tokens = reply.split('.')
  const stream = tokens.length > 9 ? 4 : 2
  return { at: Number(tokens[stream + 3]), nth: Number(tokens[stream + 4]) }
}
