// The thread that writes the SQLite database.

import { parentPort, workerData } from 'node:worker_threads'
import { type Batch, openDatabase, type Work } from './sqlite.ts'
import { openSums } from './sums.ts'

/** Rows that one statement inserts: measured at 1.5 times the rows a second of a statement for each. */
const ROWS = 50

const { file, sums: wanted } = workerData as Work
const database = openDatabase(file)
database.pragma('journal_mode = WAL')
database.pragma('synchronous = FULL') // the log is flushed at each commit
database.exec('create table events (id integer primary key, event blob not null)')
const one = database.prepare('insert into events (event) values (?)')
const many = database.prepare(`insert into events (event) values ${Array(ROWS).fill('(?)').join(', ')}`)
const sums = wanted ? openSums(database) : undefined
const commit = database.transaction((entries) => {
  let at = 0
  for (; at + ROWS <= entries.length; at += ROWS) many.run(entries.slice(at, at + ROWS))
  for (; at < entries.length; at++) one.run(entries[at])
  sums?.add(entries)
})

parentPort!.on('message', ({ bytes, lengths }: Batch) => {
  let at = 0
  const entries = Array.from(new Uint32Array(lengths), (length) => {
    at += length
    return Buffer.from(bytes, at - length, length)
  })
  let failed: unknown
  try {
    commit(entries)
  } catch (error) {
    failed = error
  }
  parentPort!.postMessage(failed)
})
