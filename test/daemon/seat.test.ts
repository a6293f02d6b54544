import assert from 'node:assert/strict'
import { test } from 'node:test'
import { takeSeat } from '../../src/daemon/seat.ts'
import { temporaryFolder } from '../e2e/daemon.ts'

test('seats are taken from the lowest, and one that was left is taken again under its name', async (t) => {
  const folder = await temporaryFolder(t)
  const first = await takeSeat(folder, 4, 0)
  const second = await takeSeat(folder, 4, 0)
  assert.deepEqual([first.number, second.number], [0, 1])
  assert.notEqual(first.name, second.name)
  await first.leave()
  const third = await takeSeat(folder, 4, 0)
  assert.deepEqual([third.number, third.name], [0, first.name])
  await Promise.all([second.leave(), third.leave()])
})

test('where every seat is taken one waits for the first to be left, and not for ever', async (t) => {
  const folder = await temporaryFolder(t)
  const only = await takeSeat(folder, 1, 0)
  await assert.rejects(takeSeat(folder, 1, 0), /every place is taken/)
  const waiting = takeSeat(folder, 1, 10_000)
  await only.leave()
  await (await waiting).leave()
})

test('two data directories never share a name', async (t) => {
  const [a, b] = await Promise.all([temporaryFolder(t), temporaryFolder(t)])
  const seats = await Promise.all([takeSeat(a, 1, 0), takeSeat(b, 1, 0)])
  assert.notEqual(seats[0].name, seats[1].name)
  await Promise.all(seats.map((seat) => seat.leave()))
})

test('processors that start at once agree on the name of their data directory', async (t) => {
  const folder = await temporaryFolder(t)
  const seats = await Promise.all(Array.from({ length: 4 }, () => takeSeat(folder, 4, 5_000)))
  assert.equal(new Set(seats.map(({ name }) => name.split('-')[0])).size, 1)
  assert.deepEqual(seats.map(({ number }) => number).sort(), [0, 1, 2, 3])
  await Promise.all(seats.map((seat) => seat.leave()))
})
