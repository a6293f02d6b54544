import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serverSent } from '../../src/cli/event-stream.ts'
import { FakeDaemon, problem, run } from './fake.ts'

async function eventsOf(...chunks: string[]) {
  const events: unknown[] = []
  const bytes = chunks.map((chunk) => Buffer.from(chunk, 'latin1'))
  for await (const event of serverSent(bytes as never)) events.push(event)
  return events
}

test('server-sent events are read however they are cut and whichever way lines end', async () => {
  const message = (data: string) => ({ event: 'message', data })
  assert.deepEqual(await eventsOf(': hi\nretry: 5\n\ndata: a\n\nda', 'ta:b\nid: 1\n\n'), [
    message('a'),
    message('b'),
  ])
  assert.deepEqual(await eventsOf('data: a\r\n\r', '\nevent: missed\r\ndata: {}\r\n\r\n'), [
    message('a'),
    { event: 'missed', data: '{}' },
  ])
  assert.deepEqual(await eventsOf('data: a\rdata\rdata:  b\r\rx'), [message('a\n\n b')])
  assert.deepEqual(await eventsOf('data: \xc3', '\xa4\n\n'), [message('ä')])
  assert.deepEqual(await eventsOf('event: only\n\ndata: unfinished'), [])
})

const event = {
  specversion: '1.0',
  id: '1',
  source: 's',
  type: 't',
  millracereceived: '2026-05-01T12:30:00.250Z',
  millracecorrelation: 'c',
}
const stream = (...events: object[]) => ({
  status: 200,
  body: `: open\n\n${events.map((one) => `data: ${JSON.stringify(one)}\n\n`).join('')}event: missed\ndata: {"missed":1,"sampled":2000,"unread":0}\n\n`,
})

test('tap prints a line for each event, and on standard error what was not shown', async (t) => {
  const asked: string[] = []
  const daemon = await FakeDaemon.start(t, (_, { url }) => {
    asked.push(url)
    return stream(
      { ...event, subject: 'x\u001b[31m', value: '21.5', data: { a: [1] } },
      { ...event, data: 'a\nb' },
      { ...event, data_base64: 'AAEC' },
      { ...event, data: 'y'.repeat(100) },
    )
  })
  const { code, stdout, stderr } = await run(['tap', '--url', daemon.url, '--type', 't*', '--rate', '5'])
  assert.deepEqual(asked, ['/v1/events/tail?type=t*&rate=5'])
  assert.deepEqual(stdout.split('\n'), [
    '12:30:00.250  t  s  x\\u001b[31m  21.5  {"a":[1]}  c',
    '12:30:00.250  t  s  -  -  a\\nb  c',
    '12:30:00.250  t  s  -  -  base64:AAEC  c',
    `12:30:00.250  t  s  -  -  ${'y'.repeat(80)}…  c`,
    '',
  ])
  assert.match(stderr, /^not shown: 2,000 by the rate, 1 since somebody was slow\n/)
  assert.match(stderr, /has ended the tap\n$/)
  assert.equal(code, 1, 'a tap that is ended by the daemon has not done what was asked')
})

test('tap ends with --count, and prints CloudEvents with --json', async (t) => {
  const daemon = await FakeDaemon.start(t, () => stream(event, { ...event, id: '2' }, { ...event, id: '3' }))
  const { code, stdout } = await run(['tap', '--url', daemon.url, '--json', '--count', '2'])
  assert.equal(code, 0)
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [event, { ...event, id: '2' }],
  )
})

test('tap tells why it cannot', async (t) => {
  const daemon = await FakeDaemon.start(t, () => problem(429, 'overloaded', '16 taps are open here'))
  const refused = await run(['tap', '--url', daemon.url])
  assert.deepEqual(
    [refused.code, refused.stdout, refused.stderr],
    [1, '', 'millrace tap: overloaded: 16 taps are open here\n'],
  )
  for (const words of [
    ['--rate', '0'],
    ['--rate', '1001'],
    ['--count', '0'],
    ['--subject', 'a*b'],
  ]) {
    assert.equal((await run(['tap', ...words])).code, 2, words.join(' '))
  }
  const nobody = await run(['tap', '--url', 'http://127.0.0.1:1'])
  assert.equal(nobody.code, 1)
  assert.match(nobody.stderr, /no answer from http:\/\/127\.0\.0\.1:1 \(connection refused\)/)
})
