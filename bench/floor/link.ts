// Between listeners and processor: messages of three numbers. A listener tells its lane, then where each flushed write
// is; the processor how many more writes it has committed, and the events of all listeners accepted and processed.

import type { Socket } from 'node:net'

export const PROCESSOR_SOCKET = 'processor.sock'
const NUMBERS = 3

export function tell(socket: Socket, ...numbers: number[]): void {
  const { buffer } = new Float64Array(numbers)
  socket.write(Buffer.from(buffer))
}

/** Calls with the numbers of each message. */
export function onMessage(socket: Socket, hear: (a: number, b: number, c: number) => void): void {
  const bytes = NUMBERS * 8
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (data: Buffer) => {
    const all = rest.length === 0 ? data : Buffer.concat([rest, data])
    let at = 0
    for (; at + bytes <= all.length; at += bytes) {
      hear(all.readDoubleLE(at), all.readDoubleLE(at + 8), all.readDoubleLE(at + 16))
    }
    rest = all.subarray(at)
  })
}
