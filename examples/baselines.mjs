// Makes the table of alerts.mjs from what it has measured: for each route with enough flights the mean of their delays
// plus three standard deviations, in whole minutes. `node examples/baselines.mjs [URL] > examples/baselines.json`, then
// SIGHUP: the handlers are loaded anew.

import { Client } from 'millrace/client'

const FLIGHTS_MIN = 30
const DEVIATIONS = 3

const client = new Client({ url: process.argv[2] })
const squares = new Map()
for await (const { key, sum } of client.rows('squared-delays')) squares.set(key.join('-'), sum)
const baselines = {}
for await (const { key, count, sum } of client.rows('delays')) {
  if (count < FLIGHTS_MIN) continue
  const route = key.join('-')
  const mean = sum / count
  const variance = Math.max(0, squares.get(route) / count - mean * mean)
  baselines[route] = Math.ceil(mean + DEVIATIONS * Math.sqrt(variance))
}
await client.close()
process.stdout.write(`${JSON.stringify(baselines, null, 1)}\n`)
