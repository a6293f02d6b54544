// The proof that a 202 means flushed: the system calls of a listener, as strace sees them.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { atEnd, Daemon, frame, temporaryFolder } from './daemon.ts'

test('a sync completes between the arrival of a lone request and its 202', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  assert.equal((await daemon.post(frame({}))).status, 202)
  await daemon.processed(1)
  const listener = (await daemon.status()).roles.find(({ role }) => role === 'listener')!.pid

  const trace = join(await temporaryFolder(t), 'trace')
  const calls =
    'trace=read,recv,recvfrom,recvmsg,write,send,sendto,sendmsg,writev,pwrite64,pwritev,fdatasync,fsync'
  const strace = spawn(
    'strace',
    ['-f', '-ttt', '-s', '64', '-e', calls, '-o', trace, '-p', String(listener)],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  atEnd(t, () => strace.kill('SIGKILL'))
  await new Promise<void>((resolve, reject) => {
    strace.once('error', reject) // not installed: this test needs it
    strace.stderr.once('data', () => resolve()) // "Process ... attached"
  })
  assert.equal((await daemon.post(frame({ subject: 'traced' }))).status, 202)
  const ended = new Promise((resolve) => strace.once('exit', resolve))
  strace.kill('SIGINT')
  await ended

  const lines = (await readFile(trace, 'utf8')).split('\n')
  const arrived = lines.findIndex((line) => line.includes('POST /v1/events'))
  const answered = lines.findIndex((line, i) => i > arrived && line.includes('HTTP/1.1 202'))
  assert.ok(arrived >= 0 && answered > arrived, lines.join('\n'))
  const between = lines.slice(arrived, answered)
  const synced = between.some(
    (line) => /fdatasync\(\d+\) += 0/.test(line) || /<... fdatasync resumed>.* = 0/.test(line),
  )
  const wrote = between.some((line) => /pwrite(64|v)/.test(line))
  assert.ok(wrote && synced, between.join('\n'))
})
