// What applications get from `millrace/client`. It needs nothing of the daemon.

export type {
  DeadLetter,
  DeadLetterHead,
  DeadLetterPage,
  DeadLettersChanged,
  HandlerResult,
  JsonNumber,
  Measure,
  Order,
  Page,
  Row,
  Status,
} from './answers.ts'
export { Client, type ClientOptions, type PublishOptions } from './client.ts'
export type { Ack, Body, Durability, Stats } from './door.ts'
export { type ErrorCode, MillraceError } from './error.ts'
export type { Event } from './event.ts'
export type { LettersFilter, LettersQuery, WhichLetters } from './letters.ts'
export type { Asking, PageQuery, RowsQuery, Span, TopQuery } from './query.ts'
export type { Phase, Timings } from './trace.ts'
