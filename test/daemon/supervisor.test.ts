import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import type { Config } from '../../src/config/config.ts'
import type { Message } from '../../src/daemon/link.ts'
import { type Child, Slot } from '../../src/daemon/supervisor.ts'
import { CRASHES_MAX, FAILED_MS_MAX, RESTART_MS_MAX, RESTART_MS_MIN } from '../../src/limits.ts'

/** A child that does what the test says. */
class FakeChild implements Child {
  readonly pid = 1
  readonly sent: Message[] = []
  readonly #events = new EventEmitter()
  readonly link = {
    send: (message: Message) => void this.sent.push(message),
    onMessage: (listener: (message: Message) => void) => void this.#events.on('message', listener),
    onClose: () => {},
  }
  killed = false
  kill(): void {
    this.killed = true
  }
  onExit(listener: (code: number | null, signal: string | null) => void): void {
    this.#events.on('exit', listener)
  }
  say(message: Message): void {
    this.#events.emit('message', message)
  }
  exit(code: number | null, signal: string | null = null): void {
    this.#events.emit('exit', code, signal)
  }
}

function slot(t: TestContext, role: 'processor' | 'listener' = 'processor') {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
  const children: FakeChild[] = []
  const reasons: string[] = []
  const codes: number[] = []
  const made = new Slot({
    role,
    worker: 0,
    config: {} as Config,
    http: false,
    logger: pino({ level: 'silent' }),
    spawn: () => {
      const child = new FakeChild()
      children.push(child)
      return child
    },
    started: () => {},
    gaveUp: (reason, exitCode) => {
      reasons.push(reason)
      codes.push(exitCode)
    },
  })
  made.start()
  return { made, children, reasons, codes }
}

test('a dead child is started again, each time after a longer wait', (t) => {
  const { children } = slot(t)
  let wait = RESTART_MS_MIN
  for (let n = 1; n <= 10; n++) {
    const child = children.at(-1)!
    child.say({ type: 'ready' })
    child.exit(null, 'SIGKILL')
    t.mock.timers.tick(wait - 1)
    assert.equal(children.length, n, 'not before its time')
    t.mock.timers.tick(1)
    assert.equal(children.length, n + 1)
    wait = Math.min(wait * 2, RESTART_MS_MAX)
  }
})

test('one that keeps ending by itself is given up, with the reason it gave', (t) => {
  const { children, reasons } = slot(t)
  for (let n = 0; n < CRASHES_MAX; n++) {
    assert.deepEqual(reasons, [])
    children.at(-1)!.say({ type: 'failed', reason: 'no store' })
    children.at(-1)!.exit(1)
    t.mock.timers.tick(RESTART_MS_MAX)
  }
  assert.equal(reasons.length, 1)
  assert.match(reasons[0], /processor ended 5 times.*no store/)
  assert.equal(children.length, CRASHES_MAX)
})

test('kills from outside are no crash loop, crashes by signal are', (t) => {
  const { children, reasons } = slot(t)
  const die = (signal: string) => {
    children.at(-1)!.say({ type: 'ready' })
    children.at(-1)!.exit(null, signal)
    t.mock.timers.tick(RESTART_MS_MAX)
  }
  for (let n = 0; n < 3 * CRASHES_MAX; n++) die('SIGKILL')
  assert.deepEqual(reasons, [])
  for (let n = 0; n < CRASHES_MAX; n++) {
    die('SIGSEGV')
  }
  assert.match(reasons[0], /SIGSEGV/)
})

test('one that has failed and does not end is killed, and that is a crash', (t) => {
  const { children, reasons } = slot(t)
  for (let n = 0; n < CRASHES_MAX; n++) {
    assert.deepEqual(reasons, [])
    const child = children.at(-1)!
    child.say({ type: 'ready' })
    child.say({ type: 'failed', reason: 'no store' })
    t.mock.timers.tick(FAILED_MS_MAX - 1)
    assert.equal(child.killed, false)
    t.mock.timers.tick(1)
    assert.equal(child.killed, true)
    child.exit(null, 'SIGKILL')
    t.mock.timers.tick(RESTART_MS_MAX)
  }
  assert.match(reasons[0], /processor ended 5 times.*no store/)
})

test('what starting again would not mend ends it at once', (t) => {
  const { children, reasons, codes } = slot(t)
  children[0].say({ type: 'failed', reason: 'needs glibc 2.38', exitCode: 2 })
  children[0].exit(1)
  assert.deepEqual(reasons, ['needs glibc 2.38'])
  assert.deepEqual(codes, [2])
})

