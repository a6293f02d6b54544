// The promise under test, through a broker: what was acknowledged is counted, once, whatever dies and whenever, the
// broker included.

import { describe, test } from 'node:test'
import { Client } from './client.ts'
import { assertCounted, killRole, untilAcked } from './counted.ts'
import { Daemon } from './daemon.ts'
import { type Kind, logOf, startBrokers } from './kinds.ts'
import { random } from './random.ts'

const KILLS = 12
const CLIENTS = 4
/** Longer than any client of a broker waits for an answer before it gives up by itself. */
const SILENCE_MS = 12_000

const kinds: Kind[] = ['jetstream', 'kafka', 'kafka, platformatic', 'dual']

for (const kind of kinds) {
  test(`${kind}: acked is kept and counted once through ${KILLS} kills, of the broker too`, async (t) => {
    const { pick, between, seed } = random(t)
    const brokers = await startBrokers(t, kind)
    const daemon = await Daemon.start(t, { config: { log: logOf(kind, brokers) } })
    const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(daemon, `client-${i}`, seed + i))
    const sending = clients.map((client) => client.run())
    const servers = [brokers.nats, brokers.kafka].filter((server) => server !== undefined)

    for (let kill = 0; kill < KILLS; kill++) {
      await untilAcked(clients, between(1, 200))
      const victim = pick(['listener', 'processor', 'broker', 'broker', 'primary', 'all'] as const)
      if (victim === 'broker') {
        const server = pick(servers)
        await server.kill()
        await server.restart()
      } else await killRole(daemon, victim, pick)
    }

    await untilAcked(clients, 100)
    for (const client of clients) client.stop()
    await Promise.all(sending)
    await assertCounted(daemon, clients)
  })

  // Together, for most of it is silence.
  describe(kind, { concurrency: 2 }, () => {
    test('a broker that is silent for longer than any time-out loses nothing', async (t) => {
      const { seed } = random(t)
      const brokers = await startBrokers(t, kind)
      const daemon = await Daemon.start(t, { config: { log: logOf(kind, brokers) } })
      const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(daemon, `client-${i}`, seed + i))
      const sending = clients.map((client) => client.run())
      for (const server of [brokers.nats, brokers.kafka]) {
        if (server === undefined) continue
        await untilAcked(clients, 200)
        server.pause()
        await new Promise((resolve) => setTimeout(resolve, SILENCE_MS))
        server.resume()
      }
      await untilAcked(clients, 200)
      for (const client of clients) client.stop()
      await Promise.all(sending)
      await assertCounted(daemon, clients)
    })

    test('a connection that is cut for longer than any time-out loses nothing', async (t) => {
      const { seed } = random(t)
      const brokers = await startBrokers(t, kind, { cables: true })
      const daemon = await Daemon.start(t, { config: { log: logOf(kind, brokers) } })
      const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(daemon, `client-${i}`, seed + i))
      const sending = clients.map((client) => client.run())
      for (const cable of brokers.cables) {
        await untilAcked(clients, 200)
        cable.cut()
        await new Promise((resolve) => setTimeout(resolve, SILENCE_MS))
        cable.mend()
      }
      await untilAcked(clients, 200)
      for (const client of clients) client.stop()
      await Promise.all(sending)
      await assertCounted(daemon, clients)
    })
  })
}
