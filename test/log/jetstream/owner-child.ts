// A member of its own process, to be killed: prints what it owns, a line of JSON each time that changes.
// Arguments: the configuration as JSON, the member's name. Says when it is loaded, and waits for a message then.

import { once } from 'node:events'
import type { Config } from '../../../src/config/config.ts'
import { openJetStreamOwnership } from '../../../src/log/jetstream/open.ts'

const nothing = () => {}
const hooks = { onAway: nothing, onBack: nothing, onLost: nothing, onForeign: nothing, onNotice: nothing }
const config = JSON.parse(process.argv[2]) as Config
process.send!('loaded')
await once(process, 'message')
const ownership = await openJetStreamOwnership(config, process.argv[3], hooks)
const stop = new AbortController()
process.on('SIGTERM', () => stop.abort())
await ownership.run((owned) => process.stdout.write(`${JSON.stringify([...owned])}\n`), stop.signal)
