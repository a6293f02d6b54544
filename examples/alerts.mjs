// Flights whose delay breaks out of what is usual on their route: the last one of each route as a result, and all of them
// as a measure by day.
//
// A handler sees one event at a time, in whatever thread is free, and keeps nothing. So what is usual comes from a table,
// which baselines.mjs makes of the two measures that this handler keeps of every flight: their mean and the mean of their
// squares are all that a deviation needs. A route that is not in the table yet is measured and not judged.

import { existsSync, readFileSync } from 'node:fs'
import { defineHandler, drop } from 'millrace'

const table = process.env.BASELINES ?? new URL('./baselines.json', import.meta.url)
/** By origin and destination: minutes beyond which a delay is no longer usual. */
const baselines = new Map(existsSync(table) ? Object.entries(JSON.parse(readFileSync(table, 'utf8'))) : [])
const route = ['origin', 'destination']

export default defineHandler({
  name: 'alerts',
  match: { type: 'flight' },
  measures: [
    { name: 'delays', by: route, window: 'all' },
    { name: 'squared-delays', by: route, window: 'all' },
    { name: 'break-outs', by: route, window: '1d' },
  ],
  map(event, emit) {
    const delay = event.value
    if (delay === undefined) return drop('no delay')
    const key = [event.subject, event.attribute('destination')]
    emit.measure('delays', key, delay)
    emit.measure('squared-delays', key, delay * delay)
    const usual = baselines.get(key.join('-'))
    if (usual === undefined || delay <= usual) return
    emit.measure('break-outs', key, delay)
    const departure = new Date(event.time).toISOString()
    emit.result(`break-out/${key.join('-')}`, JSON.stringify({ delay, usual, departure }))
  },
})
