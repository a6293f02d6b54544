// scripts/profile.sh in a tree that was just checked out, without a terminal.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cp, mkdir, readdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { wellFormed } from '../profile/xml.ts'
import { atEnd, childrenOf, killQuietly, root, temporaryFolder } from './daemon.ts'

/** What is built, fetched or left by a run: a fresh checkout has none of it. */
const made = [
  '.git',
  '.cache',
  '.clinic',
  'build',
  'data',
  'dist',
  'generated',
  'node_modules',
  'profiles',
  'results',
]

const BYTES_MAX = 1_000_000

test('scripts/profile.sh leaves a flame graph of time, one of memory and a trace, which name our functions', async (t) => {
  const tree = join(await temporaryFolder(t), 'tree')
  await mkdir(tree)
  for (const name of await readdir(root)) {
    if (!made.includes(name)) await cp(join(root, name), join(tree, name), { recursive: true })
  }
  await mkdir(join(root, '.cache'), { recursive: true })
  for (const name of ['node_modules', '.cache']) await symlink(join(root, name), join(tree, name))

  const script = spawn(join(tree, 'scripts', 'profile.sh'), ['2'], {
    cwd: tree,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  atEnd(t, () => endAll(script.pid!))
  let said = ''
  for (const stream of [script.stdout, script.stderr]) stream.on('data', (text) => (said += text))
  const code = await new Promise((resolve) => script.once('close', resolve))
  assert.equal(code, 0, said)

  const read = async (name: string) => {
    const text = await readFile(join(tree, 'profiles', name), 'utf8')
    assert.ok(text.length < BYTES_MAX, `${name} has ${text.length} bytes`)
    assert.ok(!text.includes(tree), `${name} names a folder of this machine`)
    return text
  }
  const cpu = await read('cpu.svg')
  wellFormed(cpu)
  for (const ours of ['src/ingest/', 'src/log/', 'src/processor/fold.ts'])
    assert.ok(cpu.includes(` ${ours}`), ours)
  const memory = await read('mem.svg')
  wellFormed(memory)
  assert.match(memory, / src\/processor\//)
  const { traceEvents } = JSON.parse(await read('trace.json')) as {
    traceEvents: { ph: string; name: string; ts: number; dur: number; args?: { name: string } }[]
  }
  const calls = traceEvents.filter(({ ph }) => ph === 'X')
  assert.ok(calls.every(({ ts, dur }) => ts >= 0 && dur >= 0))
  for (const ours of ['src/ingest/', 'src/processor/fold.ts']) {
    assert.ok(
      calls.some(({ name }) => name.includes(` ${ours}`)),
      ours,
    )
  }
  assert.ok(traceEvents.some(({ args }) => args?.name === 'pool thread 1'))
  const flame = await readFile(join(tree, 'profiles', 'flame.html'), 'utf8')
  assert.match(flame, /millrace\/dist\/processor\//)
  assert.ok(!flame.includes(tree))
})

/** A process with all below it; the groups of their own that the script makes are below it too. */
async function endAll(pid: number): Promise<void> {
  for (const child of await childrenOf(pid)) await endAll(child)
  killQuietly(pid)
}
