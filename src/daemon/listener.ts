// The role at the socket: takes events, and answers queries from the results store.

import type { TemplatedApp, us_listen_socket } from 'uWebSockets.js'
import { mountQueries, mountUnknown, type RouteParts } from '../api/routes.ts'
import { status } from '../api/status.ts'
import { Auth } from '../auth.ts'
import type { Config } from '../config/config.ts'
import type { Problem } from '../errors.ts'
import { Admission } from '../ingest/admission.ts'
import { Batcher } from '../ingest/batcher.ts'
import { correlationIdOf, makeCorrelationId } from '../ingest/correlation.ts'
import { publish } from '../ingest/publish.ts'
import { openWriter } from '../log/open.ts'
import { Query } from '../results/query.ts'
import { openStore, type Store } from '../results/store.ts'
import { LineRate, type Logger } from '../telemetry/logger.ts'
import { openedStores } from './processor.ts'
import { FinalError, type Role, type RoleParts } from './role.ts'

const REFUSALS_LOGGED_PER_SECOND = 10
const STATUS_TIMEOUT_MS = 1000
/** How long a drain waits for bodies that are on their way in. */
const UPLOAD_MS_MAX = 5_000
const UPLOAD_CHECK_MS = 5

export async function listener({ config, logger, conversation }: RoleParts): Promise<Role> {
  const uWS = await loadServer()
  const own = openedStores.get(config.dataDir)
  const store: Store = own ?? (await openStore(config.dataDir, { readOnly: true }))
  const log = await openWriter(config)
  const batcher = new Batcher(log)
  let draining = false
  const parts = {
    auth: new Auth(config.auth, 1 / config.cluster.listeners),
    draining: () => draining,
    refused: refusalLog(logger),
    correlationId: (req: Parameters<typeof correlationIdOf>[0]) =>
      correlationIdOf(req) || makeCorrelationId(),
  }

  const app = config.http.tls
    ? uWS.SSLApp({ cert_file_name: config.http.tls.cert, key_file_name: config.http.tls.key })
    : uWS.App()
  const { durability } = log
  const admission = new Admission()
  app.post('/v1/events', publish({ ...parts, batcher, admission, maxBody: config.http.maxBody, durability }))
  const routes: RouteParts = {
    ...parts,
    query: new Query(store),
    status: async () =>
      status(store, await conversation.ask('daemon', STATUS_TIMEOUT_MS), { kind: log.kind, durability }),
  }
  mountQueries(app, routes)
  mountUnknown(app, routes)
  const socket = await listen(app, config)

  return {
    report: () => ({ writer: log.writer, written: log.written() }),
    async drain() {
      draining = true
      uWS.us_listen_socket_close(socket)
      for (const deadline = Date.now() + UPLOAD_MS_MAX; admission.open > 0 && Date.now() < deadline; ) {
        await new Promise((resolve) => setTimeout(resolve, UPLOAD_CHECK_MS))
      }
      await batcher.drained()
      await log.close()
      app.close()
      if (own === undefined) await store.close()
    },
  }
}

async function loadServer() {
  try {
    return (await import('uWebSockets.js')).default
  } catch (error) {
    const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
    throw new FinalError(
      `uWebSockets.js cannot be loaded: it needs Node 20 with glibc 2.27 or later, or Node 22 to 24 with glibc ` +
        `2.38 or later; this is Node ${process.versions.node} with ` +
        `${header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : 'no glibc'} (${(error as Error).message})`,
      { cause: error },
    )
  }
}

function listen(app: TemplatedApp, config: Config): Promise<us_listen_socket> {
  const { host, port } = config.http.listen
  return new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket) resolve(socket)
      else reject(new FinalError(`cannot listen on ${host}:${port}`))
    })
  })
}

/** A line for each refused request, at a bounded rate. Never an event's data. */
function refusalLog(logger: Logger): (problem: Problem, correlationId: string) => void {
  const rate = new LineRate(REFUSALS_LOGGED_PER_SECOND)
  return (problem, correlationId) => {
    const withheld = rate.next(Date.now())
    if (withheld === undefined) return
    const line = { correlationId, code: problem.code, detail: problem.message, withheld }
    if (problem.code === 'internal') logger.error({ ...line, err: problem.cause }, 'request failed')
    else logger.info(line, 'request refused')
  }
}
