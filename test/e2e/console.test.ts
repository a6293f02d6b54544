// The console of the real daemon in a real Chromium. With SCREENSHOTS=1 it writes those of docs/images, too.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { isDeepStrictEqual, promisify } from 'node:util'
import type { Browser, Page } from 'playwright-core'
import type { Row } from '../../src/client/answers.ts'
import { count, keyText, measured } from '../../src/console/format.ts'
import { until } from '../until.ts'
import { cells, found, launch, openConsole, reads, violations } from './console-page.ts'
import { atEnd, Daemon, frame, killQuietly, root, temporaryFolder } from './daemon.ts'

const skip = 'missing' in found ? found.missing : false
const IMAGE = '<img src=x onerror=alert(1)>'
const measures = [
  { name: 'by-pump', by: ['subject'], value: 'value', window: '10s', quantiles: true },
  { name: 'by-site', by: ['attributes.site', 'type'], value: 'value', window: '1m' },
  { name: 'events', by: ['type'], value: 'none', window: 'all' },
]

/** The browser tells of each connection that was refused. */
const AWAY = /ERR_|503 /

let browser: Browser
before(async () => {
  if (skip === false) browser = await launch()
})
after(() => browser?.close())

/** A daemon whose handler `parse` gives up events of the type `raw` until `mend` is called. */
async function withHandler(t: TestContext) {
  const folder = await temporaryFolder(t)
  const [path, mended, dataDir] = ['parse.mjs', 'mended', 'data'].map((name) => join(folder, name))
  await mkdir(dataDir)
  await writeFile(
    path,
    `import { existsSync } from 'node:fs'
     import { deadLetter, defineHandler } from 'millrace'
     export default defineHandler({
       name: 'parse', match: { type: 'raw' },
       map({ subject }) { if (!existsSync('${mended}')) return deadLetter('no number in ' + subject) },
     })`,
  )
  const daemon = await Daemon.start(t, { dataDir, config: { measures, handlers: [path] } })
  return { daemon, mend: () => writeFile(mended, '') }
}

/** Events of forty pumps on four sites, some of them busier; the same ones in every run. */
function readings(from: number, events: number) {
  return Array.from({ length: events }, (_, i) => {
    const n = from + i
    const pump = Math.floor(40 * ((n * 0.618034) % 1) ** 2)
    return {
      type: pump % 3 === 0 ? 'pressure' : 'flow',
      subject: `pump-${pump}`,
      value: 20 + pump / 4 + ((n * 37) % 101) / 10 + 4 * Math.sin(n / 9000),
      attributes: { site: ['north', 'south', 'harbour', ''][pump % 4] },
    }
  })
}

/** Sends readings until it is told to stop; resolves with how many were taken. */
function flow(t: TestContext, daemon: Daemon): { stop(): Promise<number> } {
  let running = true
  let sent = 0
  const done = (async () => {
    while (running) {
      const events = Math.round(60 + 40 * Math.sin(Date.now() / 9000))
      const response = await daemon.post(frame(...readings(sent, events)))
      assert.equal(response.status, 202)
      sent += events
      await new Promise((resolve) => setTimeout(resolve, 20)) // a pace that a page can be looked at under
    }
    return sent
  })()
  done.catch(() => {}) // the test that waits for it hears of it
  const stop = () => {
    running = false
    return done
  }
  atEnd(t, () => stop().catch(() => {})) // what comes after it at the end is to be done in any case
  return { stop }
}

/** The first key of the table, and its chart. */
async function chooseKey(page: Page): Promise<void> {
  await page.locator('#measures').scrollIntoViewIfNeeded() // nothing is asked for while nobody looks
  await page.locator('#top button.key').first().click()
  await page.locator('#key-chart canvas').waitFor()
}

const topColumns = ['count', 'sum', 'mean', 'min', 'max', 'p95'] as const

async function topIs(page: Page, rows: Row[], columns: readonly (keyof Row)[] = topColumns): Promise<void> {
  const expected = rows.map((row, i) => [
    String(i + 1),
    keyText(row.key),
    ...columns.map((column) => measured(row[column] as number)),
  ])
  await becomes(() => cells(page, '#top'), expected, 'the table is to be what the API says')
}

