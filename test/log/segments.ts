// Segments that can be told apart, and a reading that can be waited for.

import type { LogReader, Position } from '../../src/log/log.ts'
import { type Segment, SegmentBuilder } from '../../src/log/segment.ts'

/** A segment of one body with one event, whose frame begins with the name and has so many bytes at least. */
export function segment(name: string, bytes = 0): Segment {
  const builder = new SegmentBuilder(Math.max(64, bytes))
  builder.add(Buffer.from(name.padEnd(bytes, '.')), 1, '', 0, '', 1)
  return builder.seal()
}

export function nameOf(segment: Segment): string {
  return segment.frames.toString('latin1', 0, 64).replace(/\.+$/, '')
}

export interface Entry {
  name: string
  lane: string
  sequence: number
  next: number
  bytes: Buffer
}

/** Reads on and on; entries are copied, since a log's own are valid for a moment only. */
export class Reading {
  readonly entries: Entry[] = []
  readonly ended: Promise<void>
  readonly #stop = new AbortController()
  #changed: () => void = () => {}
  #failure: Error | undefined

  constructor(reader: LogReader, from: Position = new Map()) {
    this.ended = this.#run(reader, from)
    this.ended.catch((error: Error) => {
      this.#failure = error
      this.#changed()
    })
  }

  get names(): string[] {
    return this.entries.map(({ name }) => name)
  }

  /** Where the lanes stand after the first `count` entries. */
  position(count = this.entries.length): Map<string, number> {
    return new Map(this.entries.slice(0, count).map(({ lane, next }) => [lane, next]))
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => {
        this.#changed = resolve
      })
    }
  }

  /** Waits until so many have come. */
  count(entries: number): Promise<void> {
    return this.until(() => this.entries.length >= entries)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.ended
  }

  async #run(reader: LogReader, from: Position): Promise<void> {
    for await (const { segment, lane, next } of reader.read(from, this.#stop.signal)) {
      const bytes = Buffer.from(segment.bytes)
      this.entries.push({ name: nameOf(segment), lane, sequence: segment.sequence, next, bytes })
      this.#changed()
    }
  }
}
