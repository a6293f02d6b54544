// The roles that a process can take.

import { gateway } from './gateway.ts'
import type { RoleName } from './link.ts'
import { listener } from './listener.ts'
import { processor } from './processor.ts'
import type { Role, RoleParts } from './role.ts'

export const roles: Record<RoleName, (parts: RoleParts) => Promise<Role>> = {
  listener,
  processor,
  gateway,
}
