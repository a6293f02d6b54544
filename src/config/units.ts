// Sizes, durations and addresses as people write them. The parsers throw RangeError with what is wrong, without
// naming the place: whoever calls knows that.

import { isIP } from 'node:net'
import type { Listen } from './config.ts'
import { didYouMean } from './nearest.ts'

const bytesOf: Record<string, number> = {
  B: 1,
  KB: 1e3,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}
const millisecondsOf: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A century: nothing here is meant to be longer, and times of day one window ahead still have a date. */
const DURATION_MS_MAX = 36_525 * 86_400_000

/** Bytes from a number, or from text such as `4MiB`, `10GB`, `512`. */
export function parseSize(value: unknown): number {
  const [number, unit] = split(value, 'size', 'bytes or a number with a unit, such as 64KiB, 4MiB or 10GB')
  if (unit !== '' && bytesOf[unit] === undefined) throw unknownUnit(value, unit, bytesOf)
  const bytes = number * (unit === '' ? 1 : bytesOf[unit])
  const whole = Math.round(bytes)
  if (!Number.isSafeInteger(whole)) throw new RangeError(`${quote(value)} is more than any disk holds`)
  if (Math.abs(bytes - whole) > 1e-6) throw new RangeError(`${quote(value)} is not a whole number of bytes`)
  return whole
}

/** Milliseconds from text such as `500ms`, `1m`, `24h`, `7d`. Always more than 0. */
export function parseDuration(value: unknown): number {
  const [number, unit] = split(value, 'duration', 'a number with a unit, such as 500ms, 30s, 1m, 24h or 7d')
  if (unit === '')
    throw new RangeError(`${quote(value)} has no unit: write ${String(value)}s, or ms, m, h, d`)
  if (millisecondsOf[unit] === undefined) throw unknownUnit(value, unit, millisecondsOf)
  const exact = number * millisecondsOf[unit]
  const milliseconds = Math.round(exact)
  if (milliseconds === 0) throw new RangeError(`${quote(value)} is too short: at least 1ms`)
  if (milliseconds > DURATION_MS_MAX) throw new RangeError(`${quote(value)} is too long: at most 36525d`)
  if (Math.abs(exact - milliseconds) > 1e-6) {
    throw new RangeError(`${quote(value)} is not a whole number of milliseconds`)
  }
  return milliseconds
}

/** `host:port`; an IPv6 host stands in brackets, port 0 takes a free one. */
export function parseListen(value: unknown): Listen {
  const how = 'write host:port, such as 127.0.0.1:7070 or "[::1]:7070"'
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string') throw new RangeError(`must be an address, not ${kindOf(value)}: ${how}`)
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]+)$/.exec(text)
  if (match === null) throw new RangeError(`${quote(value)} is not an address: ${how}`)
  const [, bracketed, plain, digits] = match
  if (bracketed !== undefined && isIP(bracketed) !== 6) {
    throw new RangeError(`${quote(value)}: [${bracketed}] is not an IPv6 address`)
  }
  const host = bracketed ?? plain
  if (host === '') throw new RangeError(`${quote(value)} has no host: write 0.0.0.0 for all addresses`)
  if (bracketed === undefined && !isHost(host)) {
    throw new RangeError(`${quote(value)}: ${quote(host)} is not a host name or an IP address`)
  }
  const port = Number(digits)
  if (port > 65_535) throw new RangeError(`${quote(value)}: port ${digits} is out of range: 0 to 65535`)
  return { host, port }
}

/** True when nobody but this machine can reach the address. */
export function isLoopback(host: string): boolean {
  if (host.toLowerCase() === 'localhost') return true
  return isIP(host) === 4 ? host.startsWith('127.') : /^(?:0*:)*:?0*1$/.test(host) && isIP(host) === 6
}

function isHost(host: string): boolean {
  // What has only digits and dots is meant as an IPv4 address.
  if (/^[0-9.]+$/.test(host)) return isIP(host) === 4
  return /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$/.test(host)
}

/** `4MiB` for 4194304: the largest unit that leaves a whole number. */
export function formatSize(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB', 'TB', 'GB', 'MB', 'KB']) {
    if (bytes > 0 && bytes % bytesOf[unit] === 0) return `${bytes / bytesOf[unit]}${unit}`
  }
  return `${bytes}B`
}

/** `1m` for 60000: the largest unit that leaves a whole number; days only from two on, as people say 24h. */
export function formatDuration(milliseconds: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const least = unit === 'd' ? 2 : 1
    const count = milliseconds / millisecondsOf[unit]
    if (count >= least && Number.isInteger(count)) return `${count}${unit}`
  }
  return `${milliseconds}ms`
}

/** `127.0.0.1:7070`, with brackets around IPv6. */
export function formatListen({ host, port }: Listen): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** What someone wrote, quoted and short. */
export function quote(value: unknown): string {
  const text = JSON.stringify(typeof value === 'string' ? value : String(value))
  return text.length > 60 ? `${text.slice(0, 58)}…"` : text
}

/** How a message calls a value of another kind than expected. */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  if (typeof value === 'string') return `the text ${quote(value)}`
  return typeof value === 'boolean' ? String(value) : `the number ${value}`
}

function split(value: unknown, what: string, how: string): [number: number, unit: string] {
  if (typeof value !== 'string' && typeof value !== 'number') {
    throw new RangeError(`must be a ${what}, not ${kindOf(value)}: write ${how}`)
  }
  const match = /^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)$/.exec(String(value))
  if (match === null) throw new RangeError(`${quote(value)} is not a ${what}: write ${how}`)
  return [Number(match[1]), match[2]]
}

function unknownUnit(value: unknown, unit: string, units: Record<string, number>): RangeError {
  const names = Object.keys(units).filter((name) => name !== 'kB')
  return new RangeError(
    `${quote(value)} has the unknown unit ${unit}: one of ${names.join(', ')}${didYouMean(unit, names)}`,
  )
}
