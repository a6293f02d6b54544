// comparison.md: a part that is measured, between two marks, and a part that is written by hand around it.

export const BEGIN = '<!-- measured: what stands from here to the end mark is written by bench:compare -->'
export const END = '<!-- measured: end -->'

const NEW = `# Comparison\n\n${BEGIN}\n${END}\n\n## The changes one by one\n\nWritten by hand; a rerun leaves it alone.\n`

/**
 * The page with `measured` as its measured part. `before`: as it was, or undefined where there is none yet. Throws where
 * the marks are gone, rather than guess what may be overwritten.
 */
export function withMeasured(before: string | undefined, measured: string): string {
  const page = before ?? NEW
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (from < 0 || to < from)
    throw new Error(`the marks of the measured part are gone; put back\n${BEGIN}\n${END}`)
  return `${page.slice(0, from)}${BEGIN}\n\n${measured}\n\n${page.slice(to)}`
}
