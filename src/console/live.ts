// The figures of the moment: one sample a second from /live, with the minutes before it.

import type { Quantiles, Sample } from './answers.ts'
import { Chart, type Data } from './chart.ts'
import { byId, say, show } from './dom.ts'
import { ask, wordsOf } from './door.ts'
import { serverSent } from './event-stream.ts'
import { bytes, count, duration, rate, short } from './format.ts'

/** As many as the daemon keeps: ten minutes. */
const SAMPLES_MAX = 600
/** Seconds that the charts span at least. */
const SPAN_SECONDS_MIN = 60
/** First and longest wait before a stream that ended is opened again, milliseconds. */
const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 5_000
/** There is a sample a second: after so long without one the stream is given up, milliseconds. */
const SILENT_MS_MAX = 10_000

type Reader = (sample: Sample) => void

/** Follows the daemon for as long as the page is open; `read` gets the latest sample, a frame at a time. */
export function followLive(read: Reader): void {
  const panel = new Panel(read)
  void (async () => {
    for (let wait = RETRY_MS_MIN; ; wait = Math.min(RETRY_MS_MAX, wait * 2)) {
      const silence = new AbortController()
      let timer: ReturnType<typeof setTimeout> | undefined
      const hear = () => {
        clearTimeout(timer)
        timer = setTimeout(() => silence.abort(new Error('the daemon is silent')), SILENT_MS_MAX)
      }
      try {
        const { body } = await ask('/live', { accept: 'text/event-stream', signal: silence.signal })
        panel.begin()
        hear()
        for await (const { data } of serverSent(body!)) {
          hear()
          panel.add(JSON.parse(data) as Sample)
          wait = RETRY_MS_MIN
        }
        panel.lost('the daemon has ended the stream')
      } catch (error) {
        panel.lost(wordsOf(error))
      } finally {
        clearTimeout(timer)
      }
      await new Promise((resolve) => setTimeout(resolve, wait))
    }
  })()
}

class Panel {
  readonly #read: Reader
  readonly #throughput: Chart
  readonly #latency: Chart
  readonly #lag: Chart
  readonly #now = new Map<string, HTMLElement>()
  #samples: Sample[] = []
  #drawing = false

