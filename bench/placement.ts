import { millrace } from '#proto'
import { Placer } from '../src/ingest/placement.ts'
import { scan } from '../src/ingest/scan.ts'

const { Frame } = millrace.v1
const N = 1000
function frameOf(subject: (i: number) => string) {
  const events = Array.from({ length: N }, (_, i) => ({
    source: '/bench',
    type: 'bench.event',
    subject: subject(i),
    timeUnixNano: '1750000000000000000',
    value: i,
  }))
  return new Uint8Array(Frame.encode(Frame.fromObject({ events })).finish())
}
const cases = {
  mixed: frameOf((i) => `subject-${(i * 7919) % 1000}`),
  same: frameOf(() => 'subject-1'),
  one: frameOf((i) => `subject-${i}`).slice(0, 53),
}
void cases.one
for (const [name, frame] of Object.entries({ mixed: cases.mixed, same: cases.same })) {
  const placer = new Placer(4)
  let sink = 0
  for (let round = 0; round < 4; round++) {
    const rounds = 3000
    let t = process.hrtime.bigint()
    for (let i = 0; i < rounds; i++) sink += scan(frame, 0, frame.length)
    const s = Number(process.hrtime.bigint() - t)
    t = process.hrtime.bigint()
    for (let i = 0; i < rounds; i++) {
      placer.place(frame, 0, frame.length)
      for (let p = 0; p < 4; p++) sink += placer.frameOf(p)?.length ?? 0
    }
    const ns = Number(process.hrtime.bigint() - t)
    console.log(
      name,
      frame.length / N,
      'bytes',
      'place',
      (((rounds * N) / ns) * 1e3).toFixed(1),
      'M/s',
      'scan',
      (((rounds * N) / s) * 1e3).toFixed(1),
      sink % 7,
    )
  }
}
