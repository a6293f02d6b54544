// One answer of a partition after the other, and whether they are still of the same log.
//
// A broker that loses its newest records (a power cut before they were flushed) gives their offsets away again. So when a
// connection was lost, or a request failed, since the last answer, the last record that was read is looked at again
// before a new answer is used: another one in its place, or none, means that.
//
// kafkajs decodes an answer as a whole: one batch that it cannot read takes all others with it. Then one batch is
// fetched at a time for as many bytes as the answer may have had.

import type { Cluster } from './cluster.ts'
import { CODE, type Fetched, type FetchedRecord, KafkaFailure } from './protocol.ts'
import { crcOf, ID_HEADER } from './publisher.ts'

/** The broker gives one batch whole, however little is asked for. */
const ONE_BATCH = 1

export interface AnswersParts {
  /** Used for nothing else. */
  cluster: Cluster
  partition: number
  /** Bytes of one answer, but for one batch, which comes whole. */
  bytesMax: number
  waitMs: number
}

/** The broker has another record than we have read, or none any more. */
export class Rewritten extends Error {}

export class Answers {
  readonly #parts: AnswersParts
  #last: { offset: number; id: string } | undefined
  #doubtful = false
  /** So many bytes are fetched batch by batch. */
  #singly = 0

  constructor(parts: AnswersParts) {
    this.#parts = parts
    parts.cluster.onLost = () => {
      this.#doubtful = true
    }
  }

  /** Rejects with a KafkaFailure (`unreadable`: what is at this offset is), or with Rewritten. */
  async fetch(offset: number): Promise<Fetched> {
    try {
      const fetched = await this.#readable(offset)
      await this.#compare() // after it: a connection made in between led to the same log
      const last = fetched.records.at(-1)
      if (last !== undefined) this.#last = { offset: last.offset, id: idOf(last) }
      return fetched
    } catch (error) {
      this.#doubtful = true
      throw error
    }
  }

  /** What was read is of no account any more: reading begins elsewhere. */
  forget(): void {
    this.#last = undefined
  }

  async #readable(offset: number): Promise<Fetched> {
    const { bytesMax, waitMs } = this.#parts
    if (this.#singly <= 0) {
      try {
        return await this.#ask(offset, bytesMax, waitMs)
      } catch (error) {
        if ((error as KafkaFailure).kind !== 'unreadable') throw error
        this.#singly = bytesMax
      }
    }
    const fetched = await this.#ask(offset, ONE_BATCH, waitMs)
    this.#singly -= fetched.records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
    if (fetched.next === offset) this.#singly = 0 // the end of the log
    return fetched
  }

  async #compare(): Promise<void> {
    while (this.#doubtful) {
      this.#doubtful = false
      if (this.#last === undefined || (await this.#holds(this.#last))) continue
      const { offset } = this.#last
      this.#last = undefined
      throw new Rewritten(`has another record at ${offset} than we have read there, or none`)
    }
  }

  /** True also where it was trimmed. */
  async #holds({ offset, id }: { offset: number; id: string }): Promise<boolean> {
    const { cluster, partition } = this.#parts
    try {
      const { records } = await this.#ask(offset, ONE_BATCH, 0)
      const record = records.find((one) => one.offset === offset)
      return record !== undefined && idOf(record) === id
    } catch (error) {
      if (!(error instanceof KafkaFailure)) throw error
      if (error.kind === 'unreadable') return false
      if (error.code !== CODE.offsetOutOfRange) throw error
      return offset < (await (await cluster.leader(partition)).offset(cluster.topic, partition, 'first'))
    }
  }

  async #ask(offset: number, bytesMax: number, waitMs: number): Promise<Fetched> {
    const { cluster, partition } = this.#parts
    const request = { topic: cluster.topic, partition, offset, bytesMax, waitMs }
    return (await cluster.leader(partition)).fetch(request)
  }
}

function idOf(record: FetchedRecord): string {
  return record.header(ID_HEADER)?.toString() ?? crcOf(record.value ?? Buffer.alloc(0))
}
