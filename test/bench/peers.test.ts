import assert from 'node:assert/strict'
import { test } from 'node:test'
import { millrace } from '#proto'
import { bodies } from '../../bench/events.ts'
import { entriesOf } from '../../bench/peers/entries.ts'
import { Group } from '../../bench/peers/store.ts'

test('a peer is given each event of a frame, and nothing else', () => {
  const [body] = bodies(100, 1000, 120)
  const events = millrace.v1.Frame.decode(body).events
  const decoded = entriesOf(body).map((entry) => millrace.v1.Event.decode(entry))
  assert.equal(decoded.length, 100)
  assert.deepEqual(decoded, events)
})

test('requests that wait go with one commit, and none is answered before its own', async () => {
  const commits: { entries: string[]; settle: () => void }[] = []
  const group = new Group((entries) => {
    return new Promise<void>((settle) => commits.push({ entries: entries.map(String), settle }))
  })
  const answered: string[] = []
  const add = (name: string) => group.add([Buffer.from(name)], () => answered.push(name))
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  add('a')
  add('b')
  await turn()
  add('c')
  add('d')
  await turn()
  assert.deepEqual(
    commits.map(({ entries }) => entries),
    [['a', 'b']],
  )
  assert.deepEqual(answered, [])
  commits[0].settle()
  await turn()
  assert.deepEqual(
    commits.map(({ entries }) => entries),
    [
      ['a', 'b'],
      ['c', 'd'],
    ],
  )
  assert.deepEqual(answered, ['a', 'b'])
  commits[1].settle()
  await turn()
  add('e')
  await turn()
  assert.deepEqual(answered, ['a', 'b', 'c', 'd'])
  assert.deepEqual(commits[2].entries, ['e'])
})

test('a commit that fails is told to each request in it, and the next ones go on', async () => {
  let fails = true
  const group = new Group(async () => {
    if (fails) throw new Error('disk full')
  })
  const add = () =>
    new Promise<string | undefined>((resolve) => group.add([], (error) => resolve(error?.message)))
  assert.deepEqual(await Promise.all([add(), add()]), ['disk full', 'disk full'])
  fails = false
  assert.equal(await add(), undefined)
})
