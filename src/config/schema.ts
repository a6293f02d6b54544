// The schema of the configuration: every key with its type, its default, and what is wrong with a value.

import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import {
  ATTRIBUTE_NAME_BYTES_MAX,
  BODY_BYTES_MAX,
  CHUNK_BYTES_MIN,
  ENTRY_BYTES_MAX,
  IN_FLIGHT_BYTES_MAX,
  KEY_PARTS_MAX,
  LISTENERS_MAX,
  MEASURE_NAME_CHARACTERS_MAX,
  RETENTION_MS_MIN,
  SEGMENT_BODIES_MAX,
  SEGMENT_BYTES_TARGET,
  THREADS_MAX,
} from '../limits.ts'
