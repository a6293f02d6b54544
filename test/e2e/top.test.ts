// `millrace top` on a real terminal (script, of util-linux), and without one.

import assert from 'node:assert/strict'
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { promisify, stripVTControlCharacters } from 'node:util'
import type { Sample } from '../../src/api/live.ts'
import { until } from '../until.ts'
import { atEnd, Daemon, entry, frame, killQuietly } from './daemon.ts'

const ENTER = '\u001b[?1049h'
const LEAVE = '\u001b[?1049l'
const SHOW_CURSOR = '\u001b[?25h'

class Terminal {
  readonly #child: ChildProcess
  readonly exited: Promise<number | null>
  said = ''

  /** `words`: what is run in it, by a shell that says which terminal it is, and at the end how it was left. */
  constructor(t: TestContext, words: string[], env: Record<string, string> = {}) {
    const command = words.map((word) => `'${word}'`).join(' ')
    const shell = `echo "tty=$(tty);"; stty cols 100 rows 40; ${command}; echo "code=$?;"; stty -a`
    this.#child = spawn('script', ['-qfc', shell, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    })
    atEnd(t, () => killQuietly(-this.#child.pid!))
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.said += text
    })
    this.exited = new Promise((resolve) => this.#child.once('close', resolve))
  }

  type(text: string): void {
    this.#child.stdin!.write(text)
  }

  resize(columns: number, rows: number): void {
    const name = /tty=([^;]+);/.exec(this.said)![1]
    execFileSync('stty', ['-F', name, 'cols', String(columns), 'rows', String(rows)])
  }

  /** The lines of the newest whole screen, as they look. */
  get screen(): string[] {
    const drawn = this.said.split('\u001b[H').at(this.said.endsWith('\u001b[J') ? -1 : -2) ?? ''
    return stripVTControlCharacters(drawn).split(/\r+\n/)
  }

  line(name: string): string {
    return this.screen.find((one) => one.startsWith(name)) ?? ''
  }
}

test('on a terminal it fills the screen with numbers equal to those of the API, and leaves it as it was', async (t) => {
  const daemon = await Daemon.start(t)
  const body = frame(
    { subject: 'quiet', value: 1 },
    { subject: 'loud\u001b[2J', value: 1 },
    { subject: '雪', value: 1 },
  )
  for (let n = 0; n < 50; n++) assert.equal((await daemon.post(body)).status, 202)
  const words = [process.execPath, entry, 'top', '--admin', daemon.admin, '--url', daemon.http]
  const terminal = new Terminal(t, words)
  await until(() => terminal.line('total').includes('processed 150'), `the screen, not ${terminal.said}`)
  const status = await daemon.status()
  assert.match(terminal.line('millrace'), /ready +embedded, fsynced/)
  assert.match(terminal.line('total'), /accepted 150 +processed 150 +duplicates 0/)
  for (const { role, pid } of status.roles)
    assert.match(terminal.screen.join('\n'), new RegExp(`${role}.* ${pid} +yes`))
  await until(() => terminal.line('hottest').includes('by-subject, by rate'), 'the keys')
  await until(() => /^quiet .* 50$/.test(terminal.line('quiet')), 'the counts of the keys')
  assert.ok(terminal.said.includes('loud\\u001b[2J'), 'what a client has sent cannot write on the terminal')

  // What is sent now is the hottest by rate, though another one has more.
  const sending = new AbortController()
  const more = (async () => {
    while (!sending.signal.aborted) await daemon.post(frame({ subject: 'new', value: 1 }))
  })()
  const first = () =>
    terminal.screen[terminal.screen.findIndex((line) => line.startsWith('hottest')) + 2] ?? ''
  await until(() => /^new .*\d\/s/.test(first()), 'the key that grows')
  await until(() => /█/.test(terminal.line('accepted')), 'a sparkline')
  sending.abort()
  await more

  terminal.resize(50, 12)
  await until(() => terminal.screen.length <= 12, 'a smaller screen')
  for (const line of terminal.screen) assert.ok([...line].length <= 50, line)

  // The daemon goes and comes back.
  await daemon.killAll()
  await until(
    () => /has gone away|has ended|does not answer/.test(terminal.screen[1] ?? ''),
    'that it is gone',
  )
  await daemon.launch()
  terminal.type('q')
  await terminal.exited
  assert.match(terminal.said, /code=0;/)
  assert.ok(terminal.said.includes('\u001b[32m'), 'in colours')
  const end = terminal.said.slice(terminal.said.lastIndexOf(LEAVE))
  assert.ok(terminal.said.indexOf(ENTER) > 0 && terminal.said.includes(SHOW_CURSOR))
  assert.match(end, /[^-]icanon/)
  assert.match(end, /[^-]echo /)
})

test('Ctrl-C and SIGTERM end it too; without colours where NO_COLOR says so', async (t) => {
  const daemon = await Daemon.start(t)
  const words = [process.execPath, entry, 'top', '--admin', daemon.admin, '--url', daemon.http]
  const typed = new Terminal(t, words, { NO_COLOR: '1' })
  await until(() => typed.line('pool') !== '', 'the screen')
  typed.type('\u0003')
  await typed.exited
  assert.match(typed.said, /code=0;/)
  assert.ok(!typed.said.includes('\u001b[32m'))

  const killed = new Terminal(t, ['sh', '-c', 'echo "pid=$$;"; exec "$@"', 'sh', ...words])
  await until(() => killed.line('pool') !== '', 'the screen')
  process.kill(Number(/pid=(\d+);/.exec(killed.said)![1]), 'SIGTERM')
  await killed.exited
  assert.match(killed.said.slice(killed.said.lastIndexOf(LEAVE)), /code=0;.*[^-]icanon/s)
})

test('piped it prints a line a second; --once one, --json what the API answers', async (t) => {
  const daemon = await Daemon.start(t)
  assert.equal((await daemon.post(frame({ subject: 'a' }, { subject: 'b' }))).status, 202)
  await daemon.processed(2)
  const words = [entry, 'top', '--admin', daemon.admin]
  const once = promisify(execFile)
  await until(async () => {
    const { stdout } = await once(process.execPath, [...words, '--once'])
    return /^\d\d:\d\d:\d\d {2}ready {2}accepted \d+\/s .* lag 0 events {2}ack p50 .* total 2\n$/.test(stdout)
  }, 'both events in a line')
  const sample = JSON.parse((await once(process.execPath, [...words, '--once', '--json'])).stdout) as Sample
  const { samples } = (await (await fetch(`${daemon.admin}/live?samples=600`)).json()) as {
    samples: Sample[]
  }
  assert.deepEqual(
    samples.find(({ at }) => at === sample.at),
    sample,
  )
  const child = spawn(process.execPath, [...words, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  atEnd(t, () => killQuietly(child.pid!))
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  await until(() => said.split('\n').length > 3, 'three lines')
  const times = said
    .split('\n')
    .slice(0, 3)
    .map((line) => Date.parse(JSON.parse(line).at))
  assert.ok(times[0] < times[1] && times[1] < times[2])
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGINT')
  assert.equal(await exited, 0)
  await daemon.stop()
  await assert.rejects(once(process.execPath, words), ({ code, stderr }) => {
    assert.match(stderr, /the admin port .* does not answer: connection refused/)
    return code === 1
  })
})

test('options of the one are refused by the other', async () => {
  const run = (...words: string[]) => promisify(execFile)(process.execPath, [entry, 'top', ...words])
  for (const [words, message] of [
    [['by-subject', '--once'], /--once is for the live view/],
    [['--limit', '5'], /--limit is for the keys of a measure/],
    [['--by', 'sum'], /--by sum: one of rate, count/],
    [['by-subject', '--by', 'rate'], /--by rate: one of count,/],
    [['--admin', 'nowhere'], /--admin nowhere: an address such as/],
  ] as const) {
    await assert.rejects(run(...words), ({ code, stderr }) => {
      assert.match(stderr, message)
      return code === 2
    })
  }
})
