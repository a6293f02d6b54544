// The console: each part of the page by itself, all fed by what the daemon says of itself.

import { openDoor } from './door.ts'
import { lettersPanel } from './letters.ts'
import { followLive } from './live.ts'
import { measuresPanel } from './measures.ts'
import { processTable } from './processes.ts'
import { profilePanel } from './profile.ts'
import { tapPanel } from './tap.ts'

openDoor()
const readers = [processTable(), lettersPanel()]
followLive((sample) => {
  for (const read of readers) read(sample)
})
tapPanel()
void profilePanel()
measuresPanel()
