// `clinic flame -- node dist`, word for word: the profiler that forbids forks, with its own handling of Ctrl-C.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { atEnd, childrenOf, frame, killQuietly, ownPorts, root, temporaryFolder } from './daemon.ts'

const VERSION = '13.0.0'

/** Installs clinic into a cache of its own: it brings hundreds of packages, which are no dependency of ours. */
async function clinic(): Promise<string> {
  const folder = join(root, '.cache', `clinic-${VERSION}`)
  const bin = join(folder, 'node_modules', '.bin', 'clinic')
  if (!existsSync(bin)) {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), '{"private":true}')
    await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', `clinic@${VERSION}`], {
      cwd: folder,
    })
  }
  return bin
}

test('clinic flame -- node dist: one process takes and counts events, Ctrl-C drains, a flame graph is left', async (t) => {
  const folder = await temporaryFolder(t)
  const env = {
    ...process.env,
    NO_INSIGHT: '1',
    ...(await ownPorts()),
  }
  const child = spawn(await clinic(), ['flame', '--open=false', '--', 'node', join(root, 'dist')], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a group of its own, so that Ctrl-C can reach all of it as from a terminal
  })
  atEnd(t, async () => {
    for (const pid of [...(await childrenOf(child.pid!)), child.pid!]) killQuietly(pid)
  })
  let said = ''
  const ready = new Promise<string>((resolve, reject) => {
    const read = (text: Buffer) => {
      said += text
      const line = said.split('\n').find((one) => one.includes('"msg":"ready"'))
      if (line !== undefined) resolve(JSON.parse(line.slice(line.indexOf('{'))).http)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('exit', () => reject(new Error(said)))
  })
  const http = await ready
  const body = frame({ subject: 'a', value: 1 }, { subject: 'b', value: 2 })
  for (let n = 0; n < 200; n++) {
    const response = await fetch(`${http}/v1/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: body as never,
    })
    assert.equal(response.status, 202)
  }
  for (let processed = 0; processed < 400; ) {
    const response = await fetch(`${http}/v1/status`)
    assert.equal(response.status, 200)
    processed = ((await response.json()) as { processed: { events: number } }).processed.events
  }
  const exited = new Promise((resolve) => child.once('exit', resolve))
  process.kill(-child.pid!, 'SIGINT')
  await exited
  assert.match(said, /drained, bye/)
  const left = await readdir(join(folder, '.clinic'))
  assert.ok(
    left.some((name) => name.endsWith('.clinic-flame.html')),
    `${left}`,
  )
})
