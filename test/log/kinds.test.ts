// The kinds of log that need nothing but this machine, held to the contract.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { segmentBytesMax } from '../../src/config/log-size.ts'
import { MEMORY_LOG_BYTES_MAX } from '../../src/limits.ts'
import { openLocalReader, openLocalWriter } from '../../src/log/open.ts'
import { conformance, type LogUnderTest } from './conformance.ts'

const MAX_BYTES = 160 * 2 ** 20

async function setUp(t: TestContext, kind: Config['log']['kind']): Promise<LogUnderTest> {
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-log-'))
  t.after(() => rm(dataDir, { recursive: true, force: true }))
  const sets = [`dataDir=${dataDir}`, `log.kind=${kind}`, `log.retention.maxBytes=${MAX_BYTES}`]
  const { config } = loadConfig({ env: {}, sets })
  const hooks = {
    onDamage: () => assert.fail('nothing is damaged'),
    onError: (error: Error) => assert.fail(error),
  }
  return {
    lanes: 'writers',
    openWriter: () => openLocalWriter(config, 0),
    openReader: () => openLocalReader(config, 0, hooks),
    segmentBytesMax: segmentBytesMax(config.http.maxBody),
    bytesMax: Math.max(MAX_BYTES, MEMORY_LOG_BYTES_MAX),
  }
}

conformance('embedded', (t) => setUp(t, 'embedded'))
conformance('memory', (t) => setUp(t, 'memory'))
