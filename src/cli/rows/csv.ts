// CSV with a header row.

import { Readable } from 'node:stream'
import { type CsvError, parse } from 'csv-parse'
import { type Batch, type BatchSize, InputError } from './batch.ts'
import { findColumns } from './columns.ts'
import { columnsOf, type Mapping, RowEncoder } from './encoder.ts'

/** A record, and the line that it ends on. */
type Row = [fields: string[], line: number]

/** `totalBytes`: of the whole input, if known. Throws UsageError for a column that there is not. */
export async function* csvBatches(
  input: AsyncIterable<Buffer>,
  mapping: Mapping,
  size: BatchSize,
  totalBytes: number | undefined,
): AsyncGenerator<Batch> {
  let read = 0
  const counted = async function* () {
    for await (const chunk of input) {
      read += chunk.length
      yield chunk
    }
  }
  const parser = parse({
    bom: true,
    skip_empty_lines: true,
    on_record: (fields: string[], { lines }: { lines: number }): Row => [fields, lines],
  } as never)
  const encoder = new RowEncoder(mapping)
  let places: (number | undefined)[] | undefined
  let values: unknown[] = []
  let numbers: number[] = []

  const take = (): Batch => {
    const { events } = encoder
    const fraction = totalBytes ? Math.min(1, read / totalBytes) : undefined
    const bytes = encoder.take()
    const batch: Batch = {
      bytes,
      events,
      type: 'application/x-protobuf',
      unit: 'line',
      from: numbers[0],
      to: numbers[numbers.length - 1],
      numbers,
      fraction,
    }
    numbers = []
    return batch
  }

  const source = Readable.from(counted())
  source.on('error', (error) => parser.destroy(error))
  try {
    for await (const [fields, line] of source.pipe(parser) as AsyncIterable<Row>) {
      if (places === undefined) {
        places = findColumns(columnsOf(mapping), fields)
        values = new Array(places.length)
        continue
      }
      for (let i = 0; i < places.length; i++)
        values[i] = places[i] === undefined ? undefined : fields[places[i]!]
      try {
        encoder.add(values)
      } catch (error) {
        throw new InputError(`line ${line}: ${(error as Error).message}`)
      }
      numbers.push(line)
      if (encoder.events >= size.events || encoder.bytes >= size.bytes) yield take()
    }
  } catch (error) {
    if ((error as CsvError).code?.startsWith('CSV_')) throw new InputError((error as Error).message)
    throw error
  } finally {
    source.destroy()
    parser.destroy()
  }
  if (encoder.events > 0) yield take()
}
