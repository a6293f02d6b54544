// The gRPC server: its services, its settings, and its end.

import { readFile } from 'node:fs/promises'
import {
  type MethodDefinition,
  Server,
  ServerCredentials,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { Writer } from 'protobufjs/minimal.js'
import { grpc, millrace } from '#service'
import type { Listen } from '../config/config.ts'
import * as limits from '../limits.ts'
import { type CallParts, Calls } from './calls.ts'
import { Health } from './health.ts'
import { type PublishParts, publish } from './publish.ts'
import { PublishStreams } from './publish-stream.ts'
import { type QueryParts, queryHandlers } from './query.ts'
import { reflect } from './reflection.ts'
import { TapCalls, type TapParts } from './tap.ts'

export interface ServerParts
  extends CallParts,
    Omit<PublishParts, 'calls'>,
    Omit<QueryParts, 'calls'>,
    Omit<TapParts, 'calls'> {
  listen: Listen
  tls?: { cert: string; key: string }
}

export interface GrpcServer {
  /** Takes no new calls, and ends those that are open when they have their answers. */
  drain(): Promise<void>
}

/** Rejects where the address cannot be listened on. */
export async function openServer(parts: ServerParts): Promise<GrpcServer> {
  const calls = new Calls(parts)
  const streams = new PublishStreams({ ...parts, calls })
  const taps = new TapCalls({ ...parts, calls })
  const health = new Health(['millrace.v1.Ingest', 'millrace.v1.Query'])
  const server = new Server({
    interceptors: [calls.interceptor],
    'grpc.max_receive_message_length': parts.maxBody,
    'grpc.max_concurrent_streams': limits.GRPC_CONNECTION_CALLS_MAX,
    'grpc.keepalive_time_ms': limits.GRPC_PING_INTERVAL_MS,
    'grpc.keepalive_timeout_ms': limits.GRPC_PING_ANSWER_MS_MAX,
    'grpc.max_connection_age_ms': limits.GRPC_CONNECTION_MS_MAX,
    'grpc.max_connection_age_grace_ms': limits.GRPC_CONNECTION_GRACE_MS,
  })
  const { v1 } = millrace
  const query = queryHandlers({ ...parts, calls })
  add(server, 'millrace.v1.Ingest', {
    Publish: [unary(v1.PublishResponse), publish({ ...parts, calls })],
    PublishStream: [both(v1.PublishAck), streams.handler],
  })
  add(server, 'millrace.v1.Query', {
    Measures: [unary(v1.MeasuresResponse), query.Measures],
    Rows: [unary(v1.RowsResponse), query.Rows],
    Top: [unary(v1.TopResponse), query.Top],
    Status: [unary(v1.StatusResponse), query.Status],
    Tap: [{ ...unary(v1.TapResponse), responseStream: true }, taps.handler],
  })
  add(server, 'grpc.health.v1.Health', {
    Check: [unary(grpc.health.v1.HealthCheckResponse), health.check],
    Watch: [{ ...unary(grpc.health.v1.HealthCheckResponse), responseStream: true }, health.watch],
  })
  const reflection = both(grpc.reflection.v1.ServerReflectionResponse)
  const handler = reflect([
    'millrace.v1.Ingest',
    'millrace.v1.Query',
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
  ])
  for (const version of ['v1', 'v1alpha']) {
    add(server, `grpc.reflection.${version}.ServerReflection`, {
      ServerReflectionInfo: [reflection, handler],
    })
  }
  await bind(server, parts)
  return {
    async drain() {
      health.drain()
      streams.drain()
      taps.drain()
      const overdue = setTimeout(() => server.forceShutdown(), limits.GRPC_DRAIN_MS_MAX)
      await new Promise((resolve) => server.tryShutdown(resolve))
      clearTimeout(overdue)
    },
  }
}

async function bind(server: Server, { listen, tls }: ServerParts): Promise<void> {
  const { host, port } = listen
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [
          { cert_chain: await readFile(tls.cert), private_key: await readFile(tls.key) },
        ])
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`${host.includes(':') ? `[${host}]` : host}:${port}`, credentials, (error) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
}

/** Requests come as the bytes that they are: frames are scanned, the rest is decoded where a mistake can be told of. */
type Shape = Omit<MethodDefinition<Buffer, unknown>, 'path' | 'originalName'>

function unary(response: { encode(message: unknown): Writer }): Shape {
  return {
    requestStream: false,
    responseStream: false,
    requestSerialize: (bytes) => bytes,
    requestDeserialize: (bytes) => bytes,
    responseSerialize: (message) => response.encode(message).finish() as Buffer, // in Node it is one
    responseDeserialize: () => {
      throw new Error('this is the server')
    },
  }
}

function both(response: { encode(message: unknown): Writer }): Shape {
  return { ...unary(response), requestStream: true, responseStream: true }
}

function add(server: Server, service: string, methods: Record<string, [Shape, unknown]>): void {
  const definition: Record<string, MethodDefinition<Buffer, unknown>> = {}
  const handlers: UntypedServiceImplementation = {}
  for (const [name, [shape, handler]] of Object.entries(methods)) {
    definition[name] = { ...shape, path: `/${service}/${name}` }
    handlers[name] = handler as UntypedHandleCall
  }
  server.addService(definition, handlers)
}
