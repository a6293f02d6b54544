// How the data of a CloudEvent is said, and how it is kept: as bytes in every case.
//
// The JSON format (https://github.com/cloudevents/spec, formats/json-format.md, 3.1) says data as a JSON value, as a
// string or as base64. Which of them, follows from datacontenttype here; where a client said it otherwise, a number
// beside the data keeps that (DATA_FORM_TAG), so that the event comes back as it came.

/** Base64, in `data_base64`: the bytes themselves. */
export const FORM_BYTES = 1
/** Any JSON value, in `data`: the bytes are its text. */
export const FORM_JSON = 2
/** A string, in `data`: the bytes are its UTF-8. */
export const FORM_TEXT = 3

const media = /^\s*([^\s/;]+)\/([^\s/;]+)\s*(;.*)?$/
const charset = /;\s*charset\s*=\s*"?([^\s";]+)/i

/** How data of this type is said where nothing else is noted. An absent type stands for JSON, as the format has it. */
export function formOf(datacontenttype: string): number {
  if (datacontenttype === '' || datacontenttype === 'application/json') return FORM_JSON
  const match = media.exec(datacontenttype)
  if (match === null) return FORM_BYTES
  const type = match[1].toLowerCase()
  const subtype = match[2].toLowerCase()
  if (subtype === 'json' || subtype.endsWith('+json')) return FORM_JSON
  if (type !== 'text' && subtype !== 'xml' && !subtype.endsWith('+xml')) return FORM_BYTES
  const encoding = charset.exec(match[3] ?? '')?.[1].toLowerCase() ?? 'utf-8'
  return encoding === 'utf-8' || encoding === 'utf8' || encoding === 'us-ascii' ? FORM_TEXT : FORM_BYTES
}
