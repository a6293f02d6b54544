// grpcurl, a gRPC client in Go that knows nothing of this project: fetched once into .cache, for tests. It needs `go`.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const cache = resolve(import.meta.dirname, '../..', '.cache')
const VERSION = 'v1.9.4'

/** Path of the program. Several processes may ask for it at the same time: each renames a whole file. */
export async function fetchGrpcurl(): Promise<string> {
  const program = join(cache, `grpcurl-${VERSION}`)
  if (existsSync(program)) return program
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, 'grpcurl-fetch-'))
  try {
    const env = { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' }
    await run('go', ['install', `github.com/fullstorydev/grpcurl/cmd/grpcurl@${VERSION}`], { env })
    await rename(join(folder, 'grpcurl'), program)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return program
}
