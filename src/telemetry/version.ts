// The version of this package.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** From the package.json above this file, wherever it was built to. */
export function version(): string {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version
}
