// What an application publishes, under the names of CloudEvents 1.0.

export interface Event {
  /** Required, not empty, as is `type`. A string has 1,024 bytes of UTF-8 at most. */
  source: string
  type: string
  id?: string | undefined
  subject?: string | undefined
  /** A Date, nanoseconds since 1970, or RFC 3339. Without it, the time of receipt. */
  time?: Date | bigint | string | undefined
  /** The number that measures aggregate, finite. */
  value?: number | undefined
  /** Bytes as they are, a string as UTF-8, and anything else as JSON. */
  data?: Uint8Array | string | object | undefined
  /** Without it, `text/plain` for a string and `application/json` for an object. */
  datacontenttype?: string | undefined
  /** Extension attributes: 64 at most, names of 64 bytes. */
  attributes?: Record<string, string> | undefined
}
