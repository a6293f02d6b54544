// A broker that was not reached yet: away until it is. For a dual log whose other broker is there.

import type { Publisher } from '../broker.ts'
import { LogUnavailable } from '../log.ts'
import type { Segment } from '../segment.ts'

export class ComingPublisher implements Publisher {
  readonly kind: Publisher['kind']
  #publisher: Publisher | undefined
  #closed = false

  /** Whoever made the promise looks after its rejection. */
  constructor(kind: Publisher['kind'], coming: Promise<Publisher>) {
    this.kind = kind
    coming.then(
      (publisher) => {
        this.#publisher = publisher
        if (this.#closed) void publisher.close()
      },
      () => {},
    )
  }

  get away(): string | undefined {
    return this.#publisher === undefined ? `${this.kind} was not reached yet` : this.#publisher.away
  }

  async publish(partition: number, segment: Segment): Promise<void> {
    if (this.#publisher === undefined) throw new LogUnavailable(`${this.kind} was not reached yet`)
    return this.#publisher.publish(partition, segment)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#publisher?.close()
  }
}
