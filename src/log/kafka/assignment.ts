// Who gets which partitions: worked out by one member of the group, for all. Written as Kafka's own consumers write it,
// so that its tools show it.
//
//   what a member says: i16 version, i32 topics, for each i16 length and name, i32 length and user data
//   what it is given:   i16 version, i32 topics, for each i16 length, name, i32 partitions, i32 each, i32 length and
//                       user data: the name of who worked it out
//
// All big endian. The user data are the partitions that the member has, i32 each: they stay where they are as far as
// shares allow.

export interface Candidate {
  id: string
  instance: string
  owned: number[]
}

/** Shares that differ by one at the most. */
export function assign(candidates: Candidate[], partitions: number): Map<string, number[]> {
  const free = new Set(Array(partitions).keys())
  const members = [...candidates]
    .sort((a, b) => (a.instance < b.instance ? -1 : 1))
    .map(({ id, owned }) => ({ id, kept: owned.filter((partition) => free.delete(partition)) }))
  // Those that have more keep more: fewer partitions move.
  members.sort((a, b) => b.kept.length - a.kept.length)
  const share = Math.floor(partitions / members.length)
  const larger = partitions % members.length
  const shares = members.map((_, i) => (i < larger ? share + 1 : share))
  for (const [i, { kept }] of members.entries()) {
    for (const partition of kept.splice(shares[i])) free.add(partition)
  }
  const left = [...free].sort((a, b) => a - b)
  for (const [i, { kept }] of members.entries()) kept.push(...left.splice(0, shares[i] - kept.length))
  return new Map(members.map(({ id, kept }) => [id, kept.sort((a, b) => a - b)]))
}

export function encodeSubscription(topic: string, owned: Iterable<number>): Buffer {
  const data = numbers([...owned])
  return Buffer.concat([head(topic), int32(data.length), data])
}

/** The partitions that a member says it has. Nothing where it is not one of ours. */
export function decodeSubscription(bytes: Buffer, topic: string): number[] {
  const at = head(topic).length
  if (bytes.length < at + 4 || !bytes.subarray(2, at).equals(head(topic).subarray(2))) return []
  return readNumbers(bytes, at + 4, Math.max(0, bytes.readInt32BE(at)) / 4)
}

/** `leader`: who worked it out. */
export interface Assignment {
  partitions: number[]
  leader: string
}

export function encodeAssignment(topic: string, { partitions, leader }: Assignment): Buffer {
  const name = Buffer.from(leader)
  return Buffer.concat([head(topic), int32(partitions.length), numbers(partitions), int32(name.length), name])
}

export function decodeAssignment(bytes: Buffer, topic: string): Assignment {
  const at = head(topic).length
  if (bytes.length < at + 4 || !bytes.subarray(2, at).equals(head(topic).subarray(2))) {
    return { partitions: [], leader: '' }
  }
  const partitions = readNumbers(bytes, at + 4, bytes.readInt32BE(at))
  return { partitions, leader: bytes.toString('utf8', at + 8 + 4 * partitions.length) }
}

/** Version 0, and one topic. */
function head(topic: string): Buffer {
  const name = Buffer.from(topic)
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(1, 2)
  bytes.writeInt16BE(name.length, 6)
  return Buffer.concat([bytes, name])
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function numbers(values: number[]): Buffer {
  return Buffer.concat(values.map(int32))
}

function readNumbers(bytes: Buffer, from: number, count: number): number[] {
  return Array.from({ length: Math.min(count, (bytes.length - from) / 4) }, (_, i) =>
    bytes.readInt32BE(from + 4 * i),
  )
}
