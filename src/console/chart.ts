// A chart over time. Colours come from the style sheet, and whoever cannot see it gets a sentence instead.

import { element, say } from './dom.ts'
import uPlot from './uplot.js'

export interface Line {
  label: string
  /** Name of a colour of the style sheet. */
  colour: string
  dashed?: boolean
  filled?: boolean
}

export interface ChartOptions {
  lines: Line[]
  /** Of a value, in full and for the axis. */
  format(value: number): string
  axis?(value: number): string
  /** Charts of one group point to the same time. */
  group?: string
  /** Seconds that the chart spans at least. */
  spanMin?: number
  points?: boolean
}

/** Unix seconds, and the values of each line. */
export type Data = [number[], ...(number | null)[][]]

const FONT = '11px Inter, system-ui, sans-serif'
const AXIS_WIDTH_MIN = 44

export class Chart {
  readonly #place: HTMLElement
  readonly #options: ChartOptions
  readonly #plot: uPlot
  readonly #tip: HTMLElement

  constructor(place: HTMLElement, options: ChartOptions) {
    this.#place = place
    this.#options = options
    this.#tip = element('div', { class: 'tip', 'aria-hidden': 'true' })
    this.#plot = new uPlot(this.#settings(), [[]] as unknown as uPlot.AlignedData, place)
    this.#plot.over.append(this.#tip)
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(place)
    document.addEventListener('theme', () => this.#plot.redraw(false))
  }

  /** `about`: what the chart shows, for those who do not see it. */
  set(data: Data, about: string): void {
    this.#plot.setData(data as uPlot.AlignedData)
    this.#place.setAttribute('aria-label', about)
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(50, this.#place.clientWidth), height: this.#place.clientHeight }
  }

  #settings(): uPlot.Options {
    const { lines, format, axis = format, group, spanMin = 0, points = false } = this.#options
    const colours = { font: FONT, stroke: () => colour('muted') }
    const line = () => colour('line')
    return {
      ...this.#size(),
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { size: 7 },
        ...(group === undefined ? {} : { sync: { key: group } }),
      },
      scales: {
        x: { range: (_, min, max) => [Math.min(min ?? 0, (max ?? 0) - spanMin), max ?? 0] },
        y: { range: (_, min, max) => heights(min, max) },
      },
      axes: [
        { ...colours, size: 26, grid: { show: false }, ticks: { show: false }, space: 80, values: clocks },
        {
          ...colours,
          grid: { stroke: line, width: 1 },
          ticks: { show: false },
          space: 36,
          values: (_, values) => values.map(axis),
          size: (_, values) =>
            Math.max(AXIS_WIDTH_MIN, 7 * Math.max(0, ...(values ?? []).map(lengthOf)) + 10),
        },
      ],
      series: [
        {},
        ...lines.map(
          ({ label, colour: name, dashed, filled }): uPlot.Series => ({
            label,
            stroke: () => colour(name),
            width: dashed ? 1.2 : 1.8,
            ...(dashed ? { dash: [4, 4] } : {}),
            ...(filled ? { fill: () => `${colour(name)}22` } : {}),
            points: { show: points, size: 5 },
          }),
        ),
      ],
      hooks: { setCursor: [(plot) => this.#point(plot)] },
    }
  }

  /** Tells the values under the pointer. */
  #point(plot: uPlot): void {
    const { idx, left = -1 } = plot.cursor
    const visible = idx !== null && idx !== undefined && left >= 0 && plot.over.matches(':hover')
    this.#tip.classList.toggle('shown', visible)
    if (!visible) return
    const at = new Date(plot.data[0][idx] * 1000)
    const values = this.#options.lines.map(({ label }, i) => {
      const value = plot.data[i + 1]?.[idx]
      return `${label}: ${value === null || value === undefined ? '–' : this.#options.format(value)}`
    })
    say(this.#tip, [at.toLocaleTimeString('en-GB'), ...values].join('\n'))
    const right = left > plot.over.clientWidth / 2
    this.#tip.style.left = right ? '' : `${left + 12}px`
    this.#tip.style.right = right ? `${plot.over.clientWidth - left + 12}px` : ''
  }
}

/** From zero, with room above; flat lines stand on something. */
function heights(min: number | null, max: number | null): [number, number] {
  const top = Math.max(0, max ?? 0)
  const bottom = Math.min(0, min ?? 0)
  return top === bottom ? [0, 1] : [bottom * 1.08, top * 1.08]
}

/** Times of the axis: of day, or days where it spans many. */
function clocks(_: uPlot, splits: number[], _axis: number, _space: number, step: number): string[] {
  return splits.map((seconds) => {
    const at = new Date(seconds * 1000)
    if (step >= 86_400) return at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })
    const clock = at.toLocaleTimeString('en-GB')
    return step < 60 ? clock : clock.slice(0, 5)
  })
}

function lengthOf(text: string | null): number {
  return text?.length ?? 0
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
}
