// Redis Streams: one XADD an entry. The entries of all requests that wait go with one call of a script, which spares the
// client a command and a reply for each: measured at up to twice the entries a second of pipelined XADDs. With
// `appendfsync always` Redis answers when the entries are flushed, once for all that it read in one turn of its loop.

import { requirePeer } from './packages.ts'
import { Group, type Store } from './store.ts'

interface Redis {
  defineCommand(name: string, command: { numberOfKeys: number; lua: string }): void
  addAll(key: string, ...entries: Buffer[]): Promise<number>
  xlen(key: string): Promise<number>
}
interface RedisConstructor {
  new (options: { path: string }): Redis
}

const KEY = 'events'
/** Redis bounds what one script may be given. */
const ENTRIES_PER_CALL_MAX = 1000
const ADD_ALL = `for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'event', ARGV[i]) end return #ARGV`

/** `socket`: path of the server's Unix socket. */
export function openRedis(socket: string): Store {
  const { Redis } = requirePeer('ioredis') as { Redis: RedisConstructor }
  const redis = new Redis({ path: socket })
  redis.defineCommand('addAll', { numberOfKeys: 1, lua: ADD_ALL })
  const group = new Group((entries) => {
    const calls: Promise<number>[] = []
    for (let from = 0; from < entries.length; from += ENTRIES_PER_CALL_MAX) {
      calls.push(redis.addAll(KEY, ...entries.slice(from, from + ENTRIES_PER_CALL_MAX)))
    }
    return Promise.all(calls)
  })
  return { add: (entries, done) => group.add(entries, done), count: () => redis.xlen(KEY) }
}
