// A listener to be killed: appends one segment after the other, and says on standard output which were acknowledged.

import { writeSync } from 'node:fs'
import type { Config } from '../../src/config/config.ts'
import { openLocalWriter } from '../../src/log/open.ts'
import { segment } from './segments.ts'

const writer = await openLocalWriter(JSON.parse(process.argv[2]) as Config, 0)
const inFlight = Number(process.argv[3])
writeSync(1, `writer ${writer.writer}\n`)
let n = 0
for (;;) {
  const names = Array.from({ length: inFlight }, () => `n${n++}`)
  await Promise.all(
    names.map((name) => writer.append(segment(name, 300)).then(() => writeSync(1, `${name}\n`))),
  )
}
