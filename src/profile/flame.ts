// A flame graph as one SVG: who calls stands above whom it calls, the widest first, and all frames say what they are when
// pointed at. The same profile is always drawn the same. Where scripts run, a click on a frame fills the width with it.

import { type Frame, formatAmount, headline, type Stacks } from './stacks.ts'

const WIDTH = 1200
const MARGIN = 10
const ROW = 18
const HEAD = 62
const CHARACTER = 6.3
/** Frames that are narrower than this share of everything are left out: they could not be seen, and are most of them. */
const SHARE_MIN = 0.001

const roles = ['listener', 'gateway', 'processor', 'primary', 'all']

/** What kinds of code there are, by the beginning of the file, and how each is drawn by day and by night. */
const kinds: readonly [name: string, prefix: string, light: string, dark: string][] = [
  ['ingest', 'src/ingest/', '#f6a35c', '#b3641f'],
  ['log', 'src/log/', '#f2c84b', '#94741a'],
  ['processor', 'src/processor/', '#e8796f', '#a8433b'],
  ['results', 'src/results/', '#d98cc0', '#8d4577'],
  ['daemon', 'src/', '#b9a5e2', '#67529b'],
  ['generated', 'generated/', '#b9a5e2', '#67529b'],
  ['packages', 'node_modules/', '#8db9e8', '#37679b'],
  ['node', 'node:', '#8fcfa8', '#33764f'],
  ['native', '', '#c9ccd1', '#565b63'],
]
const legend = kinds.filter(([name]) => name !== 'generated')

/** `title`: what it is of, in a few words. */
export function drawFlame(stacks: Stacks, title: string): string {
  const { all } = stacks
  const drawn: string[] = []
  const scale = all.total === 0 ? 0 : (WIDTH - 2 * MARGIN) / all.total
  let deepest = 0
  const draw = (frame: Frame, depth: number, x: number, kind: string, process: Frame) => {
    const width = frame.total * scale
    if (frame.total < all.total * SHARE_MIN) return
    deepest = Math.max(deepest, depth)
    drawn.push(rectangle(frame, depth, x, width, kind, tooltip(frame, process, stacks)))
    let left = x
    for (const child of inOrder(frame, depth)) {
      const isThread = depth === 1
      draw(
        child,
        depth + 1,
        left,
        depth < 1 || isThread ? 'thread' : kindOf(child),
        depth === 0 ? child : process,
      )
      left += child.total * scale
    }
  }
  draw(all, 0, MARGIN, 'thread', all)
  const height = HEAD + (deepest + 1) * ROW + MARGIN
  const what = `${title}: ${headline(stacks)}, from ${stacks.at} on`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(what)}">`,
    `<style>${style()}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}"/>`,
    `<text class="title" x="${MARGIN}" y="24">${escaped(what)}</text>`,
    ...legendOf(),
    ...drawn,
    `<script>(${zooming})(${MARGIN},${WIDTH - 2 * MARGIN},${CHARACTER})</script>`,
    '</svg>',
    '',
  ].join('\n')
}

/** Runs in the drawing, where it must not need what XML would have to escape. */
const zooming = `function (margin, width, character) {
  const frames = [...document.querySelectorAll('g')].map((g) => {
    const [rect, text] = [g.querySelector('rect'), g.querySelector('text')]
    const [x, w] = ['x', 'width'].map((name) => Number(rect.getAttribute(name)))
    return { g, rect, text, x, w, name: g.querySelector('title').textContent.split('\\n')[0] }
  })
  const zoom = (to) => {
    const scale = width / to.w
    for (const frame of frames) {
      const left = Math.max(margin, margin + (frame.x - to.x) * scale)
      const right = Math.min(margin + width, margin + (frame.x + frame.w - to.x) * scale)
      frame.g.style.display = right - left > 0.3 ? '' : 'none'
      if (frame.g.style.display === 'none') continue
      frame.rect.setAttribute('x', left)
      frame.rect.setAttribute('width', right - left)
      if (frame.text === null) {
        frame.text = document.createElementNS('http://www.w3.org/2000/svg', 'text')
        frame.text.setAttribute('y', Number(frame.rect.getAttribute('y')) + 13)
        frame.g.append(frame.text)
      }
      const room = Math.floor((right - left - 6) / character)
      frame.text.setAttribute('x', left + 3)
      const whole = room >= frame.name.length
      frame.text.textContent = 3 > room ? '' : whole ? frame.name : frame.name.slice(0, room - 1) + '…'
    }
  }
  for (const frame of frames) frame.g.addEventListener('click', () => zoom(frame))
}`

