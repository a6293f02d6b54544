// Flights that are two hours late or more: the last one of each route as a result, and all of them as a measure by day.
//
// A handler sees one event at a time, in whatever thread is free, so what makes an alert has to be in the event itself.

import { defineHandler, drop } from 'millrace'

const LATE_MINUTES = 120

export default defineHandler({
  name: 'alerts',
  match: { type: 'flight' },
  measures: [{ name: 'late-flights', by: ['origin', 'destination'], window: '1d' }],
  map(event, emit) {
    const delay = event.value
    if (delay === undefined) return drop('no delay')
    if (delay < LATE_MINUTES) return
    const route = [event.subject, event.attribute('destination')]
    emit.measure('late-flights', route, delay)
    const departure = new Date(event.time).toISOString()
    emit.result(`late/${route.join('-')}`, JSON.stringify({ delay, departure }))
  },
})
