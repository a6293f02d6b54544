// grpc.reflection: what is served here, so that grpcurl and others need no proto files.
//
// The descriptors are made from the proto files when they are first asked for.

import { join, resolve } from 'node:path'
import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import type protobuf from 'protobufjs'
import type { IDescriptorProto, IFileDescriptorProto } from 'protobufjs/ext/descriptor.js'
import { grpc } from '#service'

const { ServerReflectionRequest } = grpc.reflection.v1
type Request = grpc.reflection.v1.ServerReflectionRequest.$Properties
type Response = grpc.reflection.v1.ServerReflectionResponse.$Properties

const protos = resolve(import.meta.dirname, '../../proto')
const FILES = [
  'millrace/v1/service.proto',
  'grpc/health/v1/health.proto',
  'grpc/reflection/v1/reflection.proto',
]
const TIMESTAMP = 'google/protobuf/timestamp.proto'

/** One file for each package. */
interface Descriptors {
  /** Encoded, by file name, with those that it imports behind it. */
  files: Map<string, Uint8Array[]>
  /** File names by what they declare: services, methods, messages, fields. */
  symbols: Map<string, string>
}

let made: Promise<Descriptors> | undefined

/** Answers each question of the stream. `services`: the full names of those that are served. */
export function reflect(services: readonly string[]) {
  return (call: ServerDuplexStream<Buffer, Response>): void => {
    const failed = (error: Error) => {
      call.emit('error', { code: status.INVALID_ARGUMENT, details: error.message })
    }
    // One question at a time: the next one is read when this one's answer is on its way.
    const answer = async (bytes: Buffer) => {
      call.pause()
      const answered = await answerTo(ServerReflectionRequest.decode(bytes), services)
      if (call.write(answered)) call.resume()
      else call.once('drain', () => call.resume())
    }
    call.on('data', (bytes: Buffer) => void answer(bytes).catch(failed))
    call.on('end', () => call.end())
  }
}

async function answerTo(request: Request, services: readonly string[]): Promise<Response> {
  const base = { validHost: request.host ?? '', originalRequest: request }
  if (request.listServices != null) {
    return { ...base, listServicesResponse: { service: services.map((name) => ({ name })) } }
  }
  made ??= makeDescriptors()
  const { files, symbols } = await made
  const { fileByFilename, fileContainingSymbol } = request
  const file =
    fileByFilename ?? (fileContainingSymbol == null ? undefined : symbols.get(fileContainingSymbol))
  const fileDescriptorProto = file === undefined ? undefined : files.get(file)
  if (fileDescriptorProto !== undefined) return { ...base, fileDescriptorResponse: { fileDescriptorProto } }
  const errorMessage = 'nothing of this name is served here'
  return { ...base, errorResponse: { errorCode: status.NOT_FOUND, errorMessage } }
}

async function makeDescriptors(): Promise<Descriptors> {
  const { default: library } = await import('protobufjs')
  const { FileDescriptorProto } = (await import('protobufjs/ext/descriptor.js')).default
  const root: protobuf.Root = new library.Root()
  root.resolvePath = (_, target) => (target.startsWith('google/') ? target : join(protos, target))
  await root.load(FILES)
  root.resolveAll()
  const { file = [] } = root.toDescriptor('proto3')
  const files = new Map<string, Uint8Array[]>()
  const symbols = new Map<string, string>()
  for (const one of file) {
    // The library makes a file of each package, and leaves out who imports whom.
    if (one.package === 'google.protobuf') one.name = TIMESTAMP
    else if (one.package === 'millrace.v1') one.dependency = [TIMESTAMP]
    for (const message of one.messageType ?? []) nameMapEntries(message)
    files.set(one.name!, [FileDescriptorProto.encode(one).finish()])
    for (const name of namesIn(one)) symbols.set(name, one.name!)
  }
  for (const one of file) {
    for (const name of one.dependency ?? []) files.get(one.name!)!.push(...files.get(name)!)
  }
  return { files, symbols }
}

/** The type of a map's entries has the name of its field, in capitals, and `Entry` (descriptor.proto, map_entry). */
function nameMapEntries(message: IDescriptorProto): void {
  for (const nested of message.nestedType ?? []) {
    if (!nested.options?.mapEntry) {
      nameMapEntries(nested)
      continue
    }
    const field = message.field!.find(({ typeName }) => typeName?.split('.').at(-1) === nested.name)!
    const words = field.name!.split('_').map((word) => word[0].toUpperCase() + word.slice(1))
    nested.name = `${words.join('')}Entry`
    field.typeName = nested.name
  }
}

function namesIn(file: IFileDescriptorProto): string[] {
  const names: string[] = []
  const ofMessage = (message: IDescriptorProto, scope: string) => {
    const name = `${scope}.${message.name}`
    names.push(name, ...(message.field ?? []).map((field) => `${name}.${field.name}`))
    for (const inner of message.enumType ?? []) names.push(`${name}.${inner.name}`)
    for (const inner of message.nestedType ?? []) ofMessage(inner, name)
  }
  for (const message of file.messageType ?? []) ofMessage(message, file.package!)
  for (const service of file.service ?? []) {
    const name = `${file.package}.${service.name}`
    names.push(name, ...(service.method ?? []).map((method) => `${name}.${method.name}`))
  }
  return names
}
