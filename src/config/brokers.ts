// The part of the schema that says where the brokers are and how to be let in.

import { z } from 'zod'
import { BROKER_REPLICAS_MAX } from '../limits.ts'
import { choice, count, list, map, parsed, readableFile, section, text, wordOr } from './fields.ts'
import { kindOf, quote } from './units.ts'

/** `host:port`, also `[::1]:port`. */
const server = parsed((value) => {
  if (typeof value !== 'string') throw new RangeError(`must be host:port, not ${kindOf(value)}`)
  const port = Number(/^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):([0-9]{1,5})$/.exec(value)?.[1])
  if (!(port > 0 && port < 65536))
    throw new RangeError(`must be host:port, such as 127.0.0.1:4222, not ${quote(value)}`)
  return value
})

/** A list, or its addresses with commas between, as environment variables have it. */
const servers = (byDefault: string) =>
  z
    .preprocess(
      (value) => (typeof value === 'string' ? value.split(',').map((address) => address.trim()) : value),
      list(server, `addresses, such as [${byDefault}]`).min(1, 'must have one address at least'),
    )
    .prefault([byDefault])

const name = (what: string, pattern: RegExp, characters: string) =>
  text((value) => {
    if (!pattern.test(value)) throw new RangeError(`${quote(value)} is no name of a ${what}: ${characters}`)
  })

const tls = wordOr(
  true,
  map({
    ca: readableFile().optional(),
    cert: readableFile().optional(),
    key: readableFile().optional(),
  }).refine(({ cert, key }) => (cert === undefined) === (key === undefined), 'cert and key go together'),
)

const replicas = count('a whole number of replicas', 1, BROKER_REPLICAS_MAX).prefault(1)

export const jetstream = section({
  servers: servers('127.0.0.1:4222'),
  stream: name('stream', /^[A-Za-z0-9_-]{1,64}$/, 'up to 64 letters, digits, - and _').prefault('MILLRACE'),
  replicas,
  user: text().optional(),
  password: text().optional(),
  token: text().optional(),
  nkey: readableFile().optional(),
  tls: tls.optional(),
})

export const kafka = section({
  brokers: servers('127.0.0.1:9092'),
  topic: name(
    'topic',
    /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}$/,
    'up to 200 letters, digits, ., - and _',
  ).prefault('millrace.events'),
  replicas,
  client: choice(['kafkajs', 'platformatic']).prefault('kafkajs'),
  tls: tls.optional(),
  sasl: map({
    mechanism: choice(['plain', 'scram-sha-256', 'scram-sha-512']).prefault('plain'),
    username: text(),
    password: text(),
  }).optional(),
})

/** What is wrong with the way to prove who we are to JetStream, where it is: one way, and all of it. */
export function credentialsProblem(section: unknown): string | undefined {
  const { user, password, token, nkey } = section as Record<string, unknown>
  if ((user === undefined) !== (password === undefined)) return 'user and password go together'
  const ways = [user, token, nkey].filter((way) => way !== undefined)
  return ways.length > 1
    ? 'has more than one of user and password, token, nkey: one is to be chosen'
    : undefined
}
