// Part of `npm run build:test`, which compiles only what has changed: takes away what was made of sources that are gone.

import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const build = join(import.meta.dirname, '..')
const root = join(build, '..')

for (const path of readdirSync(build, { recursive: true, encoding: 'utf8' })) {
  const source = path.replace(/\.js(\.map)?$/, '.ts')
  if (source !== path && !existsSync(join(root, source))) rmSync(join(build, path))
}
