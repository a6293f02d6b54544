// A good client beside bad ones.

import assert from 'node:assert/strict'
import { Client } from './client.ts'
import type { Daemon } from './daemon.ts'

/** Sends good bodies from now on. To be called when the bad ones are through: asserts that nobody was hurt by them. */
export function goodNeighbour(daemon: Daemon): () => Promise<void> {
  const neighbour = new Client(daemon, 'neighbour', 1, { answerMs: 60_000 }) // slow is not refused
  const sending = neighbour.run()
  return async () => {
    const before = neighbour.acked
    await daemon.until(() => neighbour.acked > before + 50)
    neighbour.stop()
    await sending
    assert.equal(neighbour.retries, 0, 'the good client was never refused or cut off')
    const status = await daemon.processed(neighbour.ackedEvents)
    assert.equal(status.processed.events, neighbour.ackedEvents, 'refused bodies left nothing behind')
    assert.deepEqual(
      status.roles.map(({ restarts }) => restarts),
      [0, 0, 0, 0],
      'no process ended',
    )
  }
}