/** Waits until what is shown is as expected, and tells the difference where it does not come to that. */
async function becomes(look: () => Promise<unknown>, expected: unknown, what: string): Promise<void> {
  let shown: unknown
  await until(async () => {
    shown = await look()
    return isDeepStrictEqual(shown, expected)
  }, what).catch(() => assert.deepEqual(shown, expected))
}

test('while events flow and after, the page shows what the API says', { skip }, async (t) => {
  const daemon = await Daemon.start(t, { config: { measures } })
  const load = flow(t, daemon)
  const { page, clean } = await openConsole(t, browser, daemon)
  await reads(page, '#state', 'ready')
  await reads(page, '#log', /embedded log · fsynced$/)
  await reads(page, '[data-now=accepted]', /[1-9]/)
  await reads(page, '[data-now=ack99]', /(µs|ms|s)$/)
  await until(async () => {
    const told = await page.locator('#throughput').getAttribute('aria-label')
    return /^Throughput over the last .*: accepted [\d,]*[1-9].* a second now/.test(told ?? '')
  }, 'the chart is to be told in words')
  const before = Number((await page.locator('[data-total=processed]').textContent())?.replaceAll(',', ''))
  await until(async () => {
    return Number((await page.locator('[data-total=processed]').textContent())?.replaceAll(',', '')) > before
  }, 'the total is to grow')

  // What it shows is of a moment between two answers of the API: not older than the daemon's last sample of a second ago.
  const processed = async () => (await daemon.get('/v1/status')).processed.events as number
  const earlier = await processed()
  await until(async () => {
    const shown = Number((await page.locator('[data-total=processed]').textContent())?.replaceAll(',', ''))
    assert.ok(shown <= (await processed()), 'no more than the API says next')
    return shown >= earlier
  }, 'what is shown is to be of after an answer of the API')

  const sent = await load.stop()
  const status = await daemon.processed(sent)
  assert.equal(status.processed.events, sent)
  await reads(page, '[data-total=accepted]', count(sent))
  await reads(page, '[data-total=processed]', count(sent))
  await reads(page, '[data-now=lagEvents]', '0')
  const roles = status.roles.map(({ role, pid, restarts }) => [role, 'ready', String(pid), String(restarts)])
  const shownRoles = async () =>
    (await cells(page, '#roles')).map(([role, ...others]) => [role.split(' ')[0], ...others.slice(0, 3)])
  await becomes(shownRoles, roles, 'the roles are to be ready') // one that is late for a sample is silent in it

  // Every order of every measure.
  for (const by of ['count', 'sum', 'mean', 'max', 'min']) {
    await page.locator('#order').selectOption(by)
    await topIs(page, (await daemon.get(`/v1/measures/by-pump/top?by=${by}`)).rows)
  }
  await page.locator('#rows').selectOption('25')
  await topIs(page, (await daemon.get('/v1/measures/by-pump/top?by=min&limit=25')).rows)

  // One key: its row, its windows in the chart's words and in the table.
  const { rows: windows } = await daemon.get('/v1/measures/by-pump?key=pump-7&limit=1000')
  const [whole] = (await daemon.get('/v1/measures/by-pump?key=pump-7&merge=true')).rows as Row[]
  await page.getByRole('search').getByLabel('subject').fill('pump-7')
  await page.getByRole('button', { name: 'Find' }).click()
  await reads(page, '#key-title', 'pump-7')
  await reads(page, '#key-row', new RegExp(`^count${count(whole.count)}sum${measured(whole.sum)}mean`))
  await page.locator('#stat').selectOption('p95')
  const last = windows.at(-1)
  await until(async () => {
    const told = await page.locator('#key-chart').getAttribute('aria-label')
    return (
      told?.startsWith(`p95 of pump-7 in ${windows.length} windows; ${measured(last.p95)} in the one`) ===
      true
    )
  }, 'the chart is to tell of the last window')
  await page.getByText('The same as a table').click()
  const counts = windows.map((row: Row) => count(row.count)).reverse()
  await until(async () => {
    const lines = await cells(page, '#windows')
    return JSON.stringify(lines.map(([, number]) => number)) === JSON.stringify(counts)
  }, 'the table is to have the same windows')

  // A key of two parts, one of them empty; and all keys that begin with one.
  await page.locator('#measure').selectOption('by-site')
  const parts = page.getByRole('search')
  await parts.getByLabel('attributes.site').fill('north')
  await parts.getByLabel('type').fill('flow')
  await page.getByRole('button', { name: 'Find' }).click()
  const [north] = (await daemon.get('/v1/measures/by-site?key=north&key=flow&merge=true')).rows
  await reads(page, '#key-title', 'north · flow')
  await reads(page, '#key-row', new RegExp(`^count${count(north.count)}sum${measured(north.sum)}mean`))
  await page.getByRole('button', { name: '(empty) · flow' }).click()
  const [empty] = (await daemon.get('/v1/measures/by-site?key=&key=flow&merge=true')).rows
  await reads(page, '#key-row', new RegExp(`^count${count(empty.count)}sum`))
  await parts.getByLabel('attributes.site').fill('south')
  await parts.getByLabel('type').fill('')
  await page.getByRole('button', { name: 'Find' }).click()
  await reads(page, '#measure-told', '2 keys begin so.')
  const south = (await daemon.get('/v1/measures/by-site?key=south&merge=true')).rows
  await topIs(page, south, ['count', 'sum', 'mean', 'min', 'max'])
  await parts.getByLabel('attributes.site').fill('nowhere')
  await parts.getByLabel('type').fill('flow')
  await page.getByRole('button', { name: 'Find' }).click()
  await reads(page, '#key-told', 'Nothing is counted under this key.')

  // One that only counts, in one window.
  await page.locator('#measure').selectOption('events')
  await topIs(page, (await daemon.get('/v1/measures/events/top')).rows, ['count'])
  await page.getByRole('button', { name: 'flow', exact: true }).click()
  await reads(page, '#key-told', 'This measure has one window without end.')
  clean()
})

