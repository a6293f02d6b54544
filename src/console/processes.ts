// The processes of the daemon, a line each.

import type { Process, Sample } from './answers.ts'
import { byId, element, say } from './dom.ts'
import { bytes, count, duration } from './format.ts'

/** Lines stay where they are, and change what they say: a restart is seen by its number and its process id. */
export function processTable(): (sample: Sample) => void {
  const body = byId<HTMLTableElement>('roles').tBodies[0]
  const lines = new Map<string, HTMLTableRowElement>()
  return ({ roles }) => {
    const names = roles.map(({ role, worker }) => `${role} ${worker}`)
    for (const [name, line] of lines) {
      if (names.includes(name)) continue
      line.remove()
      lines.delete(name)
    }
    roles.forEach((process, i) => {
      const line = lines.get(names[i]) ?? newLine()
      lines.set(names[i], line)
      if (body.children[i] !== line) body.insertBefore(line, body.children[i] ?? null)
      fill(line, process, roles.filter(({ role }) => role === process.role).length > 1)
    })
  }
}

function newLine(): HTMLTableRowElement {
  const numbers = ['number wide', 'number', 'number', 'number', 'number wide'].map((name) =>
    element('td', { class: name }),
  )
  const state = element('td', {}, element('span', { class: 'pill' }))
  return element('tr', {}, [element('th', { scope: 'row' }), state, ...numbers])
}

function fill(line: HTMLTableRowElement, process: Process, several: boolean): void {
  const { role, worker, pid, ready, restarts, cpu, memoryBytes, eventLoopP99, stale } = process
  const [name, state, ...numbers] = line.children
  say(name, several ? `${role} ${worker}` : role)
  const pill = state.firstElementChild as HTMLElement
  pill.dataset.state = ready && stale !== true ? 'good' : 'waiting'
  say(pill, ready ? (stale ? 'silent' : 'ready') : 'not ready')
  line.dataset.stale = String(stale === true)
  const texts = [
    pid === 0 ? '–' : String(pid), // it is being started
    count(restarts),
    `${(cpu * 100).toFixed(0)} %`,
    bytes(memoryBytes),
    duration(eventLoopP99),
  ]
  texts.forEach((text, i) => {
    say(numbers[i], text)
  })
}
