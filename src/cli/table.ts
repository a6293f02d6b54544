// Tables of plain text.

export type Cell = string | number | null | undefined

const numbers = new Intl.NumberFormat('en-US', { maximumFractionDigits: 3 })

export function formatNumber(value: number): string {
  return Number.isFinite(value) ? numbers.format(value) : String(value)
}

/** `244k` for 243_980: for rates, where nobody reads the last digits. */
export function formatRate(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`
  return value >= 1e4 ? `${Math.round(value / 1e3)}k` : formatNumber(Math.round(value))
}

/** `98.3 MiB`: for people, where formatSize would show every byte. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const power = Math.min(4, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** power).toFixed(1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`
}

/** Without characters that a terminal would obey: what is shown can come from any client. Keeps newlines. */
export function printable(text: string): string {
  return text.replace(/(?!\n)[\p{Cc}\p{Bidi_Control}]/gu, (found) => {
    return `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** Prints rows as they come, page by page: widths only grow, so that few pages do not line up. */
export class Table {
  readonly #titles: string[]
  readonly #widths: number[]
  #begun = false

  constructor(titles: string[]) {
    this.#titles = titles
    this.#widths = titles.map((title) => title.length)
  }

  /** The rows as text, with the titles above the first ones. Numbers stand at the right. */
  page(rows: Cell[][]): string {
    const cells = rows.map((row) => row.map(format))
    for (const row of cells) {
      for (let i = 0; i < row.length; i++) this.#widths[i] = Math.max(this.#widths[i], row[i].length)
    }
    const right = this.#titles.map((_, i) => rows.some((row) => typeof row[i] === 'number'))
    const line = (row: string[]) => {
      const padded = row.map((cell, i) =>
        right[i] ? cell.padStart(this.#widths[i]) : cell.padEnd(this.#widths[i]),
      )
      return padded.join('  ').trimEnd()
    }
    const lines = cells.map(line)
    if (!this.#begun) lines.unshift(line(this.#titles))
    this.#begun = true
    return lines.map((text) => `${text}\n`).join('')
  }
}

function format(cell: Cell): string {
  if (cell === null || cell === undefined) return '-'
  return typeof cell === 'number' ? formatNumber(cell) : printable(cell).replaceAll('\n', '\\n')
}
