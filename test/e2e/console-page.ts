// The console of a daemon in a real browser, which tells at the end whatever went wrong in it unseen.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import { findChromium } from '../../scripts/tools/chromium.ts'
import { until } from '../until.ts'
import { atEnd, type Daemon, root } from './daemon.ts'

const WAIT_MS_MAX = 30_000

export interface PageOptions {
  dark?: boolean
  width?: number
  height?: number
  /** Pixels of the screen for one of the page. */
  scale?: number
  /** What the browser complains of, with the address, and is meant. */
  meant?: RegExp
}

export interface ConsolePage {
  page: Page
  /** Throws unless the page logged no error, asked nobody but its own daemon, and broke no rule of its own. */
  clean(): void
}

export const found = await findChromium()

export function launch(): Promise<Browser> {
  if (!('path' in found)) throw new Error(found.missing)
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath: found.path, args })
}

/** The console, once it shows what the daemon says of itself, or asks for a key. Its tab closes with the test. */
export async function openConsole(
  t: TestContext,
  browser: Browser,
  daemon: Daemon,
  { dark = false, width = 1440, height = 1000, scale = 1, meant = /^$/ }: PageOptions = {},
): Promise<ConsolePage> {
  const context = await browser.newContext({
    colorScheme: dark ? 'dark' : 'light',
    viewport: { width, height },
    deviceScaleFactor: scale,
    reducedMotion: 'reduce', // what is looked at is what there will be
  })
  atEnd(t, () => context.close().catch(() => {})) // the browser may be gone
  const page = await context.newPage()
  page.setDefaultTimeout(WAIT_MS_MAX)
  const wrong: string[] = []
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return
    const text = `${message.text()} ${message.location().url}`
    // There is no flame graph before the first profile.
    if (!meant.test(text) && !/404 .*\/debug\/pprof\/flame\.svg$/.test(text)) wrong.push(text)
  })
  page.on('pageerror', (error) => wrong.push(String(error)))
  page.on('dialog', (dialog) => {
    wrong.push(`an alert: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    const url = request.url().replace(/^blob:/, '')
    if (!url.startsWith(`${daemon.admin}/`)) wrong.push(`asked ${request.url()}`)
  })
  await page.goto(daemon.admin)
  return { page, clean: () => assert.deepEqual(wrong, []) }
}

/** Waits until the text is this one. */
export async function reads(page: Page, selector: string, text: string | RegExp): Promise<void> {
  let last = ''
  const holds = async () => {
    last = ((await page.locator(selector).first().textContent()) ?? '').trim()
    return typeof text === 'string' ? last === text : text.test(last)
  }
  await until(holds, `${selector} is to read ${text}`).catch((error: Error) => {
    throw new Error(`${error.message}, and reads ${JSON.stringify(last)}`)
  })
}

/** The texts of the cells of a table's body, line by line. */
export function cells(page: Page, table: string): Promise<string[][]> {
  return page.evaluate(
    `Array.from(document.querySelectorAll('${table} tbody tr'), ({ children }) =>
      Array.from(children, ({ textContent }) => textContent))`,
  )
}

/** What axe-core finds wrong with the page as it is now, with the elements. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(join(root, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8'))
  return page.evaluate(`axe.run(document).then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html)))`)
}
