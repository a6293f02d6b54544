import assert from 'node:assert/strict'
import { test } from 'node:test'
import { metricsPage } from '../../scripts/metrics-page.ts'

test('docs/metrics.md says what the code does (npm run docs:metrics)', async () => {
  const { is, shouldBe } = await metricsPage()
  assert.equal(is, shouldBe)
})
