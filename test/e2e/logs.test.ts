// What stands in the logs, and what never does; and that their level changes without a restart.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { WebSocket } from 'ws'
import { until } from '../until.ts'
import { atEnd, childrenOf, Daemon, entry, frame, killQuietly, type Line, temporaryFolder } from './daemon.ts'
import { GrpcClient } from './grpc-client.ts'

const MARK = 'SeCrEt'

/** Quotes the events in everything that a handler can say. */
const HANDLER = `
  import { deadLetter, defineHandler, drop } from 'millrace'
  export default defineHandler({
    name: 'quotes', timeLimit: 300, measures: [{ name: 'quoted', by: ['subject'], window: 'all' }],
    map({ type, subject, data }, emit) {
      const all = type + subject + Buffer.from(data)
      if (type.startsWith('throws')) throw Object.assign(new Error(all), { name: all, code: all })
      if (type.startsWith('buries')) return deadLetter(all)
      if (type.startsWith('drops')) return drop(all)
      if (type.startsWith('later')) setTimeout(() => { throw new Error(all) })
      if (type.startsWith('rejects')) Promise.reject(new Error(all))
      if (type.startsWith('hangs')) for (;;) {}
      if (type.startsWith('returns')) return all
      if (type.startsWith('stores')) emit.result('', all)
      emit.measure('quoted', subject)
    },
  })`

