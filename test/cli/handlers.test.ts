import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { HANDLER_LOAD_MS_MAX } from '../../src/limits.ts'
import { until } from '../until.ts'
import { run } from './fake.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-handlers-'))
after(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
function module(text: string): string {
  const path = join(folder, `h${files++}.mjs`)
  writeFileSync(path, text)
  return path
}
const check = (paths: string[], ...words: string[]) =>
  run(['check', '--set', `handlers=[${paths.join(', ')}]`, ...words])

test('a module that cannot be run ends check and start with exit code 2, its path and why', async () => {
  const bad: [string, ...string[]][] = [
    ['export default {', 'does not load: SyntaxError: Unexpected end of input'],
    ['export const handler = 1', 'has no default export: export default defineHandler({ name, match, map })'],
    ['export default 5', 'its default export is the number 5: it must be what defineHandler returns'],
    ['throw new Error("no database")', 'does not load: Error: no database'],
    ['import "./nowhere.mjs"', 'does not load: Error: Cannot find module'],
    ['process.exit(7)', 'ended its thread with exit code 7 when loaded'],
    ['await new Promise(() => {})', 'ended its thread with exit code 13 when loaded'],
    [
      'const all = []; for (;;) all.push(new Array(1e5).fill(0))',
      'does not load: Worker terminated due to reaching memory limit',
    ],
    [
      "export default { name: 'h', match: { typ: 'a' }, map() {} }",
      'match.typ: there is no field typ; did you mean type?',
    ],
    [
      "export default { name: 'h', match: { type: 'a*b' }, map() {} }",
      'match.type: "a*b" has * in the middle',
    ],
    [
      "export default { nam: 'h', map() {} }",
      'name: is missing',
      'nam: there is no such key; did you mean name?',
    ],
    ["export default { name: 'h' }", 'map: must be a function of an event and emit, not nothing'],
    ["export default { name: 'h', async map() {} }", 'map: is asynchronous'],
    [
      "export default { name: 'h', timeLimit: '1h', map() {} }",
      'timeLimit: "1h" is out of range: 10ms to 10s',
    ],
    ["export default { name: 'a/b', map() {} }", 'name: "a/b" cannot be a name'],
    ["export default { name: 'h', measures: [{ name: 'm' }], map() {} }", 'measures[0].by: is missing'],
    [
      "export default { name: 'h', measures: [{ name: 'm', by: ['k'], window: 5 }], map() {} }",
      'measures[0].window: "5" has no unit',
    ],
    [
      "export default { name: 'h', measures: [{ name: 'by-subject', by: ['k'] }], map() {} }",
      'measures: there is a measure by-subject in the configuration: names must differ',
    ],
  ]
  const paths = bad.map(([text]) => module(text))
  const missing = join(folder, 'missing.mjs')
  const { code, stdout, stderr } = await check([...paths, missing], '--set', 'pool.heap=64MiB')
  assert.deepEqual([code, stdout], [2, ''])
  const lines = stderr.trim().split('\n')
  bad.forEach(([text, ...problems], i) => {
    const said = lines.filter((line) => line.startsWith(`${paths[i]}: `))
    assert.equal(said.length, problems.length, `${text}:\n${said.join('\n')}`)
    for (const [at, problem] of problems.entries()) {
      assert.ok(said[at].startsWith(`${paths[i]}: ${problem}`), `${said[at]}\nis not\n${problem}`)
    }
  })
  assert.ok(lines.includes(`${missing}: there is no such file`))

  const started = await run(['start', '--set', `handlers=[${paths[0]}]`])
  assert.deepEqual([started.code, started.stdout], [2, ''])
  assert.ok(started.stderr.startsWith(`${paths[0]}: does not load: SyntaxError`), started.stderr)
})

test('a module that does not come to an end when it is loaded is given up after 15 s', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const path = module(`
    import { writeFileSync } from 'node:fs'
    writeFileSync(new URL(import.meta.url + '.loading'), '')
    for (;;);`)
  let over = false
  const checking = check([path]).finally(() => {
    over = true
  })
  await until(() => existsSync(`${path}.loading`))
  t.mock.timers.tick(HANDLER_LOAD_MS_MAX - 1)
  await nextTurn()
  assert.equal(over, false)
  t.mock.timers.tick(1)
  const { code, stdout, stderr } = await checking
  assert.deepEqual([code, stdout, stderr], [2, '', `${path}: does not load: it has not ended after 15s\n`])
})

test('two handlers, or two measures of handlers, may not share a name', async () => {
  const one = (measure: string) =>
    module(`export default { name: 'h', measures: [{ name: '${measure}', by: ['k'] }], map() {} }`)
  const paths = [one('m'), one('m')]
  const { code, stderr } = await check(paths)
  assert.equal(code, 2)
  assert.deepEqual(stderr.trim().split('\n'), [
    `${paths[1]}: name: ${paths[0]} has a handler h too: names must differ`,
    `${paths[1]}: measures: there is a measure m in ${paths[0]}: names must differ`,
  ])
})

