// A worker ends with its primary, whatever it is doing: what stayed behind would keep its place in the data directory.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { gone } from '../e2e/daemon.ts'

const KILLS = 8
const GONE_MS_MAX = 5_000

test(`a worker in the middle of commits goes with its primary, ${KILLS} times`, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (let kill = 0; kill < KILLS; kill++) {
    const primary = spawn(process.execPath, [join(import.meta.dirname, 'orphan-worker.js'), folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.after(() => primary.kill('SIGKILL'))
    const [said] = await once(createInterface({ input: primary.stdout }), 'line')
    const worker = Number(said)
    assert.ok(worker > 0)
    primary.kill('SIGKILL')
    await gone([worker], GONE_MS_MAX)
  }
})