test('after a reload the page knows the new measures, and leaves the one that is looked at as it is', {
  skip,
}, async (t) => {
  const dataDir = await temporaryFolder(t)
  const [byPump, bySite, events] = measures
  const write = (all: object[]) =>
    writeFile(join(dataDir, 'millrace.yaml'), JSON.stringify({ measures: all }))
  await write([byPump, bySite])
  const daemon = await Daemon.start(t, { dataDir })
  const reload = async (all: object[]) => {
    await write(all)
    const from = daemon.lines.length
    daemon.signal('SIGHUP')
    await daemon.line(({ msg }) => msg === 'reloaded', from)
  }
  await daemon.post(frame(...readings(0, 200)))
  await daemon.processed(200)
  const gone = /404 .*\/v1\/measures\/by-|50[23] |ERR_/ // of a listener that is replaced as it is asked
  const { page, clean } = await openConsole(t, browser, daemon, { meant: gone })
  await page.clock.install() // so that a minute need not be waited for
  await page.reload()
  const names = () => page.locator('#measure option').allTextContents()
  const known = (...wanted: string[]) =>
    until(async () => (await names()).join() === wanted.join(), `the page is to know ${wanted}`)
  const looked = () => page.locator('#measure').inputValue()

  await known('by-pump', 'by-site')
  await page.locator('#measures').scrollIntoViewIfNeeded()
  await page.locator('#measure').selectOption('by-site')
  await reads(page, '#top thead', /attributes\.site · type/)
  await reload([byPump, events])
  await known('by-pump', 'events') // since its query says that there is no by-site any more
  assert.equal(await looked(), 'by-pump')
  await topIs(page, (await daemon.get('/v1/measures/by-pump/top')).rows)

  await page.locator('#measure').selectOption('by-pump')
  await chooseKey(page)
  const key = await page.locator('#key-title').textContent()
  await reload([bySite, byPump])
  await page.clock.fastForward('01:01')
  await known('by-site', 'by-pump')
  assert.equal(await looked(), 'by-pump')
  await reads(page, '#key-title', key!)
  await reload([])
  await reads(page, '#measure-told', 'No measures are configured.')
  assert.deepEqual(await cells(page, '#top'), [])
  clean()
})

