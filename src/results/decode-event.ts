// Decodes an event for people to look at. Frames are scanned and not decoded on their way in, and strings are not looked
// into there: what is no UTF-8 comes back with U+FFFD in it.

import { Reader } from 'protobufjs/minimal.js'
import { millrace } from '#proto'

/** `bytes`: an encoded Event that scan has passed. */
export function decodeEvent(bytes: Uint8Array): millrace.v1.Event {
  const reader = Reader.create(bytes)
  reader.stringVerify = reader.string
  return millrace.v1.Event.decode(reader)
}
