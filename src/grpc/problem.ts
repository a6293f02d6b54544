// A problem as gRPC tells it: a status code, and in the trailers what programs look at.

import { Metadata, status } from '@grpc/grpc-js'
import { Writer } from 'protobufjs/minimal.js'
import { Problem } from '../errors.ts'

/** By the status over HTTP, which every code of errors.ts has (https://grpc.io/docs/guides/status-codes/). */
const codes: Readonly<Record<number, status>> = {
  400: status.INVALID_ARGUMENT,
  401: status.UNAUTHENTICATED,
  403: status.PERMISSION_DENIED,
  404: status.NOT_FOUND,
  405: status.UNIMPLEMENTED,
  409: status.ABORTED,
  413: status.RESOURCE_EXHAUSTED,
  415: status.UNIMPLEMENTED, // as gRPC has it for a compression that is not understood
  426: status.FAILED_PRECONDITION,
  429: status.RESOURCE_EXHAUSTED,
  500: status.INTERNAL,
  503: status.UNAVAILABLE,
  504: status.DEADLINE_EXCEEDED,
}

/** Longest text of a refusal, characters: it travels in a header. */
const DETAIL_CHARACTERS_MAX = 2000

export interface Refusal {
  code: status
  details: string
  metadata: Metadata
}

export function asProblem(error: Error): Problem {
  return error instanceof Problem ? error : new Problem('internal', 'this call failed', { cause: error })
}

export function grpcCode(problem: Problem): status {
  return codes[problem.status] ?? status.UNKNOWN
}

/** The end of a call that was refused. */
export function refusal(problem: Problem, correlationId: string): Refusal {
  const code = grpcCode(problem)
  const details = headerText(problem.message)
  const metadata = new Metadata()
  metadata.set('millrace-code', problem.code)
  metadata.set('millrace-correlation-id', correlationId)
  metadata.set('grpc-status-details-bin', statusDetails(code, details, problem, correlationId))
  const { retryAfter } = problem
  if (retryAfter !== undefined) {
    metadata.set('retry-after', String(retryAfter))
    metadata.set('grpc-retry-pushback-ms', String(retryAfter * 1000)) // heeded by retry policies of gRPC clients
  }
  return { code, details, metadata }
}

/** What a header can carry: halves of surrogate pairs would break its encoding, which ends the process. */
export function headerText(text: string): string {
  return text.slice(0, DETAIL_CHARACTERS_MAX).replaceAll(/\p{Surrogate}/gu, '\ufffd')
}

/** A google.rpc.Status with an ErrorInfo, and a RetryInfo where trying again helps (google/rpc/error_details.proto). */
function statusDetails(code: status, details: string, problem: Problem, correlationId: string): Buffer {
  const writer = Writer.create().uint32(tag(1)).int32(code).uint32(tag(2, 2)).string(details)
  const reason = problem.code.toUpperCase().replaceAll('-', '_')
  writer.uint32(tag(3, 2)).fork().uint32(tag(1, 2)).string('type.googleapis.com/google.rpc.ErrorInfo')
  writer.uint32(tag(2, 2)).fork().uint32(tag(1, 2)).string(reason).uint32(tag(2, 2)).string('millrace')
  writer.uint32(tag(3, 2)).fork().uint32(tag(1, 2)).string('correlationId').uint32(tag(2, 2))
  writer.string(correlationId).ldelim().ldelim().ldelim()
  if (problem.retryAfter !== undefined) {
    writer.uint32(tag(3, 2)).fork().uint32(tag(1, 2)).string('type.googleapis.com/google.rpc.RetryInfo')
    writer.uint32(tag(2, 2)).fork().uint32(tag(1, 2)).fork().uint32(tag(1)).int64(problem.retryAfter)
    writer.ldelim().ldelim().ldelim()
  }
  return Buffer.from(writer.finish())
}

function tag(field: number, wireType = 0): number {
  return (field << 3) | wireType
}
