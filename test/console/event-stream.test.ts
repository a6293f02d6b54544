import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ServerSent, serverSent } from '../../src/console/event-stream.ts'

const text =
  ': open\nretry: 1000\n\ndata: {"a":"é"}\n\nevent: missed\r\ndata: 1\r\ndata:2\r\n\r\ndata: cut off'

async function read(chunks: Uint8Array[]): Promise<ServerSent[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })
  const found: ServerSent[] = []
  for await (const one of serverSent(body)) found.push(one)
  return found
}

test('events are read alike however their bytes are cut', async () => {
  const bytes = new TextEncoder().encode(text)
  const expected = [
    { event: 'message', data: '{"a":"é"}' },
    { event: 'missed', data: '1\n2' },
  ]
  for (let cut = 0; cut <= bytes.length; cut++) {
    assert.deepEqual(await read([bytes.subarray(0, cut), bytes.subarray(cut)]), expected, `cut at ${cut}`)
  }
  assert.deepEqual(await read([...bytes].map((byte) => Uint8Array.of(byte))), expected)
})

test('whoever leaves early lets go of the stream', async () => {
  let cancelled = false
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode('data: 1\n\ndata: 2\n\n')),
    cancel: () => {
      cancelled = true
    },
  })
  for await (const { data } of serverSent(body)) {
    assert.equal(data, '1')
    break
  }
  assert.ok(cancelled)
})
