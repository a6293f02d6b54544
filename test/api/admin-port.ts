// An admin port with some routes, as tests of these have it: without keys, on a free port of loopback.

import { type AdminParts, openAdmin } from '../../src/api/admin.ts'
import { Auth } from '../../src/auth.ts'

export function openRoutes(routes: AdminParts['routes'], parts: Partial<AdminParts> = {}) {
  return openAdmin({
    listen: { host: '127.0.0.1', port: 0 },
    auth: () => new Auth('none', 1),
    correlationId: () => 'made',
    failed: () => {},
    routes,
    ...parts,
  })
}
