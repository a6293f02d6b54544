// What stands behind a peer's HTTP service.

/** `done`: called once, when the entries are as durable as the store makes them, or with the reason why they are not. */
export type Done = (error?: Error) => void

export interface Store {
  /** Entries of one request. */
  add(entries: Buffer[], done: Done): void
  /** Entries that are stored. */
  count(): Promise<number>
}

/**
 * Group commit: what comes while a commit is on its way waits, and goes with the next one. What waits is bounded by the
 * connections, each with one request in flight.
 */
export class Group {
  readonly #commit: (entries: Buffer[]) => Promise<unknown>
  #entries: Buffer[] = []
  #dones: Done[] = []
  #busy = false

  constructor(commit: (entries: Buffer[]) => Promise<unknown>) {
    this.#commit = commit
  }

  add(entries: Buffer[], done: Done): void {
    for (const entry of entries) this.#entries.push(entry)
    this.#dones.push(done)
    if (this.#busy) return
    this.#busy = true
    setImmediate(() => this.#next()) // after all requests that this turn of the loop reads
  }

  #next(): void {
    const dones = this.#dones
    const entries = this.#entries
    this.#dones = []
    this.#entries = []
    const answer = (error?: Error) => {
      for (const done of dones) done(error)
      if (this.#dones.length > 0) this.#next()
      else this.#busy = false
    }
    this.#commit(entries).then(() => answer(), answer)
  }
}