const alerts = module(`
  import { deadLetter, defineHandler, drop } from 'millrace'
  export default defineHandler({
    name: 'alerts', match: { type: 'reading' }, timeLimit: '200ms',
    measures: [{ name: 'by-bed', by: ['bed'], window: '1h' }, { name: 'seen', by: ['bed'], value: 'none', window: 'all' }],
    map({ subject, value, attributes }, emit) {
      if (value === undefined) return drop('no value')
      if (value > 100) return deadLetter('too hot')
      if (value < 0) for (;;);
      emit.measure('by-bed', subject, value)
      emit.measure('seen', [attributes.house + '/' + subject])
      if (value > 30) emit.result('alert/' + subject, JSON.stringify({ value }))
    },
  })`)

const events = [
  {
    source: 's',
    type: 'reading',
    subject: 'b1',
    value: 20,
    time: '2026-01-01T00:30:00Z',
    attributes: { house: 'a' },
  },
  { source: 's', type: 'other', subject: 'b1', value: 20 },
  {
    source: 's',
    type: 'reading',
    subject: 'b1',
    value: 35,
    time: '2026-01-01T00:31:00Z',
    attributes: { house: 'a' },
  },
  { source: 's', type: 'reading', subject: 'b2' },
  { source: 's', type: 'reading', subject: 'b2', value: 1000 },
  { source: 's', type: 'reading', subject: 'b2', value: -5 },
  { source: 's', type: 'reading', subject: 'b3', value: 5, attributes: { house: 'b' } },
]
const sample = join(folder, 'sample.ndjson')
writeFileSync(sample, `${events.map((event) => JSON.stringify(event)).join('\n\n')}\n`)

test('check lists the handlers, and --events tells what they would do with each event of a file', async () => {
  const listed = await check([alerts])
  assert.equal(listed.code, 0, listed.stderr)
  assert.ok(
    listed.stdout.includes(
      `# handler alerts (${alerts}): events whose type is "reading", 200ms each at most\n`,
    ),
    listed.stdout,
  )
  assert.ok(
    listed.stdout.includes(
      '# by-bed: what alerts emits, by bed, for each 1h of event time, with sum, min, max, mean\n',
    ),
  )

  const tried = await check([alerts], '--events', sample, '--show', '6')
  assert.equal(tried.code, 0, tried.stderr)
  assert.deepEqual(tried.stdout.trim().split('\n'), [
    'line 1  alerts',
    '  measure by-bed ["b1"]  2026-01-01T00:00:00.000Z  count 1  sum 20',
    '  measure seen ["a/b1"]  count 1',
    'line 5  alerts',
    '  measure by-bed ["b1"]  2026-01-01T00:00:00.000Z  count 1  sum 35',
    '  measure seen ["a/b1"]  count 1',
    '  result alert/b1  12 bytes  {"value":35}',
    'line 7  alerts',
    '  dropped: no value',
    'line 9  alerts',
    '  dead letter: too hot',
    'line 11  alerts',
    '  dead letter: it took longer than 200ms',
    '# alerts: of 7 events 3 handled, 2 dead letters, 1 dropped (no value)',
  ])

  const { trial } = JSON.parse((await check([alerts], '--events', sample, '--show', '1', '--json')).stdout)
  assert.deepEqual(trial, {
    events: 7,
    shown: [
      {
        event: 'line 1',
        handler: 'alerts',
        measures: [
          { name: 'by-bed', key: ['b1'], windowStart: '2026-01-01T00:00:00.000Z', count: 1, sum: 20 },
          { name: 'seen', key: ['a/b1'], windowStart: null, count: 1 },
        ],
        results: [],
      },
    ],
    handlers: [{ name: 'alerts', handled: 3, dropped: { 'no value': 1 }, deadLettered: 2 }],
  })
})

test('check --events reads tables too, and says where a file is wrong', async () => {
  const table = join(folder, 'table.csv')
  writeFileSync(table, 'bed,celsius\nb1,31\n')
  const words = [
    '--events',
    table,
    '--type',
    'reading',
    '--source',
    's',
    '--subject',
    'bed',
    '--value',
    'celsius',
  ]
  const { stdout } = await check([alerts], ...words)
  assert.match(stdout, /result alert\/b1 {2}12 bytes {2}\{"value":31\}/)

  const broken = join(folder, 'broken.ndjson')
  writeFileSync(broken, '{"source":"s","type":"t"}\n{"source":"s"}\n')
  const refused = await check([alerts], '--events', broken)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /line 2: type/)
  assert.equal((await run(['check', '--events', sample])).code, 2, 'without handlers')
  assert.equal((await check([alerts], '--events', join(folder, 'none.ndjson'))).code, 2)
})

test('paths are meant from the file that they stand in, and otherwise from the current directory', async () => {
  const file = join(folder, 'millrace.yaml')
  const name = alerts.slice(folder.length + 1)
  writeFileSync(file, `handlers: [${name}]\n`)
  assert.equal((await run(['check', file])).code, 0)
  const elsewhere = await run(['check', '--set', `handlers=[${name}]`])
  assert.deepEqual(
    [elsewhere.code, elsewhere.stderr],
    [2, `${join(process.cwd(), name)}: there is no such file\n`],
  )
  const env = { MILLRACE_HANDLERS: `${alerts}` }
  assert.equal((await run(['check'], { env })).code, 0)
})
