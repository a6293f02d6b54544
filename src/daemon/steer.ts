// Who gets the new connections of a port that several processes listen on.
//
// The kernel spreads them by hash over the sockets of the port (SO_REUSEPORT), and each socket has a queue of its own:
// closing one resets what waits in it, and what is half way through its handshake. So a listener that leaves first has
// all new connections go to the socket that joined last, its successor's, by a program of one instruction that anyone
// may attach (socket(7), SO_ATTACH_REUSEPORT_CBPF); then it accepts what is left, and closes. After that the program
// names a socket that is none, which the kernel takes for no answer and spreads by hash again; the next one that
// listens takes the program away. Node has no call for it: koffi calls the C library.

import { closeSync, existsSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'

const SOL_SOCKET = 1
const SO_ATTACH_REUSEPORT_CBPF = 51
const SO_DETACH_REUSEPORT_BPF = 68
/** Of classic BPF: return a constant. */
const RETURN = 0x06
/** Of /proc/net/tcp. */
const LISTENING = '0A'

/** Has new connections go to the one that listened last. False where that cannot be done. */
export function yieldConnections(port: number): boolean {
  const own = ownSocket(port)
  if (own === undefined) return false
  return setOption(own.fd, SO_ATTACH_REUSEPORT_CBPF, own.sharers - 1)
}

/** Has new connections spread over all again. */
export function shareConnections(port: number): void {
  const own = ownSocket(port)
  // Where no program is attached this fails, as it should.
  if (own !== undefined && own.sharers > 1) setOption(own.fd, SO_DETACH_REUSEPORT_BPF, 0)
}

/** The socket on which this process listens, and how many do on the same address. */
function ownSocket(port: number): { fd: number; sharers: number } | undefined {
  try {
    const files = ['/proc/self/net/tcp', '/proc/self/net/tcp6'].filter(existsSync) // IPv6 may be off
    const listening = files.flatMap((file) => listeners(file, port))
    for (const fd of readdirSync('/proc/self/fd')) {
      const inode = /^socket:\[(\d+)\]$/.exec(link(fd))?.[1]
      const own = listening.find((one) => one.inode === inode)
      if (own === undefined) continue
      return {
        fd: Number(fd),
        sharers: listening.filter(({ address }) => address === own.address).length,
      }
    }
  } catch {} // no such files: another system
  return undefined
}

function listeners(file: string, port: number): { address: string; inode: string }[] {
  return listeningRows(file)
    .map((row) => row.trim().split(/\s+/))
    .filter(([, address]) => Number.parseInt(address.split(':')[1], 16) === port)
    .map((columns) => ({ address: columns[1], inode: columns[9] }))
}

/** They come first; behind them may be ten thousands of connections, which take the kernel a tenth of a second. */
function listeningRows(file: string): string[] {
  const fd = openSync(file, 'r')
  const piece = Buffer.alloc(4096)
  let text = ''
  try {
    for (;;) {
      const bytes = readSync(fd, piece)
      text += piece.toString('latin1', 0, bytes)
      const whole = text.split('\n').slice(1, -1)
      const end = whole.findIndex((row) => row.trim().split(/\s+/)[3] !== LISTENING)
      if (end >= 0 || bytes === 0) return end < 0 ? whole : whole.slice(0, end)
    }
  } finally {
    closeSync(fd)
  }
}

/** Empty for one that is closed by now, such as that of the folder itself. */
function link(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

function setOption(fd: number, option: number, index: number): boolean {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const instruction = koffi.struct({ code: 'uint16', jt: 'uint8', jf: 'uint8', k: 'uint32' })
    const program = koffi.struct({ len: 'uint16', filter: koffi.pointer(instruction) })
    const setsockopt = koffi
      .load('libc.so.6')
      .func('setsockopt', 'int', ['int', 'int', 'int', koffi.pointer(program), 'uint'])
    const filter = [{ code: RETURN, jt: 0, jf: 0, k: index }]
    return setsockopt(fd, SOL_SOCKET, option, { len: filter.length, filter }, koffi.sizeof(program)) === 0
  } catch {
    return false // no library for this system
  }
}
