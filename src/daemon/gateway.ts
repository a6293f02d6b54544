// The role that only answers: queries and status, from the results stores. It opens no log.

import { declaredDurability } from '../log/open.ts'
import { DataPort } from './http.ts'
import type { Role, RoleParts } from './role.ts'

export async function gateway(parts: RoleParts): Promise<Role> {
  const port = await DataPort.open(parts)
  const { kind } = parts.config.log
  await port.listen({ kind, durability: declaredDurability(kind) }, { publish: false })
  return {
    async drain(leisure) {
      if (leisure !== undefined) {
        await port.leave(leisure)
        await port.unused(() => 0, leisure)
      }
      port.stopListening()
      await port.close()
    },
  }
}