test('a listener that is killed is seen to come back, and a daemon that is away is said to be', {
  skip,
}, async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const { page, clean } = await openConsole(t, browser, daemon, { meant: AWAY })
  const line = async () => (await cells(page, '#roles')).find(([role]) => role === 'listener')?.slice(1, 4)
  const pidOf = async () => (await daemon.status()).roles.find(({ role }) => role === 'listener')!.pid
  const killed = await pidOf()
  await until(async () => (await line())?.[1] === String(killed), 'the listener is to be shown')
  killQuietly(killed)
  await daemon.until(({ roles }) =>
    roles.some(({ role, ready, pid }) => role === 'listener' && ready && pid !== killed),
  )
  const successor = await pidOf()
  await until(async () => {
    return JSON.stringify(await line()) === JSON.stringify(['ready', String(successor), '1'])
  }, 'its successor is to be shown')

  await daemon.killAll()
  await reads(page, '#state', /ended the stream|does not answer|network error/)
  await reads(page, '#pressure', 'these figures are old')
  clean()
})

test('a dead letter is shown, replayed once its handler is mended, and another one dropped', {
  skip,
}, async (t) => {
  const { daemon, mend } = await withHandler(t)
  const data = Buffer.from('{"raw":"?"}')
  const raw = (subject: string) => ({ type: 'raw', subject, data, datacontenttype: 'application/json' })
  await daemon.post(frame(raw('first'), raw(IMAGE), raw('third')))
  await daemon.processed(3)
  const { page, clean } = await openConsole(t, browser, daemon)
  const counts = '#letters-count'
  await reads(page, counts, '3 kept of 3 · 0 replayed · 0 dropped')
  const shown = await cells(page, '#letters-table')
  assert.deepEqual(
    shown.map(([, handler, reason, type, subject, attempts]) => [handler, reason, type, subject, attempts]),
    ['first', IMAGE, 'third'].map((subject) => ['parse', `no number in ${subject}`, 'raw', subject, '1']),
  )
  await page.getByRole('button', { name: /Show the dead letter of parse, subject first/ }).click()
  await reads(page, '#letter-event', /"subject": "first"/)
  await reads(page, '#letter-data', /^\{\s*"raw": "\?"\s*\}$/)
  await page.getByRole('button', { name: 'Replay' }).click()
  await reads(page, '#letter-told', 'It was handled again, and failed again: no number in first')
  await mend()
  await page.getByRole('button', { name: 'Replay' }).click()
  await reads(page, '#letter-told', 'Replayed: it is counted now.')
  await page.keyboard.press('Escape')
  await reads(page, counts, '2 kept of 3 · 1 replayed · 0 dropped')

  await page.getByLabel('Reason').fill('*third')
  await page.getByRole('button', { name: 'Filter' }).click()
  await until(async () => (await cells(page, '#letters-table')).length === 1, 'one is to be left')
  await page.getByRole('button', { name: /subject third/ }).click()
  await page.getByRole('button', { name: 'Drop' }).click()
  assert.deepEqual(await page.locator('#letter-told').textContent(), '') // asked first
  await page.getByRole('button', { name: 'Drop it for good?' }).click()
  await reads(page, '#letter-told', 'Dropped.')
  await reads(page, counts, '1 kept of 3 · 1 replayed · 1 dropped')
  const { letters } = await daemon.get('/v1/dead-letters')
  assert.deepEqual(
    letters.map(({ subject }: { subject: string }) => subject),
    [IMAGE],
  )
  clean()
})

