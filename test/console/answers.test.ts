// The page loads nothing of the daemon and its project compiles no file of it, so it has words of its own for what it is
// told. The compiler holds them to those of the daemon and its client here.

import { test } from 'node:test'
import type * as api from '../../src/api/live.ts'
import type * as client from '../../src/client/answers.ts'
import type * as page from '../../src/console/answers.ts'

interface Told {
  sample: api.Sample
  measure: client.Measure
  rows: client.Page
  letters: client.DeadLetterPage
  letter: client.DeadLetter
  outcome: client.LetterOutcome
}

interface Understood {
  sample: page.Sample
  measure: page.Measure
  rows: page.Rows
  letters: page.Letters
  letter: page.WholeLetter
  outcome: page.Outcome
}

test('whatever the daemon tells is what the page takes it for', () => {
  // This compiles, or else the page is wrong.
  const understood = (told: Told): Understood => told
  void understood
})
