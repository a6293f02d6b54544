// pm2, the real one, with ecosystem.config.cjs as it is: start, a reload without a refusal, a restart, stop.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { atEnd, frame, ownPorts, root, temporaryFolder } from './daemon.ts'

const VERSION = '7.0.4'

/** Installs pm2 into a cache of its own: nothing of ours needs it, and its licence is the AGPL. */
async function installed(): Promise<string> {
  const folder = join(root, '.cache', `pm2-${VERSION}`)
  const bin = join(folder, 'node_modules', '.bin', 'pm2')
  if (!existsSync(bin)) {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), '{"private":true}')
    const command = ['install', '--no-audit', '--no-fund', `pm2@${VERSION}`]
    await promisify(execFile)('npm', command, { cwd: folder })
  }
  return bin
}

interface Line {
  msg?: string
  http?: string
  role?: string
}

interface App {
  pid: number
  pm2_env: { status: string; restart_time: number; exit_code?: number; pm_err_log_path: string }
}

test('pm2 start, SIGHUP, reload and stop behave', async (t) => {
  const bin = await installed()
  const home = await temporaryFolder(t)
  const env = {
    ...process.env,
    PM2_HOME: home,
    PM2_DISCRETE_MODE: 'true',
    MILLRACE_DATADIR: join(home, 'data'),
    ...(await ownPorts()),
    MILLRACE_CLUSTER__LISTENERS: '1',
  }
  const pm2 = async (...words: string[]) =>
    (await promisify(execFile)(process.execPath, [bin, ...words], { env, cwd: home })).stdout
  atEnd(t, () => pm2('kill'))
  const app = async (): Promise<App> => {
    const list = await pm2('jlist')
    return (JSON.parse(list.slice(list.indexOf('[{'))) as App[])[0]
  }
  const lines = async (): Promise<Line[]> => {
    const text = await readFile((await app()).pm2_env.pm_err_log_path, 'utf8')
    return text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []))
  }
  const until = async (message: string, times = 1): Promise<Line> => {
    for (;;) {
      const found = (await lines()).filter(({ msg }) => msg === message)
      if (found.length >= times) return found.at(-1)!
    }
  }
  const post = async (http: string) => {
    const headers = { 'content-type': 'application/x-protobuf' }
    const answer = await fetch(`${http}/v1/events`, { method: 'POST', headers, body: frame({}) as never })
    assert.equal(answer.status, 202)
  }

  await pm2('start', join(root, 'ecosystem.config.cjs'))
  const first = await app()
  assert.equal(first.pm2_env.status, 'online')
  const { http } = await until('ready') // it had said so before `start` returned
  await post(http!)

  await pm2('sendSignal', 'SIGHUP', 'millrace')
  await until('reloaded')
  assert.equal((await app()).pid, first.pid, 'the same daemon, with other workers')
  await post(http!)

  await pm2('reload', 'millrace')
  const second = await app()
  assert.notEqual(second.pid, first.pid)
  assert.equal(second.pm2_env.status, 'online')
  const again = await until('ready', 2)
  assert.equal((await lines()).filter(({ msg }) => msg === 'drained, bye').length, 1, 'the first one drained')
  await post(again.http!)

  await pm2('stop', 'millrace')
  const stopped = await app()
  assert.equal(stopped.pm2_env.status, 'stopped')
  assert.equal(stopped.pm2_env.exit_code, 0)
  assert.equal((await lines()).filter(({ msg }) => msg === 'drained, bye').length, 2)
})
