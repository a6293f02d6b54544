// Partitions come and go: each is worked on by us exactly while it is ours.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { Partitions, type Work } from '../../src/daemon/partitions.ts'

class Taken extends Error {}

/** Work that can be watched, and broken from outside. */
function setUp() {
  const log: string[] = []
  const failures: Error[] = []
  const breaking = new Map<number, (error: Error) => void>()
  const open = async (partition: number): Promise<Work> => {
    log.push(`open ${partition}`)
    let end!: () => void
    const ended = new Promise<void>((resolve, reject) => {
      end = resolve
      breaking.set(partition, reject)
    })
    ended.catch(() => {})
    return {
      ended,
      async close() {
        log.push(`close ${partition}`)
        end()
        await ended
      },
    }
  }
  const partitions = new Partitions({
    open,
    isFenced: (error) => error instanceof Taken,
    logger: pino({ level: 'silent' }),
    failed: (error) => void failures.push(error),
  })
  return { partitions, log, failures, breaking }
}

test('what is new is opened, what is gone is closed, what stays is left alone', async () => {
  const { partitions, log } = setUp()
  partitions.own(new Set([0, 1]))
  await partitions.settled()
  partitions.own(new Set([1, 2]))
  await partitions.settled()
  assert.deepEqual(log.sort(), ['close 0', 'open 0', 'open 1', 'open 2'])
  await partitions.close()
  assert.deepEqual(log.slice(4).sort(), ['close 1', 'close 2'])
})

test('changes while a partition is being opened end in what was said last', async () => {
  const { partitions, log } = setUp()
  partitions.own(new Set([0]))
  partitions.own(new Set())
  partitions.own(new Set([0]))
  partitions.own(new Set())
  await partitions.settled()
  assert.deepEqual(log, ['open 0', 'close 0'])
})

test('a partition that another has taken is closed, and opened again after a while where it is still ours', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { partitions, log, failures, breaking } = setUp()
  partitions.own(new Set([0]))
  await partitions.settled()
  breaking.get(0)!(new Taken())
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(log, ['open 0', 'close 0'])
  t.mock.timers.tick(1000)
  await partitions.settled()
  assert.deepEqual(log, ['open 0', 'close 0', 'open 0'])
  assert.deepEqual(failures, [])
  await partitions.close()
})

test('a partition that is gone before it is open is given up at once', async () => {
  const aborted: number[] = []
  const partitions = new Partitions({
    open: (partition, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(partition)
          reject(new Error('the broker was not reached'))
        })
      }),
    isFenced: () => false,
    logger: pino({ level: 'silent' }),
    failed: (error) => assert.fail(error),
  })
  partitions.own(new Set([3]))
  partitions.own(new Set())
  await partitions.close()
  assert.deepEqual(aborted, [3])
})

test('any other failure is told, and ends in the failure of close', async () => {
  const { partitions, failures, breaking } = setUp()
  partitions.own(new Set([0]))
  await partitions.settled()
  const broken = new Error('the disk is on fire')
  breaking.get(0)!(broken)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(failures, [broken])
  await assert.rejects(partitions.close(), broken)
})
