// Where a function is, told without the folders of this machine: `src/ingest/publish.ts`, `node_modules/lmdb/open.js`.

import { existsSync, readFileSync } from 'node:fs'
import { SourceMap, type SourceMapping } from 'node:module'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Place {
  /** Empty where there is no source: native code, the garbage collector. */
  file: string
  /** From 1; 0 where it is not known. */
  line: number
}

interface File {
  file: string
  map?: SourceMap
  /** Of the map, where its sources are found from. */
  folder: string
}

const modules = `${sep}node_modules${sep}`

/** Knows the files of one profile. Built code is told as the TypeScript that it was made of, by its source map. */
export class Sources {
  readonly #root = packageRoot()
  readonly #folder: string
  readonly #files = new Map<string, File>()

  /** `folder`: files of handlers are told relative to it, where they are below it. */
  constructor(folder = process.cwd()) {
    this.#folder = folder
  }

  /** `line` and `column` from 0, as V8 tells them; line -1 where there is none. */
  place(url: string, line: number, column: number): Place {
    if (url === '') return { file: '', line: 0 }
    let known = this.#files.get(url)
    if (known === undefined) {
      known = this.#open(url)
      this.#files.set(url, known)
    }
    const entry =
      line < 0 ? undefined : (known.map?.findEntry(line, Math.max(column, 0)) as Partial<SourceMapping>)
    if (entry?.originalSource === undefined) return { file: known.file, line: Math.max(line + 1, 0) }
    return {
      file: this.#named(resolve(known.folder, entry.originalSource)),
      line: entry.originalLine! + 1,
    }
  }

  #open(url: string): File {
    const path = url.startsWith('file:') ? fileURLToPath(url) : url
    if (!path.startsWith(sep) && !/^[a-z]:\\/i.test(path)) return { file: url, folder: '' } // node:internal/…
    const file = this.#named(path)
    const folder = dirname(path)
    // Of packages we have no sources.
    if (file.startsWith('node_modules/') || !existsSync(`${path}.map`)) return { file, folder }
    try {
      return { file, folder, map: new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8'))) }
    } catch {
      return { file, folder } // a map that cannot be read is none
    }
  }

  #named(path: string): string {
    const inModules = path.lastIndexOf(modules)
    for (const folder of [this.#root, this.#folder]) {
      const below = relative(folder, path)
      // What is installed beside this package is not below it.
      if (!below.startsWith('..') && below !== path) return portable(below)
    }
    if (inModules >= 0) return portable(path.slice(inModules + 1))
    return `${basename(dirname(path))}/${basename(path)}`
  }
}

function portable(path: string): string {
  return path.split(sep).join('/')
}

function packageRoot(): string {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}
