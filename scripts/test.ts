// `npm run test:fast`, `test:e2e` and `test:all`: runs a group of the tests, those that take longest first, so that in
// the end nobody waits for one of them. Exits with 1 where one has failed.

import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

/** They need daemons, brokers or minutes. */
const slow = /^(aging|e2e|log\/(jetstream|kafka))\/|^log\/(dual\/servers|brokers)\./

interface Group {
  has(file: string): boolean
  /** Files that run at once. */
  atOnce: number
  /** Of a file, milliseconds. */
  timeout: number
}

const groups: Record<string, Group> = {
  fast: { has: (file) => !slow.test(file), atOnce: availableParallelism() + 1, timeout: 120_000 },
  e2e: { has: (file) => file.startsWith('e2e/'), atOnce: 1, timeout: 900_000 },
  all: { has: () => true, atOnce: 3, timeout: 900_000 },
}

/** Begin in this order; all others follow in that of their names. */
const longest = [
  'aging/soak',
  'processor/watched',
  'log/embedded-model',
  'cli/handlers',
  'monitoring',
  'log/reconcile',
  'log/embedded',
  'log/kinds',
  'results/store',
]

const group = groups[process.argv[2]]
if (group === undefined) {
  console.error(`test.js ${Object.keys(groups).join(' | ')}`)
  process.exit(2)
}

const folder = join(import.meta.dirname, '../test')
const found = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .sort()
const first = longest.map((name) => `${name}.test.js`)
const gone = first.filter((file) => !found.includes(file))
if (gone.length > 0) throw new Error(`${gone}: there is no such test`)

const files = [...new Set([...first, ...found])]
  .filter((file) => group.has(file))
  .map((file) => join(folder, file))
run({ files, concurrency: group.atOnce, timeout: group.timeout })
  .on('test:fail', () => {
    process.exitCode = 1
  })
  .compose(new spec())
  .pipe(process.stdout)
