// The roles that a process can take. A process loads the code of its own role only: what the others import costs each
// start half a second of processor time.

import type { RoleName } from './link.ts'
import type { Role, RoleParts } from './role.ts'

const roles: Record<RoleName, () => Promise<(parts: RoleParts) => Promise<Role>>> = {
  listener: async () => (await import('./listener.ts')).listener,
  processor: async () => (await import('./processor.ts')).processor,
  gateway: async () => (await import('./gateway.ts')).gateway,
}

export async function startRole(role: RoleName, parts: RoleParts): Promise<Role> {
  const begin = await roles[role]()
  return begin(parts)
}