test('nothing that a client sends in an event is in any line of the log, at level trace', async (t) => {
  const folder = await temporaryFolder(t)
  const dataDir = join(folder, 'data')
  await mkdir(dataDir)
  await writeFile(join(folder, 'handler.mjs'), HANDLER)
  const daemon = await Daemon.start(t, {
    dataDir,
    config: {
      handlers: [join(folder, 'handler.mjs')],
      grpc: {},
      logging: { level: 'trace' },
      cluster: { listeners: 1 },
    },
  })
  const fields = {
    id: MARK,
    source: MARK,
    subject: MARK,
    data: Buffer.from(MARK),
    datacontenttype: MARK,
    attributes: { [MARK.toLowerCase()]: MARK, [MARK]: MARK },
  }
  const types = ['throws', 'buries', 'drops', 'later', 'rejects', 'hangs', 'returns', 'stores', 'good']
  for (const type of types) {
    assert.equal((await daemon.post(frame({ ...fields, type: `${type} ${MARK}` }))).status, 202)
  }
  await daemon.processed(types.length)
  await daemon.line((line) => line.msg?.startsWith('an event becomes a dead letter') === true)
  await daemon.line((line) => line.msg?.startsWith('events became dead letters') === true)
  const { letters } = await daemon.get('/v1/dead-letters')
  assert.ok(
    letters.length >= 6 && JSON.stringify(letters).includes(MARK),
    'who asks for a letter is told all',
  )
  await fetch(`${daemon.http}/v1/dead-letters/replay?all=true`, { method: 'POST' })

  let quoted = 0
  /** Sends until one of these is not left out of the log: so many a second are not. */
  const refusedOf = async (what: string, send: (id: string) => Promise<string>) => {
    let attempt = 0
    let line: Line | undefined
    await until(async () => {
      const correlationId = `c-${what}-${attempt++}`
      if ((await send(correlationId)).includes(MARK)) quoted++
      line = daemon.lines.find((one) => one.correlationId === correlationId && one.msg === 'request refused')
      return line !== undefined
    }, `a line about ${what}`)
    return line!
  }
  const posted = (type: string, body: string | Buffer, headers: Record<string, string> = {}) => {
    return async (id: string) => {
      const all = { 'content-type': type, 'x-correlation-id': id, ...headers }
      return (await daemon.post(body, all)).text()
    }
  }
  const json = (body: object) => posted('application/json', JSON.stringify(body))
  const good = { source: 'a', type: 'b' }
  const CE = 'application/cloudevents+json'
  const event = { specversion: '1.0', id: '1', ...good }
  const binary = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': 'a', 'ce-type': 'b' }
  const bad: Record<string, (id: string) => Promise<string>> = {
    'cut off': posted('application/x-protobuf', frame({ ...fields, type: MARK }).subarray(0, -3)),
    'without a type': posted('application/x-protobuf', frame({ ...fields, type: '' })),
    'no JSON': posted('application/json', `{"source": ${MARK}`),
    'no UTF-8': posted('application/json', Buffer.concat([Buffer.from(MARK), Buffer.of(0xff)])),
    'no NDJSON': posted('application/x-ndjson', `${JSON.stringify(good)}\n{"source": ${MARK}`),
    'an unknown name in a line': posted('application/x-ndjson', JSON.stringify({ ...good, [MARK]: 1 })),
    'an unknown name': json({ ...good, [MARK]: 1 }),
    'no time': json({ ...good, time: MARK }),
    'no number': json({ ...good, value: MARK }),
    'no base64': json({ ...good, data: `${MARK}"` }),
    'a number for an attribute': json({ ...good, attributes: { [MARK]: 5 } }),
    'a long attribute name': json({ ...good, attributes: { [MARK.repeat(100)]: '' } }),
    'another version': posted(CE, JSON.stringify({ ...event, specversion: MARK })),
    'no attribute': posted(CE, JSON.stringify({ ...event, [MARK]: 'x' })),
    'a time of an event': posted(CE, JSON.stringify({ ...event, time: MARK })),
    'no batch': posted(CE, JSON.stringify([event, { ...event, [MARK]: 'x' }])),
    'a broken header': posted('text/plain', MARK, { ...binary, [`ce-${MARK}`]: `%zz${MARK}` }),
    'another media type': posted(`text/${MARK}`, MARK),
    'a media type of CloudEvents': posted(`application/cloudevents+${MARK}`, MARK),
    'no sequence': posted('application/x-protobuf', frame({}), { 'millrace-sequence': MARK }),
  }
  const asked: Record<string, string> = {
    'a measure': `/v1/measures/${MARK}`,
    'a parameter': `/v1/measures/by-subject?${MARK}=1`,
    'a key': `/v1/measures/by-subject?key=${MARK}&key=${MARK}`,
    'an order': `/v1/measures/by-subject/top?by=${MARK}`,
    'a result': `/v1/results/${MARK}`,
    'a tap': `/v1/events/tail?type=${MARK}*${MARK}`,
    'a letter': `/v1/dead-letters/${MARK}`,
    'a reason': `/v1/dead-letters?limit=${MARK}&reason=${MARK}`,
    'a path': `/v1/${MARK}`,
  }
  for (const [what, path] of Object.entries(asked)) {
    bad[what] = async (id) =>
      (await fetch(daemon.http + path, { headers: { 'x-correlation-id': id } })).text()
  }
  bad['a message of a stream'] = (id) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${daemon.http.replace('http', 'ws')}/v1/stream`, 'millrace.v1', {
        headers: { 'x-correlation-id': id },
      })
      atEnd(t, () => socket.terminate())
      let said = ''
      socket.on('open', () => socket.send(frame({ ...fields, type: '' })))
      socket.on('message', (data) => {
        said += data
      })
      socket.on('close', () => resolve(said))
    })
  const grpc = new GrpcClient(daemon.grpc)
  atEnd(t, () => grpc.close())
  bad['a call'] = (id) =>
    grpc.publish(frame({ ...fields, type: '' }), { 'x-correlation-id': id }).then(String, String)

  for (const [what, send] of Object.entries(bad)) {
    const { code, detail } = await refusedOf(what.replaceAll(' ', '-'), send)
    assert.ok(typeof code === 'string')
    if (what === 'without a type') assert.equal(detail, 'event 1: type is missing (byte 0)')
    if (what === 'no NDJSON') assert.match(String(detail), /^line 2, column \d+: not JSON$/)
    if (what === 'no batch') assert.equal(detail, undefined)
  }
  assert.ok(quoted > 10, 'the clients are told more than the log')
  await daemon.stop()
  const leaks = daemon.lines.filter((line) => JSON.stringify(line).toLowerCase().includes(MARK.toLowerCase()))
  assert.deepEqual(leaks, [])
})

test('the level changes in all processes without a restart, until a reload', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const admin = (method = 'GET', query = '') =>
    fetch(`${daemon.admin}/log-level${query}`, { method }).then(
      (response) => response.json() as Promise<{ levels: Record<string, string> }>,
    )
  let asked = 0
  /** A refused request, told of in the log or not; the one that is not refused comes behind it. */
  const refusal = async () => {
    const id = `r-${asked++}`
    await daemon.post('', { 'x-correlation-id': id })
    return id
  }
  const isTold = (id: string) => daemon.lines.some(({ correlationId }) => correlationId === id)
  const told = (id: string) => daemon.line(({ correlationId }) => correlationId === id)

  await told(await refusal())
  const { levels } = await admin('PUT', '?level=error')
  assert.deepEqual(Object.values(levels), ['error', 'error', 'error', 'error'])
  let quiet = ''
  await until(async () => {
    quiet = await refusal()
    await admin('PUT', '?level=error')
    return !isTold(quiet)
  }, 'refusals to be left out')
  await admin('DELETE', '?role=listener')
  await until(async () => isTold(await refusal()), 'refusals to be told again')
  assert.ok(!isTold(quiet))

  // A worker that is started again has the level that was set, not the one of the configuration.
  const from = daemon.lines.length
  await admin('PUT', '?level=debug&role=processor')
  const { roles } = await daemon.status()
  killQuietly(roles.find(({ role }) => role === 'processor')!.pid)
  await daemon.line(({ msg }) => msg === 'partitions owned', from)
  assert.deepEqual((await admin()).levels, {
    primary: 'error',
    listener: 'info',
    processor: 'debug',
    gateway: 'error',
  })
  daemon.signal('SIGHUP')
  await until(async () => (await admin()).levels.processor === 'info', 'the reload')
  await daemon.line(({ msg }) => msg === 'reloaded', from)
  const after = daemon.lines.length
  await told(await refusal())
  assert.ok(!daemon.lines.slice(after).some(({ level }) => Number(level) < 30))
  assert.equal((await childrenOf(daemon.pid)).length, 2)
})

test('at debug each request is a line with its correlation id, some a second; at info there is none', async (t) => {
  const daemon = await Daemon.start(t, {
    config: { cluster: { listeners: 1 }, grpc: {} },
  })
  const grpc = new GrpcClient(daemon.grpc)
  atEnd(t, () => grpc.close())
  const answered = (id: string) => daemon.lines.find(({ correlationId }) => correlationId === id)
  assert.equal((await daemon.post(frame({}), { 'x-correlation-id': 'quiet' })).status, 202)
  await fetch(`${daemon.admin}/log-level?level=debug`, { method: 'PUT' })
  const asked: Record<string, (id: string) => Promise<unknown>> = {
    '/v1/events 202': (id) => daemon.post(frame({}), { 'x-correlation-id': id }),
    '/v1/measures/{name} 404': (id) =>
      fetch(`${daemon.http}/v1/measures/none`, { headers: { 'x-correlation-id': id } }),
    'millrace.v1.Ingest/Publish OK': (id) => grpc.publish(frame({}), { 'x-correlation-id': id }),
  }
  for (const [what, ask] of Object.entries(asked)) {
    let number = 0
    let line: Line | undefined
    await until(async () => {
      const id = `${what.replaceAll(/\W/g, '-')}-${number++}`
      await ask(id)
      line = daemon.lines.find(({ correlationId, msg }) => correlationId === id && msg === 'request answered')
      return line !== undefined
    }, `a line about ${what}`)
    assert.equal(`${line!.route} ${line!.status}`, what)
    assert.equal(line!.level, 20)
    assert.ok(Number(line!.ms) > 0)
  }
  const from = daemon.lines.length
  const many = Array.from({ length: 200 }, () => daemon.post(frame({})))
  const startedAt = performance.now()
  await Promise.all(many)
  const seconds = Math.ceil((performance.now() - startedAt) / 1000) + 1
  const isAnswer = ({ msg }: Line) => msg === 'request answered'
  assert.ok(daemon.lines.slice(from).filter(isAnswer).length <= 10 * seconds, 'so many a second')
  await until(async () => {
    await daemon.post(frame({}))
    return daemon.lines.some((line) => isAnswer(line) && Number(line.withheld) > 0)
  }, 'a line that says how many were left out')
  assert.equal(answered('quiet'), undefined)
})

test('what the admin port could not do is a line, by its correlation id, without what was asked for', async (t) => {
  const daemon = await Daemon.start(t, { roles: 'processor' })
  const path = `/v1/measures/${MARK}?key=${MARK}`
  const headers = { 'x-correlation-id': 'asked-1' }
  const response = await fetch(daemon.admin + path, { headers })
  const { correlationId, code } = (await response.json()) as Line
  assert.deepEqual([response.status, correlationId, code], [503, 'asked-1', 'no-data-port'])
  const line = await daemon.line((one) => one.correlationId === 'asked-1')
  assert.deepEqual([line.role, line.msg, line.code], ['primary', 'request refused', 'no-data-port'])
  assert.match(String(line.detail), /^this daemon has no data port/)
  await daemon.stop()
  assert.ok(!JSON.stringify(daemon.lines).includes(MARK))
})

test('millrace log-level shows and changes it', async (t) => {
  const daemon = await Daemon.start(t)
  const run = async (...words: string[]) => {
    const all = [entry, 'log-level', ...words, '--admin', daemon.admin]
    const { stdout } = await promisify(execFile)(process.execPath, all)
    return stdout
  }
  assert.match(await run(), /^role +level\nprimary +info\nlistener +info\n/)
  assert.match(await run('debug', '--role', 'listener'), /\nlistener +debug\nprocessor +info\n/)
  const { configured, levels } = JSON.parse(await run('--json'))
  assert.deepEqual([configured, levels.listener, levels.primary], ['info', 'debug', 'info'])
  assert.match(await run('configured'), /\nlistener +info\n/)
  await assert.rejects(run('verbose'), ({ code, stderr }) => {
    assert.match(stderr, /verbose: one of fatal,/)
    return code === 2
  })
  await daemon.stop()
  await assert.rejects(run(), ({ code, stderr }) => {
    assert.match(stderr, /does not answer: connection refused/)
    return code === 1
  })
})
