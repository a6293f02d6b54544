import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { lock } from '../../src/daemon/lock.ts'

test('one holds it, the next waits for it, and a killed holder does not hold it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-lock-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, 'x.sock')
  const unlock = await lock(path, 0)
  await assert.rejects(lock(path, 0), /held by a process that is running/)
  const second = lock(path, 10_000)
  await unlock()
  await (await second)()

  const holder = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('held'))`,
  ])
  t.after(() => holder.kill('SIGKILL'))
  await new Promise((resolve) => holder.stdout.once('data', resolve))
  await assert.rejects(lock(path, 0))
  const ended = new Promise((resolve) => holder.once('exit', resolve))
  holder.kill('SIGKILL')
  await ended
  await (await lock(path, 0))()
})
