// The gRPC door: publishing through lanes of its own, queries and status. In a daemon without listeners it has the data
// port too, for queries over HTTP.

import { Auth } from '../auth.ts'
import { declaredDurability } from '../log/open.ts'
import { Query } from '../results/query.ts'
import { openStores, type Stores } from '../results/stores.ts'
import { openDoorLog } from './door-log.ts'
import { DataPort, daemonStatus } from './http.ts'
import { openedStores } from './opened-stores.ts'
import { refusalLog } from './refusals.ts'
import { FinalError, type Role, type RoleParts } from './role.ts'

export async function gateway(parts: RoleParts): Promise<Role> {
  const { config } = parts
  const http = parts.http ? await DataPort.open(parts) : undefined
  const stores = http?.stores ?? (await openStores(config.dataDir, config.log.partitions, openedStores))
  const { kind } = config.log
  if (http !== undefined) parts.metrics.reading('millrace_http_connections', {}, () => http.connections)
  await http?.listen({ kind, durability: declaredDurability(kind) }, { publish: false })
  const grpc = await openGrpc(parts, stores)
  return {
    report: () => grpc?.report() ?? { lanes: [], away: {}, missing: undefined },
    async drain(leisure) {
      if (leisure !== undefined) {
        await http?.leave(leisure)
        await http?.unused(() => 0, leisure)
      }
      http?.stopListening()
      await grpc?.drain()
      await (http ?? stores).close()
    },
  }
}

async function openGrpc(
  parts: RoleParts,
  stores: Stores,
): Promise<Required<Pick<Role, 'drain' | 'report'>> | undefined> {
  const { config, logger, metrics } = parts
  if (config.grpc === 'none') return undefined
  const { openServer } = await import('../grpc/server.ts') // other processes do without the library
  const { listen, tls = config.http.tls } = config.grpc
  const log = await openDoorLog(parts, stores)
  const { admission, intake } = log
  let draining = false
  const server = await openServer({
    listen,
    ...(tls === undefined ? {} : { tls }),
    maxBody: config.http.maxBody,
    auth: new Auth(config.auth, 1), // there is one gateway: a key may send here what it may send over HTTP
    refused: refusalLog(logger),
    draining: () => draining,
    intake,
    admission,
    metrics,
    durability: log.kept.durability,
    fresh: () => stores.appear(),
    query: new Query(stores),
    taps: parts.taps,
    status: () => daemonStatus(parts, stores, log.kept),
  }).catch((error: Error) => {
    throw new FinalError(`cannot listen on ${listen.host}:${listen.port} (grpc.listen): ${error.message}`)
  })
  await log.begun()
  return {
    report: () => log.report(),
    async drain() {
      draining = true
      await server.drain()
      await intake.drained()
      await log.close()
    },
  }
}
