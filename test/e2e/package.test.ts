// What an application gets: the package as npm packs it, its types, and the example of the README, word for word.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { Daemon, root, temporaryFolder } from './daemon.ts'

const run = promisify(execFile)
const modules = join(root, 'node_modules')
const tsc = join(modules, 'typescript', 'bin', 'tsc')

/** A folder with the packed package installed: what it depends on is what is installed here. */
async function application(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t)
  const npm = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]
  const [{ filename }] = JSON.parse((await run('npm', npm, { cwd: root })).stdout)
  const installed = join(folder, 'node_modules', 'millrace')
  await mkdir(join(folder, 'node_modules', '@types'), { recursive: true })
  await mkdir(installed)
  await run('tar', ['-xzf', join(folder, filename), '-C', installed, '--strip-components=1'])
  for (const name of ['undici', 'ws', '@types/node', 'undici-types']) {
    await symlink(join(modules, name), join(folder, 'node_modules', name))
  }
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  return folder
}

/** Rejects with the compiler's words. */
async function compile(folder: string, text: string): Promise<void> {
  await writeFile(join(folder, 'application.ts'), text)
  const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node']
  await run(process.execPath, [tsc, ...options, 'application.ts'], { cwd: folder }).catch((error) => {
    throw new Error(error.stdout)
  })
}

test('the packed package: typed, checked to the last declaration, and needs nothing of the daemon', async (t) => {
  const folder = await application(t)
  await compile(
    folder,
    `import { type Ack, Client, type ClientOptions, type Event, MillraceError } from 'millrace/client'
     const options: ClientOptions = { url: process.argv[2], transport: 'stream', batch: { delay: 0 } }
     const client = new Client(options)
     const event: Event = { source: 'app', type: 'packed', subject: 'p', value: 2, time: new Date(), data: { a: 1 } }
     const ack: Ack = await client.publish([event, event])
     const refused: string = await client.publish({ ...event, type: '' }).then(
       () => 'taken',
       (error) => (error instanceof MillraceError && error.code === 'malformed' ? error.code : 'other'),
     )
     for await (const { key, count } of client.rows('by-subject', { merge: true })) {
       const first: string = key[0]
       if (first === '' || count < 0) throw new Error('impossible')
     }
     console.log(JSON.stringify([ack.accepted, ack.durability, refused]))
     await client.close().catch((error: MillraceError) => error.code === 'malformed' || Promise.reject(error))`,
  )
  const daemon = await Daemon.start(t)
  const { stdout } = await run(process.execPath, ['application.js', daemon.http], { cwd: folder })
  assert.deepEqual(JSON.parse(stdout), [2, 'fsynced', 'malformed'])
  assert.equal((await daemon.processed(2)).processed.events, 2)

  const wrong = `import { Client } from 'millrace/client'
    await new Client().publish({ source: 's', type: 't', timestamp: 1 })`
  await assert.rejects(compile(folder, wrong), /TS2353.*'?timestamp'? does not exist/)
})

test('the example of the README works as it stands there', async (t) => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const example = /```ts\n(import \{ Client \}[\s\S]*?)```/.exec(readme)![1]
  assert.match(example, /127\.0\.0\.1:7070/)
  const folder = await application(t)
  const daemon = await Daemon.start(t)
  await compile(folder, example.replaceAll('http://127.0.0.1:7070', daemon.http))
  const { stdout } = await run(process.execPath, ['application.js'], { cwd: folder })
  assert.match(stdout, /^fsynced\nbed-2 1000 499\.5$/m)
  assert.equal((await daemon.processed(1001)).processed.events, 1001)
})
