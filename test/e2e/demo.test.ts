// The demo through each kind of log that needs a broker: three million real events, and the answers of DuckDB.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { root } from './daemon.ts'

const run = promisify(execFile)
const demo = join(root, 'build', 'scripts', 'demo.js')

const logs = [
  ['log.kind=jetstream'],
  ['log.kind=kafka'],
  ['log.kind=kafka', 'log.kafka.client=platformatic'],
  ['log.kind=dual'],
]

for (const sets of logs) {
  test(`${sets.join(', ')}: the demo's answers are right`, async (t) => {
    const { stdout } = await run(process.execPath, [demo, ...sets.flatMap((set) => ['--set', set])])
    assert.match(stdout, /^GOOD: .*lost 0, double-counted 0, answers equal/m)
    t.diagnostic(stdout.trim().split('\n').at(-1)!)
  })
}
