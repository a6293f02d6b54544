// A profile of all processes and threads as pprof has it: profile.proto of github.com/google/pprof, gzipped.

import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import {
  Function as Callee,
  Label,
  Line,
  Location,
  Mapping,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from 'pprof-format'
import { Sources } from './sources.ts'
import { CPU_INTERVAL_US, HEAP_INTERVAL_BYTES } from './take.ts'
import { allLeftOut, type Labelled, type Taken } from './taken.ts'
import type { ThreadProfile } from './thread-profile.ts'

/** What is counted beside samples. The last one is what tools show unless they are told otherwise. */
const amounts = {
  cpu: ['time', 'nanoseconds'],
  trace: ['time', 'nanoseconds'],
  heap: ['inuse_space', 'bytes'],
  allocs: ['alloc_space', 'bytes'],
} as const

export async function encodePprof(taken: Taken): Promise<Buffer> {
  const profile = new Builder(taken).profile
  return promisify(gzip)(await profile.encodeAsync())
}

class Builder {
  readonly profile: Profile
  readonly #strings = new StringTable()
  readonly #sources = new Sources()
  /** Locations by function: there is one for each. */
  readonly #locations = new Map<string, number>()

  constructor(taken: Taken) {
    const { kind, seconds } = taken.order
    const [type, unit] = amounts[kind]
    const isTime = unit === 'nanoseconds'
    this.profile = new Profile({
      stringTable: this.#strings,
      sampleType: [this.#type('samples', 'count'), this.#type(type, unit)],
      defaultSampleType: this.#string(type),
      periodType: isTime ? this.#type('time', 'nanoseconds') : this.#type('space', 'bytes'),
      period: isTime ? CPU_INTERVAL_US * 1000 : HEAP_INTERVAL_BYTES,
      timeNanos: BigInt(taken.began) * 1_000_000n,
      durationNanos: BigInt(seconds) * 1_000_000_000n,
      // Tools would look for a program to find names in: there are all.
      mapping: [
        new Mapping({
          id: 1,
          filename: this.#string('millrace'),
          hasFunctions: true,
          hasFilenames: true,
          hasLineNumbers: true,
        }),
      ],
      comment: commentsOf(taken).map((line) => this.#string(line)),
    })
    for (const one of taken.processes) {
      for (const thread of one.threads) this.#add(one, thread, isTime ? 1000 : 1)
    }
  }

  #add(
    { role, worker, pid }: Labelled,
    { thread, urls, functions, nodes }: ThreadProfile,
    scale: number,
  ): void {
    const labels = Object.entries({ role, worker, thread, pid }).map(
      ([key, value]) => new Label({ key: this.#string(key), str: this.#string(String(value)) }),
    )
    const locations = functions.map(([name, url, line, column]) =>
      this.#location(name, urls[url], line, column),
    )
    /** From the leaf to the root. */
    const stacks: number[][] = []
    for (const [parent, fn, samples, amount] of nodes) {
      const stack = [locations[fn], ...(stacks[parent] ?? [])]
      stacks.push(stack)
      if (samples > 0) {
        this.profile.sample.push(
          new Sample({ locationId: stack, value: [samples, Math.round(amount * scale)], label: labels }),
        )
      }
    }
  }

  /** Tools put functions of one name together, of whatever file; so the file is a part of the name. */
  #location(name: string, url: string, v8Line: number, column: number): number {
    const { file, line } = this.#sources.place(url, v8Line, column)
    const called = name === '' ? `(anonymous:${line})` : name
    const full = file === '' ? called : `${called} ${file}`
    const key = `${line} ${full}`
    const known = this.#locations.get(key)
    if (known !== undefined) return known
    const { function: callees, location } = this.profile
    const id = callees.length + 1
    const named = this.#string(full)
    callees.push(
      new Callee({ id, name: named, systemName: named, filename: this.#string(file), startLine: line }),
    )
    location.push(new Location({ id, mappingId: 1, line: [new Line({ functionId: id, line })] }))
    this.#locations.set(key, id)
    return id
  }

  #type(type: string, unit: string): ValueType {
    return new ValueType({ type: this.#string(type), unit: this.#string(unit) })
  }

  #string(text: string): number {
    return this.#strings.dedup(text)
  }
}

function commentsOf(taken: Taken): string[] {
  const { kind, seconds } = taken.order
  const how =
    kind === 'heap'
      ? `objects of JavaScript allocated within ${seconds} s and in use at the end, one of each ${HEAP_INTERVAL_BYTES} bytes sampled`
      : kind === 'allocs'
        ? `objects of JavaScript allocated within ${seconds} s, one of each ${HEAP_INTERVAL_BYTES} bytes sampled`
        : `time that threads were not idle within ${seconds} s, sampled each ${CPU_INTERVAL_US} us`
  const memory = taken.processes.map(({ role, worker, pid, memory: { rss, heapUsed, external } }) => {
    const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
    return `${role} ${worker}, pid ${pid}: ${mb(rss)} resident, ${mb(heapUsed)} in the main thread's heap, ${mb(external)} beside it`
  })
  return [`millrace: ${how}`, ...memory, ...allLeftOut(taken).map((line) => `left out: ${line}`)]
}