test('the tap shows an event that is posted now, as text, and tells what it does not show', {
  skip,
}, async (t) => {
  const daemon = await Daemon.start(t)
  const { page, clean } = await openConsole(t, browser, daemon)
  const tap = page.locator('#tap-form')
  await tap.getByLabel('Type').fill('now*')
  await tap.getByLabel('Events a second').fill('5')
  await tap.getByRole('button', { name: 'Start' }).click()
  await reads(page, '#tap-told', 'The tap is open.')
  const event = {
    type: 'now.posted',
    subject: IMAGE,
    value: 4.5,
    data: Buffer.from('<script>alert(2)</script>'),
  }
  await daemon.post(frame({ type: 'other' }, event), { 'x-correlation-id': 'posted-now' })
  await until(async () => (await cells(page, '#tap-table')).length === 1, 'the event is to be shown')
  const [[, type, subject, value, , source, correlation]] = await cells(page, '#tap-table')
  assert.deepEqual(
    [type, subject, value, source, correlation],
    ['now.posted', IMAGE, '4.5', 'test', 'posted-now'],
  )
  assert.equal(await page.locator('main td img, main td script').count(), 0)

  const many = Array.from({ length: 1000 }, (_, i) => ({ type: 'now.many', subject: `s${i}` }))
  await daemon.post(frame(...many))
  await reads(page, '#tap-missed', /^Not shown so far: [1-9]\d\d above the rate\.$/)
  await tap.getByRole('button', { name: 'Stop' }).click()
  await reads(page, '#tap-told', 'The tap is closed.')
  const aborted = new AbortController()
  const other = await fetch(`${daemon.http}/v1/events/tail?type=now.late`, { signal: aborted.signal })
  await daemon.post(frame({ type: 'now.late' }))
  let seen = ''
  for await (const chunk of other.body!.pipeThrough(new TextDecoderStream())) {
    seen += chunk
    if (seen.includes('now.late')) break
  }
  aborted.abort()
  assert.equal((await cells(page, '#tap-table')).flat().includes('now.late'), false)
  clean()
})

test('a profile is taken from the page, and its flame graph is there for whoever comes next', {
  skip,
}, async (t) => {
  const daemon = await Daemon.start(t)
  const { page, clean } = await openConsole(t, browser, daemon)
  await reads(page, '#profile-told', 'No profile has been taken since the daemon was started.')
  await page.locator('#profile-form').getByLabel('Seconds').fill('1')
  await page.getByRole('button', { name: 'Take a CPU profile' }).click()
  await reads(page, '#profile-told', /^A profile of 1 s, taken at \d\d:\d\d:\d\d(, without .+)?\.$/)
  const flame = page.getByRole('img', { name: /^Flame graph/ })
  await flame.waitFor()
  const downloading = page.waitForEvent('download')
  await page.getByRole('link', { name: 'Save for go tool pprof' }).click()
  const saved = await readFile(await (await downloading).path())
  assert.deepEqual([...saved.subarray(0, 2)], [0x1f, 0x8b]) // gzip
  await page.reload()
  await flame.waitFor()
  assert.ok(await page.evaluate<number>('document.images.flame.naturalWidth'))
  clean()
})

test('where there are keys the page asks for one, says what is wrong with it, and keeps it for the tab', {
  skip,
}, async (t) => {
  const key = (name: string, scopes: string[]) => {
    return { name, sha256: createHash('sha256').update(name).digest('hex'), scopes }
  }
  const keys = [key('viewer', ['query']), key('operator', ['query', 'admin'])]
  const daemon = await Daemon.start(t, { config: { auth: { keys } } })
  const { page, clean } = await openConsole(t, browser, daemon, { meant: /40[13] / })
  const dialog = page.getByRole('dialog', { name: 'This daemon asks for a key' })
  await dialog.waitFor()
  assert.equal(await page.locator('#key-problem').textContent(), '')
  const give = async (given: string) => {
    await dialog.getByLabel('Key').fill(given)
    await page.keyboard.press('Enter')
  }
  await give('nobody')
  await reads(page, '#key-problem', 'Not this one: this key is not known.')
  await give('viewer')
  await reads(page, '#key-problem', 'Not this one: key viewer has no scope admin.')
  await give('operator')
  await reads(page, '#state', 'ready')
  await reads(page, '#letters-count', /^0 kept/)
  assert.equal(await dialog.isVisible(), false)
  assert.equal(await page.evaluate("Object.values(localStorage).includes('operator')"), false)
  await page.reload()
  await reads(page, '#state', 'ready') // not asked again
  await page.getByRole('button', { name: 'Forget key' }).click()
  await dialog.waitFor()
  clean()
})

