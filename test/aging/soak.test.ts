// Ten minutes of a steady load, beside the other tests: memory, disk and backlog do not grow, and all is counted. Latency
// is not looked at here; the long form, at half of what an idle machine can do, is `npm run bench:soak`.
//
// In a folder whose name comes first: files are run in that order, and the longest is to begin before all others.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

const script = join(import.meta.dirname, '../../bench/soak.js')

test('for ten minutes memory, disk and backlog stay as they are', async (t) => {
  const { code, said } = await new Promise<{ code: number; said: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [script, '--minutes', '8.7', '--every', '10', '--share', '0.1', '--shared'],
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), said: stdout + stderr })
      },
    )
    t.after(() => child.kill())
  })
  t.diagnostic(said)
  assert.equal(code, 0, said)
  assert.match(said, /events processed/)
})
