// What measures come to, worked out in the plainest way: events decoded by protobufjs, values kept in a Map.

import { millrace } from '#proto'
import type { Measure } from '../../src/config/config.ts'

const { Frame } = millrace.v1

export interface Expected {
  key: string[]
  windowStart: number
  count: number
  values: number[]
}

/** The rows of a measure. `frames` are of any number of events, received at `receivedAt`. */
export function expected(measure: Measure, frames: { bytes: Uint8Array; receivedAt: number }[]): Expected[] {
  const rows = new Map<string, Expected>()
  for (const { bytes, receivedAt } of frames) {
    for (const event of Frame.decode(bytes).events) {
      const fields: Record<string, string> = {
        source: event.source ?? '',
        type: event.type ?? '',
        subject: event.subject ?? '',
      }
      for (const [name, value] of Object.entries(event.attributes ?? {}))
        fields[`attributes.${name}`] = String(value)
      const field = (name: string) => fields[name] ?? ''
      if (!Object.entries(measure.where).every(([name, pattern]) => fits(field(name), pattern))) continue
      const value = event.value ?? Number.NaN
      if (measure.value === 'value' && Number.isNaN(value)) continue
      const nanos = BigInt(String(event.timeUnixNano ?? 0))
      const ms = nanos === 0n ? receivedAt : Number(nanos / 1_000_000n)
      const windowStart = measure.window === 'all' ? 0 : ms - (ms % measure.window)
      const key = measure.by.map(field)
      const id = JSON.stringify([key, windowStart])
      const row = rows.get(id) ?? { key, windowStart, count: 0, values: [] }
      row.count++
      if (measure.value === 'value') row.values.push(value)
      rows.set(id, row)
    }
  }
  return [...rows.values()].sort((a, b) => order(a, b))
}

function order(a: Expected, b: Expected): number {
  for (let i = 0; i < a.key.length; i++) {
    const by = Buffer.from(a.key[i]).compare(Buffer.from(b.key[i]))
    if (by !== 0) return by
  }
  return a.windowStart - b.windowStart
}

function fits(text: string, pattern: string): boolean {
  const escaped = pattern.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&').replace(/^\\\*|\\\*$/g, '[^]*')
  return new RegExp(`^${escaped}$`).test(text)
}

const bits = new DataView(new ArrayBuffer(8))

/** A finite double as a whole number of 2^-1074. */
export function exact(n: number): bigint {
  bits.setFloat64(0, n)
  const raw = bits.getBigUint64(0)
  const exponent = (raw >> 52n) & 0x7ffn
  const mantissa = raw & 0xfffffffffffffn
  const size = exponent === 0n ? mantissa : (mantissa | 0x10000000000000n) << (exponent - 1n)
  return raw >> 63n ? -size : size
}
