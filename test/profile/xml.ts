// Whether a text is well-formed XML, as far as a drawing of ours goes: tags that close, attributes that are quoted, and
// nothing that would have to be escaped.

import assert from 'node:assert/strict'

export function wellFormed(text: string): void {
  const open: string[] = []
  const attributes = /(?:\s+[\w:-]+="[^"<&]*(?:&(?:#\d+|amp|lt|gt|quot);[^"<&]*)*")*/.source
  const token = new RegExp(`<(/?)([\\w:-]+)(${attributes})\\s*(/?)>|([^<]+)|(<)`, 'gy')
  let end = 0
  for (const [whole, closes, name, , empty, between, stray] of text.matchAll(token)) {
    end += whole.length
    assert.equal(stray, undefined, `a stray < at ${end}: ${text.slice(end - 1, end + 80)}`)
    if (between !== undefined) {
      assert.ok(!/&(?!(?:#\d+|amp|lt|gt|quot);)/.test(between), `a stray & in ${between}`)
      assert.ok(open.length > 0 || between.trim() === '', `text outside: ${between}`)
    } else if (closes === '/') assert.equal(open.pop(), name)
    else if (empty !== '/') open.push(name)
  }
  assert.equal(end, text.length)
  assert.deepEqual(open, [])
}
