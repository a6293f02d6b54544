// A peer's HTTP service: Fastify before a store. Started by the bench with what its store is, where, and how many
// processes; prints its address as one line when all of them listen.

import cluster from 'node:cluster'
import { entriesOf } from './entries.ts'
import { requirePeer } from './packages.ts'
import { openRedis } from './redis.ts'
import { openSqlite } from './sqlite.ts'
import type { Store } from './store.ts'

interface Reply {
  code(status: number): Reply
  header(name: string, value: string): Reply
  send(body: string): Reply
}
type Handler = (request: { body: Buffer }, reply: Reply) => void
interface Fastify {
  addContentTypeParser(
    type: string,
    options: { parseAs: 'buffer' },
    parse: (request: unknown, body: Buffer, done: (error: null, body: Buffer) => void) => void,
  ): void
  post(path: string, handler: Handler): void
  get(path: string, handler: () => Promise<number>): void
  listen(where: { host: string; port: number }): Promise<string>
}

/** What the words of the command line say. */
const [kind, place, processes, form] = process.argv.slice(2)

async function serve(): Promise<string> {
  const store: Store = kind === 'redis' ? openRedis(place) : openSqlite(place, kind === 'sqlite-sums')
  const app = (requirePeer('fastify') as (options: object) => Fastify)({ logger: false })
  app.addContentTypeParser('application/x-protobuf', { parseAs: 'buffer' }, (_, body, done) =>
    done(null, body),
  )
  app.post('/v1/events', ({ body }, reply) => {
    const entries = form === 'whole' ? [body] : entriesOf(body)
    store.add(entries, (error) => {
      if (error === undefined) reply.code(202)
      else reply.code(503)
      reply.header('content-type', 'application/json')
      reply.send(error === undefined ? `{"accepted":${entries.length}}` : JSON.stringify(error.message))
    })
  })
  app.get('/stored', () => store.count())
  return app.listen({ host: '127.0.0.1', port: 0 })
}

if (processes === '1' || cluster.isWorker) {
  const address = await serve()
  if (!cluster.isWorker) console.log(address)
} else {
  let left = Number(processes)
  for (let i = 0; i < left; i++) cluster.fork()
  cluster.on('listening', (_, { port }) => {
    if (--left === 0) console.log(`http://127.0.0.1:${port}`)
  })
  cluster.on('exit', (worker) => {
    console.error(`a process of the service ended: ${worker.process.pid}`)
    process.exit(1)
  })
}