  constructor(read: Reader) {
    this.#read = read
    const common = { group: 'live', spanMin: SPAN_SECONDS_MIN }
    this.#throughput = new Chart(byId('throughput'), {
      ...common,
      lines: [
        { label: 'Accepted', colour: 'line-1', filled: true },
        { label: 'Processed', colour: 'line-2' },
      ],
      format: (n) => `${rate(n)} /s`,
      axis: short,
    })
    this.#latency = new Chart(byId('latency'), {
      ...common,
      lines: [
        { label: 'Acknowledged p99', colour: 'line-1' },
        { label: 'Queryable p99', colour: 'line-2' },
        { label: 'Acknowledged p50', colour: 'line-1', dashed: true },
        { label: 'Queryable p50', colour: 'line-2', dashed: true },
      ],
      format: duration,
      axis: (seconds) => `${short(seconds * 1000)} ms`,
    })
    this.#lag = new Chart(byId('lag'), {
      ...common,
      lines: [{ label: 'Events', colour: 'line-3', filled: true }],
      format: count,
      axis: short,
    })
    for (const place of document.querySelectorAll<HTMLElement>('[data-now], [data-total]')) {
      this.#now.set(place.dataset.now ?? `total:${place.dataset.total}`, place)
    }
  }

  /** A stream is open; it begins with what was before. */
  begin(): void {
    this.#samples = []
  }

  add(sample: Sample): void {
    this.#samples.push(sample)
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift()
    if (this.#drawing) return
    this.#drawing = true
    requestAnimationFrame(() => {
      this.#drawing = false
      this.#draw()
    })
  }

  lost(why: string): void {
    document.body.dataset.lost = ''
    state('state', 'bad', why)
    state('pressure', 'waiting', 'these figures are old')
  }

  #draw(): void {
    const sample = this.#samples.at(-1)
    if (sample === undefined) return
    delete document.body.dataset.lost
    const { ready, reason, log, version, backpressure } = sample
    state('state', ready ? 'good' : 'waiting', ready ? 'ready' : (reason ?? 'not ready'))
    const held = backpressure.length > 0
    state(
      'pressure',
      held ? 'bad' : 'good',
      held ? `back-pressure: ${backpressure.join(', ').replaceAll('_', ' ')}` : 'no back-pressure',
    )
    say(byId('log'), `${version} · ${log.kind} log · ${log.durability}`)
    show(byId('log'), true)
    for (const [name, text] of Object.entries(figures(sample))) {
      const place = this.#now.get(name)
      if (place !== undefined) say(place, text)
    }
    this.#drawCharts()
    this.#read(sample)
  }

  #drawCharts(): void {
    const samples = this.#samples
    const times = samples.map(({ at }) => Date.parse(at) / 1000)
    const line = (value: (sample: Sample) => number | null) => samples.map(value)
    const accepted = line(({ rates }) => rates.accepted)
    const processed = line(({ rates }) => rates.processed)
    const quantile = (of: 'ack' | 'queryable', which: keyof Quantiles) =>
      line(({ latency }) => latency[of]?.[which] ?? null)
    const ack = quantile('ack', 'p99')
    const queryable = quantile('queryable', 'p99')
    const lag = line((sample) => sample.lag.events)
    const over = `over the last ${duration(Math.round((times.at(-1) ?? 0) - (times[0] ?? 0)))}`
    const perSecond = (n: number) => `${rate(n)} a second`
    this.#throughput.set(
      [times, accepted, processed] as Data,
      `Throughput ${over}: accepted ${spoken(accepted, perSecond)}; processed ${spoken(processed, perSecond)}`,
    )
    this.#latency.set(
      [times, ack, queryable, quantile('ack', 'p50'), quantile('queryable', 'p50')] as Data,
      `Latency, p99, ${over}: acknowledged ${spoken(ack, duration)}; queryable ${spoken(queryable, duration)}`,
    )
    this.#lag.set([times, lag] as Data, `Events that wait to be processed ${over}: ${spoken(lag, count)}`)
  }
}

/** Texts by the names that the page has for them. */
function figures({ totals, rates, lag, latency, pool }: Sample): Record<string, string> {
  const texts: Record<string, string> = {
    accepted: rate(rates.accepted),
    processed: rate(rates.processed),
    requests: `${rate(rates.requests)} /s`,
    bytes: `${bytes(rates.bytes)}/s`,
    refused: `${rate(rates.refused)} /s`,
    ack50: duration(latency.ack?.p50),
    ack99: duration(latency.ack?.p99),
    queryable50: duration(latency.queryable?.p50),
    queryable99: duration(latency.queryable?.p99),
    lagEvents: count(lag.events),
    lagSeconds: duration(lag.seconds),
    lagBytes: bytes(lag.bytes),
    pool: `${count(pool.busy)} of ${count(pool.threads)} busy`,
    queue: count(pool.queue),
  }
  for (const [name, total] of Object.entries(totals)) texts[`total:${name}`] = count(total)
  return texts
}

/** Now and at most, in words. */
function spoken(values: (number | null)[], format: (n: number) => string): string {
  const known = values.filter((value) => value !== null)
  if (known.length === 0) return 'none'
  const latest = values.at(-1)
  const now = latest === null || latest === undefined ? 'none now' : `${format(latest)} now`
  return `${now}, ${format(known.reduce((most, value) => Math.max(most, value)))} at most`
}

function state(id: string, kind: 'good' | 'bad' | 'waiting', text: string): void {
  const place = byId(id)
  place.dataset.state = kind
  say(place, text)
}
