// Scan, JSON to frame, and for comparison the decoder that is not on the road.

import { millrace } from '#proto'
import { jsonToFrame } from '../../src/ingest/json.ts'
import { scan } from '../../src/ingest/scan.ts'
import { bodies, jsonBodies } from '../events.ts'
import type { Case } from './case.ts'

const BODIES = 64

/** Bodies taken in turn, so that no branch is learnt by heart. */
function inTurn(all: Buffer[]): () => Buffer {
  let next = 0
  return () => all[next++ % all.length]
}

export function codecs(): Case[] {
  const hundred = inTurn(bodies(100, 1000, 0, BODIES))
  const large = inTurn(bodies(100, 1000, 193, BODIES))
  const one = inTurn(bodies(1, 1000, 92, BODIES))
  const json = inTurn(jsonBodies(100, 1000, BODIES))
  const scanned = (next: () => Buffer) => () => {
    const body = next()
    return scan(body, 0, body.length)
  }
  return [
    { name: 'scan, 1 event of 150 B a body', count: 1, unit: 'event', run: scanned(one) },
    { name: 'scan, 100 events a body', count: 100, unit: 'event', run: scanned(hundred) },
    { name: 'scan, 100 events of 256 B', count: 100, unit: 'event', run: scanned(large) },
    { name: 'JSON to frame, 100 events', count: 100, unit: 'event', run: () => jsonToFrame(json()).frame[0] },
    {
      name: 'protobufjs decode, 100 events (not on the road)',
      count: 100,
      unit: 'event',
      run: () => millrace.v1.Frame.decode(hundred()).events.length,
    },
  ]
}
