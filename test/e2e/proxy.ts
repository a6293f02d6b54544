// A cable between the daemon and a broker, which can be pulled: what is on its way is lost, and nothing gets through.

import { connect, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { atEnd } from './daemon.ts'

export class Cable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #target: number | undefined
  #cut = false

  private constructor() {
    this.#server = createServer((socket) => this.#connected(socket))
  }

  /** On a port of its own; it leads somewhere once `to` was called. */
  static async lay(t: TestContext): Promise<Cable> {
    const cable = new Cable()
    await new Promise<void>((resolve) => cable.#server.listen(0, '127.0.0.1', resolve))
    atEnd(t, () => {
      cable.cut()
      cable.#server.close()
    })
    return cable
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  /** `address`: host:port on loopback. */
  to(address: string): void {
    this.#target = Number(address.split(':').at(-1))
  }

  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#cut = false
  }

  #connected(socket: Socket): void {
    if (this.#cut || this.#target === undefined) {
      socket.destroy()
      return
    }
    const onward = connect(this.#target, '127.0.0.1')
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ]) {
      this.#sockets.add(one)
      one.on('error', () => {}) // 'close' follows
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  }
}
