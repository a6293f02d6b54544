// Ten minutes at half of what the daemon can do: nothing grows. The long form is `npm run bench:soak`.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

const script = join(import.meta.dirname, '../../bench/soak.js')

test('at half of the ceiling for ten minutes memory, disk and latency stay as they are', async (t) => {
  const { code, said } = await new Promise<{ code: number; said: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [script, '--minutes', '8.7', '--every', '10'],
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