/** Processes in the order of the road, threads by number, functions by what is in them. */
function inOrder(frame: Frame, depth: number): Frame[] {
  const byName = (a: Frame, b: Frame) => a.name.localeCompare(b.name, 'en', { numeric: true })
  const place = ({ role = '' }: Frame) => roles.indexOf(role)
  return [...frame.children.values()].sort((a, b) => {
    if (depth === 0) return place(a) - place(b) || byName(a, b)
    if (depth === 1) return byName(a, b)
    return b.total - a.total || byName(a, b)
  })
}

function kindOf({ file }: Frame): string {
  return kinds.find(([, prefix]) => file.startsWith(prefix))![0]
}

function rectangle(
  frame: Frame,
  depth: number,
  x: number,
  width: number,
  kind: string,
  title: string,
): string {
  const y = HEAD + depth * ROW
  const room = Math.floor((width - 6) / CHARACTER)
  const text = room < 3 ? '' : frame.name.length <= room ? frame.name : `${frame.name.slice(0, room - 1)}…`
  const label = text === '' ? '' : `<text x="${round(x + 3)}" y="${y + 13}">${escaped(text)}</text>`
  const at = `x="${round(x)}" y="${y}" width="${round(Math.max(width - 0.5, 0.5))}" height="${ROW - 1}"`
  return `<g><title>${escaped(title)}</title><rect class="${kind}" ${at}/>${label}</g>`
}

function tooltip(frame: Frame, process: Frame, { all, unit }: Stacks): string {
  const share = (of: Frame) => `${((100 * frame.total) / of.total).toFixed(1)} % of ${of.name}`
  const parts = [formatAmount(frame.total, unit), share(all)]
  if (process !== all && process !== frame) parts.push(share(process))
  if (frame.self > 0) parts.push(`${formatAmount(frame.self, unit)} in itself`)
  return `${frame.name}\n${parts.join(', ')}`
}

function style(): string {
  const fills = (night: boolean) =>
    kinds.map(([name, , light, dark]) => `.${name}{fill:${night ? dark : light}}`).join('')
  return [
    'text{font:11px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1b1d21;pointer-events:none}',
    '.title{font-size:14px}.ground{fill:#fff}.thread{fill:#e4e6ea}',
    fills(false),
    'g{cursor:pointer}g:hover rect{stroke:#1b1d21}',
    '@media(prefers-color-scheme:dark){text{fill:#f1f2f4}.ground{fill:#16181c}.thread{fill:#33373d}',
    fills(true),
    'g:hover rect{stroke:#f1f2f4}}',
  ].join('')
}

function legendOf(): string[] {
  let x = MARGIN
  return legend.map(([name]) => {
    const square = `<rect class="${name}" x="${round(x)}" y="38" width="11" height="11"/>`
    const text = `<text x="${round(x + 15)}" y="48">${name}</text>`
    x += 15 + (name.length + 2) * CHARACTER
    return square + text
  })
}

function round(number: number): string {
  return String(Math.round(number * 10) / 10)
}

function escaped(text: string): string {
  // Control characters are not allowed in XML, not even escaped; a function may have any name.
  const clean = text.replace(/[^\n\x20-\ud7ff\ue000-\ufffd]/g, '?')
  return clean.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
