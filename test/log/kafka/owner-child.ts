// A processor's part in the group, in a process of its own that can be killed. Prints what it owns, a line each time.
// Arguments: the configuration as JSON, the member's name, and the time of silence in milliseconds.

import { openKafkaOwnership } from '../../../src/log/kafka/open.ts'

const [config, member, ownerSilentMs] = process.argv.slice(2)
const hooks = { onAway() {}, onBack() {}, onLost() {}, onForeign() {}, onNotice() {} }
const ownership = await openKafkaOwnership(JSON.parse(config), member, hooks, {
  limits: { ownerSilentMs: Number(ownerSilentMs) },
})
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())
await ownership.run((owned) => console.log(JSON.stringify([...owned])), stop.signal)
