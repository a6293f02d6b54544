// Enrichment from a table: the airport of a flight becomes its state and city.

import { readFileSync } from 'node:fs'
import { parse } from 'csv-parse/sync'
import { defineHandler, drop } from 'millrace'

const table = new URL('../node_modules/vega-datasets/data/airports.csv', import.meta.url)
const airports = new Map(
  parse(readFileSync(table), { columns: true }).map((airport) => [airport.iata, airport]),
)

export default defineHandler({
  name: 'enrich',
  match: { type: 'flight' },
  measures: [{ name: 'delays-by-state', by: ['state', 'city'], window: 'all', quantiles: true }],
  map(event, emit) {
    const airport = airports.get(event.subject)
    if (airport === undefined) return drop('unknown airport')
    if (event.value === undefined) return drop('no delay')
    emit.measure('delays-by-state', [airport.state, airport.city], event.value)
  },
})
