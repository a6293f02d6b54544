// Stops a process as a stalled one is.

import { existsSync, readdirSync, readFileSync } from 'node:fs'

const PAUSE_MS_MAX = 5_000

/** SIGSTOP. Its threads stop one by one: all have when this returns. */
export function pause(pid: number): void {
  process.kill(pid, 'SIGSTOP')
  const deadline = performance.now() + PAUSE_MS_MAX
  while (!isStopped(pid)) {
    if (performance.now() > deadline) throw new Error(`process ${pid} does not stop`)
  }
}

/** True where all threads are (Linux); elsewhere it is taken for granted. */
function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  if (!existsSync(tasks)) return true
  return readdirSync(tasks).every((task) => {
    const stat = readFileSync(`${tasks}/${task}/stat`, 'utf8')
    return stat[stat.lastIndexOf(')') + 2] === 'T'
  })
}
