import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import kafkajs from 'kafkajs'
import {
  assign,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../../src/log/kafka/assignment.ts'

const partitionNumbers = fc.uniqueArray(fc.nat({ max: 255 }), { maxLength: 40 })
const topics = fc.stringMatching(/^[a-z.]{1,20}$/)

const members = fc
  .uniqueArray(fc.stringMatching(/^[a-z]{1,4}$/), { minLength: 1, maxLength: 8 })
  .chain((instances) =>
    fc.tuple(...instances.map((instance) => partitionNumbers.map((owned) => ({ instance, owned })))),
  )

test('every partition has one owner, and shares differ by one at the most', () => {
  fc.assert(
    fc.property(members, fc.integer({ min: 0, max: 256 }), (candidates, partitions) => {
      const assigned = assign(
        candidates.map(({ instance, owned }) => ({ id: `id-${instance}`, instance, owned })),
        partitions,
      )
      const all = [...assigned.values()].flat().sort((a, b) => a - b)
      assert.deepEqual(all, [...Array(partitions).keys()])
      const sizes = [...assigned.values()].map(({ length }) => length)
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
    }),
  )
})

test('a member that comes takes from the others no more than its share', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 64 }), (count, partitions) => {
      const first = Array.from({ length: count }, (_, i) => ({ id: `${i}`, instance: `m${i}`, owned: [] }))
      const before = assign(first, partitions)
      const after = assign(
        [
          ...first.map((member) => ({ ...member, owned: before.get(member.id)! })),
          { id: 'new', instance: 'm', owned: [] },
        ],
        partitions,
      )
      for (const { id } of first) {
        assert.ok(after.get(id)!.every((partition) => before.get(id)!.includes(partition)))
      }
    }),
  )
})

test('what members say and are given is as other consumers of Kafka write it', () => {
  const { AssignerProtocol } = kafkajs
  fc.assert(
    fc.property(topics, partitionNumbers, (topic, partitions) => {
      const subscription = encodeSubscription(topic, partitions)
      assert.deepEqual(AssignerProtocol.MemberMetadata.decode(subscription)!.topics, [topic])
      assert.deepEqual(decodeSubscription(subscription, topic), partitions)
      const given = { partitions, leader: 'höst-0' }
      const assignment = encodeAssignment(topic, given)
      assert.deepEqual(
        { ...AssignerProtocol.MemberAssignment.decode(assignment)!.assignment },
        { [topic]: partitions },
      )
      assert.deepEqual(decodeAssignment(assignment, topic), given)
    }),
  )
})

test('what others say is taken for nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      assert.ok(Array.isArray(decodeSubscription(Buffer.from(bytes), 'topic')))
      assert.ok(Array.isArray(decodeAssignment(Buffer.from(bytes), 'topic').partitions))
    }),
  )
})