test('everything can be reached and used without a mouse', { skip }, async (t) => {
  const { daemon } = await withHandler(t)
  await daemon.post(frame({ type: 'raw', subject: 's' }, ...readings(0, 200)))
  await daemon.processed(201)
  const { page, clean } = await openConsole(t, browser, daemon)
  await reads(page, '#letters-count', /^1 kept/)
  await reads(page, '#top tbody th', /pump/)
  const focused = () =>
    page.evaluate<string>(
      '((at) => at.id || at.textContent?.trim() || at.tagName)(document.activeElement ?? document.body)',
    )
  /** Presses Tab until this has the focus. */
  const tabTo = async (wanted: string) => {
    for (let presses = 0; presses < 100; presses++) {
      await page.keyboard.press('Tab')
      const outline = await page.evaluate<string>('getComputedStyle(document.activeElement).outlineStyle')
      const now = await focused()
      if (now !== 'BODY') assert.notEqual(outline, 'none', `the focus is not seen at ${now}`)
      if (now === wanted) return
    }
    assert.fail(`Tab does not lead to ${wanted}`)
  }
  await tabTo('Skip to the figures')
  await page.keyboard.press('Enter')
  assert.equal(await focused(), 'content')
  await tabTo('measure')
  await page.keyboard.press('ArrowDown')
  await reads(page, '#top thead', /attributes\.site · type/)
  await page.keyboard.press('ArrowUp')
  await reads(page, '#top tbody th', /pump/)
  const first = (await page.locator('#top tbody button').first().textContent())!
  await tabTo(first)
  await page.keyboard.press('Enter')
  await reads(page, '#key-title', first)
  assert.equal(await focused(), first) // also once the table has been filled anew
  await tabTo('Show')
  await page.keyboard.press('Enter')
  await reads(page, '#letter-event', /"subject": "s"/)
  await tabTo('letter-drop')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Enter')
  await reads(page, '#letter-told', 'Dropped.')
  assert.equal(await focused(), 'letter-close')
  await page.keyboard.press('Enter')
  await reads(page, '#letters-told', 'There are no dead letters.')
  await tabTo('tap-button')
  await page.keyboard.press('Space')
  await reads(page, '#tap-told', 'The tap is open.')
  assert.equal(await focused(), 'tap-button')
  clean()
})

test('nothing that can be checked by rule is in the way of assistive technology', { skip }, async (t) => {
  const { daemon } = await withHandler(t)
  await daemon.post(frame({ type: 'raw', subject: 's' }, ...readings(0, 500)))
  await daemon.processed(501)
  for (const options of [{}, { dark: true }, { width: 360, height: 780 }]) {
    const { page, clean } = await openConsole(t, browser, daemon, options)
    await page.emulateMedia({ reducedMotion: 'reduce' }) // colours between two others are no colours of ours
    await reads(page, '#state', 'ready')
    await reads(page, '#letters-count', /^1 kept/)
    await page
      .getByRole('button', { name: /^pump-/ })
      .first()
      .click()
    await page.locator('#key-chart canvas').waitFor()
    await page.getByText('The same as a table').click()
    await page.locator('#tap-button').click()
    await reads(page, '#tap-told', 'The tap is open.')
    await daemon.post(frame({ subject: 'tapped' }))
    await page.locator('#tap-table tbody tr').waitFor()
    assert.deepEqual(await violations(page), [])
    await page.getByRole('button', { name: /^Show the dead letter/ }).click()
    await reads(page, '#letter-event', /"subject": "s"/)
    assert.deepEqual(await violations(page), [])
    // Nothing is cut off at the side, whatever the width.
    assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'))
    clean()
  }
})

test('nor is it when a process is silent, or the daemon away', { skip }, async (t) => {
  for (const dark of [false, true]) {
    const daemon = await Daemon.start(t)
    const { page, clean } = await openConsole(t, browser, daemon, { dark, meant: AWAY })
    await reads(page, '#state', 'ready')
    const { pid } = (await daemon.status()).roles.find(({ role }) => role === 'processor')!
    process.kill(pid, 'SIGSTOP')
    atEnd(t, () => killQuietly(pid, 'SIGCONT'))
    await page.locator('#roles tr[data-stale=true]', { hasText: 'silent' }).waitFor()
    assert.deepEqual(await violations(page), [])
    await daemon.killAll()
    await reads(page, '#pressure', 'these figures are old')
    assert.deepEqual(await violations(page), [])
    clean()
  }
})

