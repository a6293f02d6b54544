// Any character for strings of tests. As fc.string's unit 'binary', which takes a second to make a table of them all.

import fc from 'fast-check'

const SURROGATES = 0xd800
const AFTER_SURROGATES = 0xe000
const GAP = AFTER_SURROGATES - SURROGATES

/** Any code point that can stand alone. */
export const anyCharacter = fc.nat(0x10ffff - GAP).map(
  (n) => String.fromCodePoint(n < SURROGATES ? n : n + GAP),
  // Lets the strings that are known for trouble be among those made of it.
  (text) => {
    const [one, ...more] = [...String(text)]
    const point = one?.codePointAt(0) ?? SURROGATES
    if (more.length > 0 || (point >= SURROGATES && point < AFTER_SURROGATES)) throw new Error('no character')
    return point < SURROGATES ? point : point - GAP
  },
)
