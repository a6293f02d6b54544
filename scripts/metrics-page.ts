// `npm run docs:metrics`: writes the tables of docs/metrics.md from the catalogue. What stands around them is left alone.

import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { groups, type Metric } from '../src/telemetry/catalogue.ts'
import { Metrics } from '../src/telemetry/metrics.ts'
import { ProcessMetrics } from '../src/telemetry/process.ts'

const page = join(resolve(import.meta.dirname, '../..'), 'docs', 'metrics.md')
const BEGIN = '<!-- Written by `npm run docs:metrics` from src/telemetry/catalogue.ts: do not edit. -->\n'
const END = '<!-- End of what is written. -->\n'

/** The page as it is, and as it should be. */
export async function metricsPage(): Promise<{ is: string; shouldBe: string }> {
  const is = await readFile(page, 'utf8')
  const [before, rest] = is.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) throw new Error(`${page} has no place for the tables:\n${BEGIN}${END}`)
  return { is, shouldBe: `${before}${BEGIN}\n${await tables()}\n${END}${after}` }
}

async function tables(): Promise<string> {
  const measured = new ProcessMetrics(new Metrics())
  const defaults = await measured.describe()
  measured.close()
  const all: Record<string, Record<string, Metric>> = {
    ...groups,
    'Node.js (prom-client’s default metrics)': defaults,
  }
  return Object.entries(all)
    .map(([title, metrics]) => `### ${title}\n\n${table(metrics)}`)
    .join('\n')
}

function table(metrics: Record<string, Metric>): string {
  const rows = Object.entries(metrics).map(([name, { type, labels, roles, buckets, help }]) => {
    const bounds = buckets === undefined ? '' : ` Buckets: ${buckets.join(', ')}.`
    const all = [...labels, ...(roles === undefined ? [] : ['role', 'worker'])]
    const of = roles === undefined ? 'daemon' : roles.length === 4 ? 'all' : roles.join(', ')
    return `| \`${name}\` | ${type} | ${all.map((label) => `\`${label}\``).join(' ')} | ${of} | ${help}${bounds} |\n`
  })
  return `| metric | type | labels | of | what it is |\n|---|---|---|---|---|\n${rows.join('')}`
}

if (process.argv[1] === import.meta.filename) await writeFile(page, (await metricsPage()).shouldBe)