test('the colours are those of the system until others are chosen, which stay', { skip }, async (t) => {
  const daemon = await Daemon.start(t)
  const { page, clean } = await openConsole(t, browser, daemon)
  const ground = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor')
  const light = await ground()
  const toggle = page.getByRole('button', { name: 'Dark colours' })
  const pressed = () => toggle.getAttribute('aria-pressed')
  assert.equal(await pressed(), 'false')
  await page.emulateMedia({ colorScheme: 'dark' })
  await until(async () => (await pressed()) === 'true', 'the page is to follow the system')
  const dark = await ground()
  assert.notEqual(dark, light)
  await page.emulateMedia({ colorScheme: 'light' })
  await until(async () => (await pressed()) === 'false', 'the page is to follow it back')
  assert.equal(await ground(), light)
  await toggle.click()
  assert.equal(await ground(), dark)
  assert.equal(await pressed(), 'true')
  await page.reload()
  assert.equal(await ground(), dark)
  clean()
})

test('the page says what it may load, and is in the package', { skip }, async (t) => {
  const daemon = await Daemon.start(t)
  const response = await fetch(`${daemon.admin}/`)
  assert.match(response.headers.get('content-security-policy') ?? '', /^default-src 'self'; /)
  assert.doesNotMatch(
    await response.text(),
    /<style|style=|<script(?! [^>]*src="\/console\/)|\son\w+=|https?:/,
  )
  for (const path of ['/console/none.js', '/console/../index.js', '/console/%2e%2e/index.js', '/console/']) {
    assert.equal((await fetch(daemon.admin + path)).status, 404)
  }
  const { stdout } = await promisify(execFile)('npm', ['pack', '--ignore-scripts', '--dry-run', '--json'], {
    cwd: root,
  })
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }]
  const packed = files.map(({ path }) => path)
  for (const name of ['index.html', 'console.css', 'icon.svg', 'theme.js', 'main.js']) {
    assert.ok(packed.includes(`dist/console/${name}`), name)
  }
})

test('pictures of it are taken, light, dark and narrow', { skip }, async (t) => {
  const isWanted = process.env.SCREENSHOTS === '1'
  const folder = isWanted ? join(root, 'docs', 'images') : await temporaryFolder(t)
  await mkdir(folder, { recursive: true })
  const { daemon } = await withHandler(t)
  const load = flow(t, daemon)
  const raw = {
    type: 'raw',
    source: 'plant',
    data: Buffer.from('{"raw":"?"}'),
    datacontenttype: 'application/json',
  }
  await daemon.post(frame({ ...raw, subject: 'pump-3' }, { ...raw, subject: 'pump-17' }))
  const spanMin = isWanted ? 50 : 2
  const shots = [
    { name: 'light', width: 1440, height: 1130 },
    { name: 'dark', width: 1440, height: 1130, dark: true },
    { name: 'narrow', width: 360, height: 1280, scale: 1.5 },
  ]
  const unfit: string[] = []
  for (const shot of shots) {
    const { page, clean } = await openConsole(t, browser, daemon, shot)
    await chooseKey(page)
    await page.locator('#stat').selectOption('mean')
    const span = async () => {
      const told = await page.locator('#throughput').getAttribute('aria-label')
      const [, number, unit] = /over the last ([\d.]+) (s|min)/.exec(told ?? '') ?? []
      return Number(number ?? 0) * (unit === 'min' ? 60 : 1)
    }
    await until(async () => (await span()) >= spanMin, `figures of ${spanMin} s`, 60_000 + spanMin * 1000)
    await page.locator('main').focus() // nothing else looks as if it had the focus
    await page.evaluate('scrollTo({ top: 0, behavior: "instant" })')
    const path = join(folder, `console-${shot.name}.png`)
    const image = await page.screenshot({ path, animations: 'disabled' })
    if (image.length < 10_000 || image.length > 200_000) unfit.push(`${path} has ${image.length} bytes`)
    clean()
  }
  await load.stop()
  assert.deepEqual(unfit, [])
})
