// Parquet, column by column and row group by row group, so that only one group's columns are in memory.

import { asyncBufferFromFile, parquetMetadataAsync, parquetScan, parquetSchema } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { PARQUET_ROWS_MAX } from '../../limits.ts'
import { type Batch, type BatchSize, InputError } from './batch.ts'
import { findColumns } from './columns.ts'
import { columnsOf, type Mapping, RowEncoder, Timestamp } from './encoder.ts'

/** Keeps what a Date would round. */
const parsers = {
  timestampFromMilliseconds: (value: bigint) => new Timestamp(value * 1_000_000n),
  timestampFromMicroseconds: (value: bigint) => new Timestamp(value * 1000n),
  timestampFromNanoseconds: (value: bigint) => new Timestamp(value),
}

/** Throws UsageError for a column that there is not, InputError for a file that cannot be read. */
export async function* parquetBatches(
  path: string,
  mapping: Mapping,
  size: BatchSize,
): AsyncGenerator<Batch> {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file).catch((error: Error) => {
    throw new InputError(`this is not a Parquet file that can be read: ${error.message}`)
  })
  const header = parquetSchema(metadata).children.map(({ element }) => element.name)
  const wanted = columnsOf(mapping)
  findColumns(wanted, header)
  const names = [...new Set(wanted.filter((name) => name !== undefined))]
  const encoder = new RowEncoder(mapping)
  const total = Number(metadata.num_rows)
  const values: unknown[] = new Array(wanted.length)
  let from = 1

  const take = (row: number): Batch => {
    const { events } = encoder
    const bytes = encoder.take()
    const batch: Batch = {
      bytes,
      events,
      type: 'application/x-protobuf',
      unit: 'row',
      from,
      to: row,
      fraction: row / total,
    }
    from = row + 1
    return batch
  }

  const scan = await parquetScan({ file, metadata, compressors, parsers, columns: names })
  for (const { rowStart, rowEnd } of scan.ranges.flatMap(cut)) {
    const columns = new Map<string, ArrayLike<unknown>>()
    for (const column of names) {
      try {
        columns.set(column, await scan.readColumn({ column, rowStart, rowEnd }))
      } catch (error) {
        throw new InputError(
          `rows ${rowStart + 1} to ${rowEnd}, column ${column}: ${(error as Error).message}`,
        )
      }
    }
    const inOrder = wanted.map((name) => (name === undefined ? undefined : columns.get(name)))
    for (let row = 0; row < rowEnd - rowStart; row++) {
      for (let i = 0; i < values.length; i++) values[i] = inOrder[i]?.[row]
      try {
        encoder.add(values)
      } catch (error) {
        throw new InputError(`row ${rowStart + row + 1}: ${(error as Error).message}`)
      }
      if (encoder.events >= size.events || encoder.bytes >= size.bytes) yield take(rowStart + row + 1)
    }
  }
  if (encoder.events > 0) yield take(total)
}

interface RowRange {
  readonly rowStart: number
  readonly rowEnd: number
}

/** A range that is too large, in pieces. */
function cut({ rowStart, rowEnd }: RowRange): RowRange[] {
  const pieces: RowRange[] = []
  for (let at = rowStart; at < rowEnd; at += PARQUET_ROWS_MAX) {
    pieces.push({ rowStart: at, rowEnd: Math.min(rowEnd, at + PARQUET_ROWS_MAX) })
  }
  return pieces
}
