import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'

const src = resolve(import.meta.dirname, '../../src')

/** Layers from the top; a file may import from its own folder and from layers below its own. */
const layers = [
  ['index', 'console'],
  ['cli'],
  ['client', 'daemon'],
  ['grpc'],
  ['ingest', 'processor', 'api'],
  ['results'],
  ['log'],
]
const ground = ['config', 'telemetry', 'profile', 'limits', 'errors', 'auth', 'answer', 'frame', 'handler']
/** What applications load beside it: nothing of the daemon. The command line is built on it. */
const client = ['client', 'frame', 'limits', 'errors']
const clientPackages = ['undici', 'ws']

function layerOf(place: string): number {
  const layer = layers.findIndex((names) => names.includes(place))
  if (layer >= 0) return layer
  assert.ok(ground.includes(place), `${place} has no place in the layers`)
  return layers.length
}

function placeOf(file: string): string {
  return relative(src, file).split('/')[0].replace(/\.ts$/, '')
}

test('imports point one way: cli -> daemon -> grpc -> ingest, processor, api -> results -> log -> the ground', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  assert.ok(files.length > 30)
  for (const name of files) {
    const file = join(src, name)
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      const from = placeOf(file)
      const to = placeOf(resolve(dirname(file), path))
      const allowed = from === to || layerOf(from) < layerOf(to) || layerOf(from) === layers.length
      assert.ok(allowed, `${name} imports ${path}: ${from} may not use ${to}`)
    }
  }
})

test('the client needs nothing of the daemon', () => {
  const below = join(src, 'client')
  const files = readdirSync(below).map((name) => join(below, name))
  assert.ok(files.length > 8)
  // What the client takes from the ground, and what that takes.
  for (const place of client.slice(1)) {
    const folder = join(src, place)
    if (existsSync(folder)) files.push(...readdirSync(folder).map((name) => join(folder, name)))
    else files.push(`${folder}.ts`)
  }
  for (const file of files) {
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([\w.:/@-]+)'/g)) {
      const allowed = path.startsWith('.')
        ? client.includes(placeOf(resolve(dirname(file), path)))
        : path.startsWith('node:') || clientPackages.includes(path)
      assert.ok(allowed, `${relative(src, file)} imports ${path}`)
    }
  }
})

test('the page of the console is a program of its own: it needs nothing of the daemon, which never loads it', () => {
  const below = join(src, 'console')
  const files = readdirSync(below).filter((name) => name.endsWith('.ts'))
  assert.ok(files.length > 10)
  for (const name of files) {
    for (const [, path] of readFileSync(join(below, name), 'utf8').matchAll(
      /(?:from|import)\s*\(?\s*'([^'\n,]+)'/g,
    )) {
      // uplot.d.ts names the types of the library that is served beside the page.
      const allowed = /^\.\/[\w-]+\.(ts|js)$/.test(path) || (name === 'uplot.d.ts' && path === 'uplot')
      assert.ok(allowed, `${name} imports ${path}`)
    }
  }
})
