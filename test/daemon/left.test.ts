// Waiting for what is left in the log to be read: with an end, and not past the end of the process.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)

test('a process that has nothing else to do waits until all is read, or for as long as it wanted to', async () => {
  const source = (name: string) => JSON.stringify(join(import.meta.dirname, '../../src/daemon', name))
  const program = `
    import { Lanes } from ${source('lanes.js')}
    import { LeftInLog } from ${source('left.js')}
    const left = new LeftInLog({ log: { kind: 'memory', partitions: 1 } }, new Lanes(), {})
    await left.settled(60_000)
    left.ending() // by somebody who is never heard of again
    await left.settled(20)
    console.log('over')`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { timeout: 30_000 })
  assert.equal(stdout, 'over\n')
})
