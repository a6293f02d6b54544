// The brokers of one cluster, seen by one user of one topic: which of them to ask, and a connection to each that is
// asked. Metadata is kept until someone finds it wrong (`forget`).

import {
  type Access,
  type Address,
  type Connect,
  formatAddress,
  type KafkaConnection,
  KafkaFailure,
  type Metadata,
  type Topic,
} from './protocol.ts'

export class Cluster {
  readonly topic: string
  readonly #connect: Connect
  readonly #access: Access
  readonly #bootstrap: Address[]
  readonly #connections = new Map<string, Promise<KafkaConnection>>()
  #metadata: Promise<Metadata> | undefined
  #closed = false
  /** Told when a connection is lost, also while nothing is asked. */
  onLost: () => void = () => {}

  constructor(parts: { connect: Connect; access: Access; brokers: Address[]; topic: string }) {
    this.topic = parts.topic
    this.#connect = parts.connect
    this.#access = parts.access
    this.#bootstrap = parts.brokers
  }

  /** Rejects when no broker can be reached. */
  metadata(): Promise<Metadata> {
    this.#metadata ??= this.any().then((connection) => connection.metadata(this.topic))
    const asked = this.#metadata
    asked.catch(() => {
      if (this.#metadata === asked) this.#metadata = undefined
    })
    return asked
  }

  /** What is known of the cluster may be wrong: it is asked for again before the next request. */
  forget(): void {
    this.#metadata = undefined
  }

  async description(): Promise<Topic> {
    const { topic } = await this.metadata()
    if (topic === undefined) {
      this.forget()
      throw new KafkaFailure('away', `there is no topic ${this.topic}`)
    }
    return topic
  }

  /** The node id of the broker that leads a partition. */
  async leaderOf(partition: number): Promise<number> {
    const leader = (await this.description()).leaders[partition]
    if (leader === undefined) {
      this.forget()
      throw new KafkaFailure('away', `partition ${partition} of the topic ${this.topic} has no leader`)
    }
    return leader
  }

  async leader(partition: number): Promise<KafkaConnection> {
    return this.node(await this.leaderOf(partition))
  }

  async controller(): Promise<KafkaConnection> {
    return this.node((await this.metadata()).controller)
  }

  async coordinator(group: string): Promise<KafkaConnection> {
    return this.#to(await (await this.any()).coordinator(group))
  }

  /** A connection to a broker of this id. When it cannot be had, others are asked before the next request. */
  async node(id: number): Promise<KafkaConnection> {
    const address = (await this.metadata()).brokers.get(id)
    if (address === undefined) {
      this.forget()
      throw new KafkaFailure('away', `broker ${id} is not known`)
    }
    try {
      return await this.#to(address)
    } catch (error) {
      this.forget()
      throw error
    }
  }

  /** A connection to whichever broker answers first, those that we are connected to before others. */
  async any(): Promise<KafkaConnection> {
    for (const connecting of this.#connections.values()) {
      const connection = await connecting.catch(() => undefined)
      if (connection?.open) return connection
    }
    const failures: KafkaFailure[] = []
    for (const address of this.#bootstrap) {
      try {
        return await this.#to(address)
      } catch (error) {
        failures.push(error as KafkaFailure)
      }
    }
    throw failures.find(({ kind }) => kind === 'denied') ?? failures[0]
  }

  async #to(address: Address): Promise<KafkaConnection> {
    if (this.#closed) throw new KafkaFailure('away', 'closed')
    const key = formatAddress(address)
    const known = this.#connections.get(key)
    if (known !== undefined) {
      const connection = await known
      if (connection.open) return connection
      if (this.#connections.get(key) === known) this.#connections.delete(key)
      return this.#to(address)
    }
    const connecting = this.#connect(address, this.#access)
    this.#connections.set(key, connecting)
    try {
      const connection = await connecting
      if (this.#closed) connection.close()
      void connection.closed.then(() => {
        if (!this.#closed) this.onLost()
      })
      return connection
    } catch (error) {
      if (this.#connections.get(key) === connecting) this.#connections.delete(key)
      throw error
    }
  }

  /** At once, whatever is on its way; nothing may be asked after it. */
  close(): void {
    this.#closed = true
    for (const connecting of this.#connections.values()) {
      connecting.then(
        (connection) => connection.close(),
        () => {},
      )
    }
    this.#connections.clear()
  }
}
