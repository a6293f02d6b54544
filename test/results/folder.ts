// What a test leaves behind is cleared away when it is over, also when it failed: the last made first.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

const undone = new WeakMap<TestContext, (() => unknown)[]>()

export function atEnd(t: TestContext, undo: () => unknown): void {
  const undos = undone.get(t)
  if (undos !== undefined) {
    undos.unshift(undo)
    return
  }
  const first = [undo]
  undone.set(t, first)
  t.after(async () => {
    for (const each of first) await each()
  })
}

/** A folder for a test's files. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-results-'))
  atEnd(t, () => rmSync(path, { recursive: true, force: true }))
  return path
}
