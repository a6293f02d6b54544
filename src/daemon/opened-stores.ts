// The writable stores of this process, by partition: an LMDB environment is opened once in a process.

import type { Store } from '../results/store.ts'

export const openedStores = new Map<number, Store>()
