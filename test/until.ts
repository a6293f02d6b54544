// Waits for what happens elsewhere: in another process, at a socket, in the file system.

/** The true clock, also where a test turns its own. */
const { setTimeout } = globalThis
const LOOK_MS = 5

/** Looks again and again until it holds; `what` is said when it does not within `mostMs`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what = String(condition),
  mostMs = 120_000,
): Promise<void> {
  const deadline = performance.now() + mostMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${mostMs} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}
