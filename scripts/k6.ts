// `npm run k6 -- SCENARIO`: a scenario of `scenarios/` in the real k6, against a daemon that is started for it, or the
// one at --url. Exits with k6's code: 0 where all thresholds held, 99 where one did not.
//
//   --url URL --key KEY     a daemon that runs       --set a.b=c        a setting of the one that is started
//   -e NAME=VALUE           what the scenario's head names: durations, rates, events in a body
//   --report FOLDER         leaves SCENARIO.txt, .json and .html there

import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Daemon, root } from '../bench/daemon.ts'
import { describeMachine, machineLine } from '../bench/machine.ts'
import { fetchK6 } from './tools/k6.ts'

const scenarios = join(root, 'scenarios')
const known = readdirSync(scenarios).filter((name) => name.endsWith('.js'))

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string' },
    key: { type: 'string' },
    set: { type: 'string', multiple: true, default: [] },
    env: { type: 'string', short: 'e', multiple: true, default: [] },
    report: { type: 'string' },
  },
})
const [scenario = '', ...more] = positionals
if (more.length > 0 || !existsSync(join(scenarios, `${scenario}.js`))) {
  console.error(`which scenario? ${known.map((name) => name.replace('.js', '')).join(', ')}`)
  process.exit(2)
}

const k6 = await fetchK6()
const daemon = values.url === undefined ? await Daemon.start(values.set) : undefined
try {
  process.exitCode = await run(values.url ?? daemon!.http)
} finally {
  await daemon?.stop()
}

/** Resolves with k6's exit code. */
async function run(url: string): Promise<number> {
  const settings = [`URL=${url}`, ...(values.key === undefined ? [] : [`KEY=${values.key}`]), ...values.env]
  const words = ['run', '--no-usage-report', '--no-color', ...settings.flatMap((one) => ['-e', one])]
  const env: NodeJS.ProcessEnv = { ...process.env }
  const folder = values.report && resolve(values.report)
  if (folder) {
    await mkdir(folder, { recursive: true })
    words.push('--quiet', '--summary-export', join(folder, `${scenario}.json`))
    env.K6_WEB_DASHBOARD = 'true'
    env.K6_WEB_DASHBOARD_PORT = '-1'
    env.K6_WEB_DASHBOARD_EXPORT = join(folder, `${scenario}.html`)
  }
  const child = spawn(k6, [...words, `${scenario}.js`], {
    cwd: scenarios,
    env,
    stdio: ['ignore', folder ? 'pipe' : 'inherit', 'inherit'],
  })
  const end = () => child.kill('SIGINT') // k6 then ends as it does by itself, with its summary
  process.once('exit', end)
  let summary = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    summary += text
    process.stdout.write(text)
  })
  const code = await new Promise<number>((done, failed) =>
    child.once('error', failed).once('close', (exit) => done(exit ?? 1)),
  )
  process.off('exit', end)
  if (folder) await report(folder, summary, code)
  return code
}

/** What stands above a summary, without which it says nothing: what ran where. */
async function report(folder: string, summary: string, code: number): Promise<void> {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const asked = [`npm run k6 -- ${scenario}`, ...values.env.map((one) => `-e ${one}`)].join(' ')
  const head = [
    `${asked}    ${new Date().toISOString()}`,
    `millrace ${version}; ${machineLine(await describeMachine())}`,
    `exit code ${code}`,
  ]
  await writeFile(join(folder, `${scenario}.txt`), `${head.join('\n')}\n${summary.replace(/ +$/gm, '')}`)
}
