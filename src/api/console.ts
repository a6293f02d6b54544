// The console: the page at `/` of the admin port and its files. It is open; the figures that it asks for are not.

import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { extname, join } from 'node:path'
import { Problem } from '../errors.ts'
import type { AdminRoute } from './admin.ts'

const folder = join(import.meta.dirname, '..', 'console')
const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}
/** Of the library that draws the charts. */
const uplot: Readonly<Record<string, string>> = {
  'uplot.js': 'uplot/dist/uPlot.esm.js',
  'uplot.css': 'uplot/dist/uPlot.min.css',
}
const headers = {
  // Events come from anywhere: whatever one of them holds, nothing but these files runs, and nothing leaves.
  // Profiles are drawn from memory, since fetching them may take a key.
  'content-security-policy':
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
}

export function consoleRoutes(): Record<string, AdminRoute> {
  const { resolve } = createRequire(import.meta.url)
  const files = new Map<string, () => string>()
  for (const name of filesOf(folder)) files.set(name, () => join(folder, name))
  for (const name of Object.keys(uplot)) files.set(name, () => resolve(uplot[name]))

  const send = async (response: ServerResponse, name: string) => {
    const path = files.get(name)
    if (path === undefined) throw new Problem('unknown-route', `the console has no ${JSON.stringify(name)}`)
    const content = await readFile(path())
    response.writeHead(200, { ...headers, 'content-type': types[extname(name)] }).end(content)
  }
  return {
    '/': { open: true, answer: (_, response) => send(response, 'index.html') },
    '/console/': {
      open: true,
      answer: (_, response, url) => send(response, url.pathname.slice('/console/'.length)),
    },
  }
}

/** None where the page has not been built. */
function filesOf(path: string): string[] {
  try {
    return readdirSync(path).filter((name) => extname(name) in types)
  } catch {
    return []
  }
}