test('draining asks the child, waits for its end, and starts no other', async (t) => {
  const { made, children } = slot(t)
  children[0].say({ type: 'hello' })
  const drained = made.drain()
  assert.deepEqual(children[0].sent.at(-1), { type: 'drain' })
  children[0].exit(0)
  await drained
  t.mock.timers.tick(RESTART_MS_MAX)
  assert.equal(children.length, 1)
})

const other = { dataDir: 'other' } as Config

/** Lets promises that are settled have their turn. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('a listener serves until its successor is ready, and then has its time to leave', async (t) => {
  const { made, children } = slot(t, 'listener')
  children[0].say({ type: 'hello' })
  children[0].say({ type: 'ready' })
  const replaced = made.replace(other)
  const [former, next] = children
  assert.deepEqual([made.children, made.listening], [[former, next], [former]])
  next.say({ type: 'hello' })
  assert.deepEqual(made.listening, [former, next])
  assert.deepEqual(next.sent, [{ type: 'start', role: 'listener', config: other, http: false }])
  assert.equal(former.sent.length, 1, 'nobody has told it yet')
  next.say({ type: 'ready' })
  await turn()
  assert.deepEqual(former.sent.at(-1), { type: 'drain', successor: true })
  assert.equal(made.ready, true)
  former.exit(0)
  assert.ok('pid' in ((await replaced) as object))
  next.exit(null, 'SIGKILL')
  t.mock.timers.tick(RESTART_MS_MIN)
  children[2].say({ type: 'hello' })
  assert.deepEqual(children[2].sent[0], { type: 'start', role: 'listener', config: other, http: false })
})

test('a successor that fails is told of, and nothing else has happened', async (t) => {
  const { made, children, reasons } = slot(t, 'listener')
  children[0].say({ type: 'ready' })
  const replaced = made.replace(other)
  children[1].say({ type: 'failed', reason: 'no certificate', exitCode: 1 })
  children[1].exit(1)
  assert.deepEqual(await replaced, { failed: 'no certificate' })
  assert.deepEqual(children[0].sent, [])
  assert.equal(made.ready, true)
  assert.deepEqual(reasons, [], 'the daemon does not end')
})

test('a processor begins only when the one before it is gone, and that one comes back where it fails', async (t) => {
  const { made, children } = slot(t)
  children[0].say({ type: 'hello' })
  children[0].say({ type: 'ready' })
  const replaced = made.replace(other)
  children[1].say({ type: 'hello' })
  await turn()
  assert.deepEqual(children[0].sent.at(-1), { type: 'drain' })
  assert.deepEqual(children[1].sent, [])
  children[0].exit(0)
  await turn()
  assert.equal(children[1].sent.length, 1)
  children[1].say({ type: 'failed', reason: 'no store' })
  children[1].exit(1)
  assert.deepEqual(await replaced, { failed: 'no store' })
  children[2].say({ type: 'hello' })
  assert.deepEqual(children[2].sent, [{ type: 'start', role: 'processor', config: {}, http: false }])
})

test('a successor that someone kills is no fault of the configuration', async (t) => {
  const { made, children } = slot(t, 'listener')
  children[0].say({ type: 'ready' })
  const replaced = made.replace(other)
  children[1].exit(null, 'SIGKILL')
  await turn()
  children[2].say({ type: 'ready' })
  await turn()
  children[0].exit(0)
  assert.ok('pid' in ((await replaced) as object))
})

test('a slot that drains is not given a successor', async (t) => {
  const { made, children } = slot(t, 'listener')
  children[0].say({ type: 'hello' })
  children[0].say({ type: 'ready' })
  const drained = made.drain()
  assert.equal(await made.replace({} as Config), 'interrupted')
  assert.equal(children.length, 1)
  children[0].exit(0)
  await drained
})

test('a successor that dies while the one before it is leaving is started again', async (t) => {
  const { made, children } = slot(t, 'listener')
  children[0].say({ type: 'hello' })
  children[0].say({ type: 'ready' })
  const replaced = made.replace({} as Config)
  children[1].say({ type: 'hello' })
  children[1].say({ type: 'ready' })
  await turn()
  children[1].exit(null, 'SIGKILL')
  t.mock.timers.tick(RESTART_MS_MIN)
  assert.equal(children.length, 3, 'before the former one is gone')
  children[0].exit(0)
  await replaced
  t.mock.timers.tick(10 * RESTART_MS_MIN)
  assert.equal(children.length, 3, 'and once only')
})
