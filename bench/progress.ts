// What is being measured, on a terminal only.

/** Replaces what was told before; an empty text clears it. */
export function tell(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}
