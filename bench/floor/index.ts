// The floor: a pipeline without features, beside which the daemon is measured. Listeners on each core, one processor:
// scan, a file flushed before each 202, sums by subject, LMDB. It has no identity of what it stores, no order between
// listeners, no way back after a crash, no limits, no errors, no windows and no quantiles.
//
//   node floor/index.js DIR [LISTENERS]

import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { reservePort } from '../../scripts/ports.ts'
import { startListener } from './listener.ts'
import { startProcessor } from './processor.ts'

const [dir, listeners = availableParallelism(), lane, port = 0] = process.argv.slice(2)

if (process.send === undefined) {
  const say = (line: object) => process.stderr.write(`${JSON.stringify(line)}\n`)
  const start = async (name: string, listenOn: number): Promise<number> => {
    const child = fork(import.meta.filename, [dir, `${listeners}`, name, `${listenOn}`])
    child.on('exit', () => process.exit(1))
    const heard = new Promise<number>((resolve) => child.once('message', (port) => resolve(Number(port))))
    process.on('SIGTERM', () => {
      child.removeAllListeners('exit')
      child.kill()
    })
    return heard
  }
  await start('processor', 0)
  const shared = await reservePort() // uWebSockets.js shares a port that is named, not one that it chose
  for (let n = 0; n < Number(listeners); n++) await start(String(n), shared)
  say({ msg: 'ready', http: `http://127.0.0.1:${shared}` })
} else {
  process.once('disconnect', () => process.exit(0))
  process.once('SIGTERM', () => process.exit(0))
  if (lane === 'processor') {
    await startProcessor(dir)
    process.send(0)
  } else process.send(await startListener(dir, Number(lane), Number(port)))
}
