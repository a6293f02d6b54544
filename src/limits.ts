// Every bound in the daemon, with its unit and the reason for its value. Nothing else declares a limit.

const KiB = 1024
const MiB = 1024 * KiB

// --- What a client may send -------------------------------------------------------------------------

/** Largest body by default, bytes (configuration `http.maxBody`). */
export const BODY_BYTES_MAX = 4 * MiB
/** Most events in one body. A body is applied whole or not at all, so it has to fit one task of the pool. */
export const EVENTS_PER_BODY_MAX = 100_000
/** Longest id, source, type, subject, datacontenttype or attribute value, bytes. Keys of results are made of these. */
export const STRING_BYTES_MAX = 1024
/** Longest attribute name, bytes. */
export const ATTRIBUTE_NAME_BYTES_MAX = 64
/** Most attributes of one event. */
export const ATTRIBUTES_PER_EVENT_MAX = 64
/** Deepest unknown field of a frame, in messages and groups; protobuf decoders stop at the same. */
export const FIELD_DEPTH_MAX = 100
/** Longest `millrace-producer`, bytes. */
export const PRODUCER_BYTES_MAX = 128
/** Longest correlation id that is carried through, bytes. */
export const CORRELATION_BYTES_MAX = 128

// --- The listener -------------------------------------------------------------------------------------

/** Bytes of bodies that one listener holds: being received, and waiting for the log. Past it: 429. */
export const IN_FLIGHT_BYTES_MAX = 32 * MiB
/** A segment is handed to the log when it has this many bytes of frames, even while nothing else waits. */
export const SEGMENT_BYTES_TARGET = 1 * MiB
/** What a segment has before its frames, bytes (drawn in log/segment.ts). */
export const SEGMENT_HEADER_BYTES = 64
/** Most that one body takes in a segment beside its frame: its entry in the body table with both names, bytes. */
export const ENTRY_BYTES_MAX = 20 + PRODUCER_BYTES_MAX + CORRELATION_BYTES_MAX
/** Most bodies in one segment: bounds the body table and the time one group commit keeps its answers. */
export const SEGMENT_BODIES_MAX = 8192
/** Memory that a listener keeps for turning JSON into frames, bytes; what one large body needed beyond is freed. */
export const CONVERTED_BYTES_KEPT_MAX = 1 * MiB
/** Memory that a listener keeps for putting events apart by partition, bytes; what one large body needed beyond is freed. */
export const PLACED_BYTES_KEPT_MAX = 1 * MiB

// --- Streams (WebSocket) --------------------------------------------------------------------------------

/** Connections to `/v1/stream` that one listener holds at once. Past it: 429. */
export const STREAMS_MAX = 256
/** Largest message of a stream, bytes, and no more than `http.maxBody`: a larger body gains nothing from a stream. */
export const STREAM_MESSAGE_BYTES_MAX = 512 * KiB
/**
 * A message that announces more than this is not received at all, bytes. Until a message is whole the server holds its
 * beginning where no credit sees it: STREAMS_MAX times this bounds what all of them can hold so, 256 MiB.
 */
export const STREAM_PAYLOAD_BYTES_MAX = 2 * STREAM_MESSAGE_BYTES_MAX
/** Messages of one stream that wait for the log: a byte of memory each. */
export const STREAM_CREDIT_MESSAGES = 4096
/** Bytes of messages of one stream that wait for the log, and the least, however many streams there are. */
export const STREAM_CREDIT_BYTES_MAX = 2 * MiB
export const STREAM_CREDIT_BYTES_MIN = 64 * KiB
/** What all streams of a listener share of IN_FLIGHT_BYTES_MAX, bytes: the rest is for bodies over HTTP. */
export const STREAMS_CREDIT_BYTES = 16 * MiB
/** A stream that neither sends nor answers a ping for so long is cut off, seconds (uWebSockets.js rounds to 4). */
export const STREAM_IDLE_SECONDS_MAX = 32

// --- gRPC -------------------------------------------------------------------------------------------------

/** Calls of Publish that a gateway has open at once. Past it: RESOURCE_EXHAUSTED. */
export const GRPC_PUBLISHES_MAX = 1024
/**
 * The same, by what they can hold, bytes: until a message is whole the library holds its beginning where no limit sees
 * it. Together with the streams' messages this bounds what clients can make the gateway keep.
 */
export const GRPC_RECEIVING_BYTES_MAX = 1024 * MiB
/** Calls of PublishStream that a gateway has open at once. */
export const GRPC_STREAMS_MAX = 64
/** Frames of one stream that wait for the log: a byte of memory each; a power of two. Past it none is read. */
export const GRPC_STREAM_MESSAGES_MAX = 4096
/** Calls of health and reflection that a gateway has open at once. */
export const GRPC_OTHER_CALLS_MAX = 32
/** Largest message of a call that brings no events, bytes: names and keys. */
export const GRPC_QUESTION_BYTES_MAX = 64 * KiB
/** Calls of one connection that are open at once; a client keeps further ones back. */
export const GRPC_CONNECTION_CALLS_MAX = 1024
/** In what time a request has to come to its end, milliseconds. */
export const GRPC_RECEIVE_MS_MAX = 30_000
/** How often a connection is asked whether its other end lives, and how long it may take to say so, milliseconds. */
export const GRPC_PING_INTERVAL_MS = 30_000
export const GRPC_PING_ANSWER_MS_MAX = 20_000
/** Age at which a connection is told to go elsewhere, give or take a tenth, milliseconds: clients spread anew. */
export const GRPC_CONNECTION_MS_MAX = 3_600_000
/** How long the calls on it may then go on, milliseconds. */
export const GRPC_CONNECTION_GRACE_MS = 300_000
/** How long a drain waits for calls that do not end, milliseconds. */
export const GRPC_DRAIN_MS_MAX = 8_000
// --- Taps ---------------------------------------------------------------------------------------------

/** Taps that one listener serves at once: each of them is matched against the events of all listeners. Past it: 429. */
export const TAPS_MAX = 16
/** Events a second that a tap shows when it names no `rate`, and the most it may name: it is for looking, not copying. */
export const TAP_RATE_DEFAULT = 100
export const TAP_RATE_MAX = 1000
/** How often what a tap has found is handed on, milliseconds: soon enough for a person, rare enough to cost nothing. */
export const TAP_INTERVAL_MS = 50
/** Bytes of events that a tap keeps between two such times, in each process. A larger event is not shown. */
export const TAP_WINDOW_BYTES_MAX = 256 * KiB
/** Events a second that a listener looks at for its taps, 40 to 70 ns each: about a twentieth of a core. Others go by. */
export const TAP_WALKED_PER_SECOND_MAX = 1_000_000
/** Batches of one tap on their way to the listener that serves it; past it they are counted as missed. */
export const TAP_BATCHES_MAX = 4
/** How long a tap waits for all listeners to know of it, milliseconds; one that is stalled is not waited for longer. */
export const TAP_OPEN_MS_MAX = 1_000
/** How often a tap that shows nothing says that it is there, milliseconds: proxies cut what is silent for a minute. */
export const TAP_HEARTBEAT_MS = 10_000
/** How often a tap tells at most what it did not show, milliseconds. */
export const TAP_TOLD_MS = 1_000

// --- The embedded log ---------------------------------------------------------------------------------

/** Size of a chunk file, bytes: large enough that rolling is rare, small enough that trimming is fine-grained. */
export const CHUNK_BYTES_MAX = 64 * MiB
/** Smallest chunk, for logs with a small `log.retention.maxBytes`. */
export const CHUNK_BYTES_MIN = 1 * MiB
/** Free bytes on the log's file system below which no new chunk is made and, if none is left, 503 is answered. */
export const FREE_SPACE_BYTES_MIN = 128 * MiB
/** What the reader takes from a chunk at once, bytes. */
export const READ_BYTES_MAX = 1 * MiB

// --- The memory log -----------------------------------------------------------------------------------

/** Bytes that one listener keeps for the processor. Past it: 429. */
export const MEMORY_LOG_BYTES_MAX = 64 * MiB
/** How long a listener that ends waits for the processor to take what is left, milliseconds; below DRAIN_MS_MAX. */
export const MEMORY_CLOSE_MS_MAX = 25_000

// --- Brokers ------------------------------------------------------------------------------------------

/** How long a segment that was sent waits for the broker's word before its clients hear 504, milliseconds. */
export const CONFIRM_MS_MAX = 10_000
/** A broker that has confirmed nothing for this long while something waits counts as away, milliseconds: 503. */
export const STALL_MS_MAX = 2_000
/** First and longest wait before a broker that is away is tried again, milliseconds. */
export const RECONNECT_MS_MIN = 50
export const RECONNECT_MS_MAX = 2_000
/** Bytes of segments that a reader of a broker fetches ahead of the processor, for one partition. */
export const FETCH_BYTES_MAX = 8 * MiB
/** How often a broker's log is trimmed at most, milliseconds. */
export const TRIM_INTERVAL_MS = 1_000
/** After this time without a sign of life a processor's partitions go to others, milliseconds. */
export const OWNER_SILENT_MS_MAX = 6_000

// --- JetStream ----------------------------------------------------------------------------------------

/** How long one attempt to connect and to be let in may take, milliseconds. */
export const CONNECT_MS_MAX = 3_000
/** How long the broker may take to answer a question about a stream or a consumer, milliseconds. */
export const BROKER_REQUEST_MS_MAX = 5_000
/** What a message has beside its segment, bytes: the identity, the checksum and what frames them. */
export const MESSAGE_HEADER_BYTES_MAX = 256
/** Bytes and number of segments that are sent and not yet confirmed; more wait in the listener. */
export const UNCONFIRMED_BYTES_MAX = 16 * MiB
export const UNCONFIRMED_SEGMENTS_MAX = 1024
/** A segment that is not confirmed after this time is sent again, milliseconds. */
export const RESEND_MS = 3_000
/** For how long the broker recognises a segment that is sent again, milliseconds; the ledger does for ever. */
export const DUPLICATE_WINDOW_MS = 300_000
/** Segments that a reader fetches ahead, for one partition: small ones cost more memory than their bytes. */
export const FETCH_SEGMENTS_MAX = 8192
/** The broker forgets a reader that has not asked for this long, milliseconds; it comes again where it stood. */
export const CONSUMER_IDLE_MS_MAX = 60_000

// --- Kafka --------------------------------------------------------------------------------------------

/** How long a Kafka broker may take to answer a request before its connection is given up, milliseconds. */
export const KAFKA_REQUEST_MS_MAX = 5_000
/** How long a Kafka broker keeps a reader's question while there is nothing new, milliseconds: idle readers are quiet. */
export const KAFKA_FETCH_WAIT_MS = 5_000
/** Bytes of segments in one request to Kafka; a larger segment goes alone. More gains nothing, and costs latency. */
export const KAFKA_BATCH_BYTES_MAX = 1 * MiB
/** Most that Kafka adds to one segment: the head of its batch, and headers, bytes. */
export const KAFKA_OVERHEAD_BYTES_MAX = 1024

// --- Two logs -----------------------------------------------------------------------------------------

/** Bytes of segments on their way to a log that the other one has confirmed (`ackWhen: any`); past it: left out. */
export const BEHIND_BYTES_MAX = 32 * MiB
/** How long a listener that already answers counts as starting while a broker is not reached, milliseconds. */
export const BROKER_START_MS_MAX = 5_000
/** How long a log must miss nothing before it is told that it keeps up again, milliseconds. */
export const KEEPING_UP_MS_MIN = 1_000
/** How often at least the log that is not consumed is looked at for what may be trimmed, milliseconds. */
export const WALK_INTERVAL_MS_MAX = 60_000
/** Segments that are looked at there before everything else has its turn. */
export const WALK_SEGMENTS_PER_TURN = 64
/** Segments this much younger were counted, and this one was not: it is in one log only, milliseconds. */
export const OVERDUE_MS = 60_000
/** Segments of one partition that `reconcile` compares in each log: 17 bytes each, twice that while they are read. */
export const RECONCILE_SEGMENTS_MAX = 8_000_000
/** A segment received this long ago is in both logs by now, or will not come by itself, milliseconds. */
export const RECONCILE_RECENT_MS = 60_000
/** How long a broker that answers may give `reconcile` nothing of what it says it has, milliseconds. */
export const RECONCILE_QUIET_MS_MAX = 10_000
/** Segments with the same identity and other bytes that `reconcile` lists, for each partition. */
export const RECONCILE_LISTED_MAX = 10
/** Bytes of segments that `reconcile` has on their way to a log. */
export const RECONCILE_COPY_BYTES_MAX = 8 * MiB

// --- The processor ------------------------------------------------------------------------------------

/** A task is handed to a thread at once when one is idle, and otherwise grows to this many bytes. */
export const TASK_BYTES_TARGET = 512 * KiB
/** Tasks handed out and not yet merged, for each thread of the pool. */
export const TASKS_PER_THREAD_MAX = 3
/** The same for each partition, where many share the threads: one that is folded while the next one fills. */
export const TASKS_PER_PARTITION_MIN = 2
/** Tasks merged and not yet committed, of each partition: bounds what a slow commit lets pile up. */
export const UNCOMMITTED_TASKS_MAX = 64
/**
 * The part of a processor's main thread that writing commits may take, which gives the time from a commit's start to the next
 * one's. While the machine has time to spare results are to be seen soon; when it has not, many events share a commit.
 */
export const COMMIT_SHARE_CALM = 0.5
export const COMMIT_SHARE_BUSY = 0.16
/** That time at least, and at most, milliseconds. */
export const COMMIT_INTERVAL_MS_CALM = 6
export const COMMIT_INTERVAL_MS_BUSY = 10
export const COMMIT_INTERVAL_MS_MAX = 1000
/** Of the machine's processor time, what is idle at least while it counts as having time to spare. */
export const IDLE_SHARE_MIN = 0.1
/** How often that is looked at, milliseconds. */
export const IDLE_SAMPLE_MS = 250
/** Free bytes on the store's file system below which commits wait; lower than the log's, which stops first. */
export const STORE_FREE_BYTES_MIN = 32 * MiB
/** Merged rows of a measure, and buckets of their quantile sketches, from which on those not touched for long are let go. */
export const KEPT_ROWS_MIN = 65_536
export const KEPT_BUCKETS_MIN = 1_048_576
/**
 * Merged rows in memory (about 130 bytes each), buckets of their sketches (12 bytes each), and bytes of their keys. Past any of
 * them rows are put into their places faster than others come, and let go when half can go: there are up to half as many more,
 * and for a moment those that stay twice.
 */
export const MERGED_ROWS_MAX = 2_000_000
export const MERGED_BUCKETS_MAX = 33_554_432
export const MERGED_KEY_BYTES_MAX = 256 * MiB
/** Rows after which a commit takes no more, and that it puts into their places at most: about a second of writing. */
export const COMMITTED_ROWS_MAX = 400_000
export const CHECKPOINT_ROWS_MAX = 200_000
/** Rows of a measure that a commit puts into their places in the store; more of them become a run (results/runs.ts). */
export const ROWS_IN_PLACE_MAX = 4096
/** Runs of a measure after which a checkpoint puts their rows into their places, and in how many commits. */
export const CHECKPOINT_RUNS_MIN = 8
export const CHECKPOINT_COMMITS = 8
/** Rows that it puts there in a commit at least. */
export const CHECKPOINT_ROWS_MIN = 4096
/** Rows that a thread's table keeps room for between tasks; one that grew beyond it for a task shrinks again. */
export const FOLD_ROWS_KEPT_MAX = 65_536

// --- The ledger ---------------------------------------------------------------------------------------

/** How long the segments of a broker's writer are remembered at least, milliseconds, however short maxAge is. */
export const WRITER_MS_MIN = 3_600_000
/** How long it is remembered how far a writer came that has written nothing since, milliseconds. */
export const PROGRESS_MS_MAX = 30 * 86_400_000
/** Producers remembered; past it the one idle for longest is forgotten. */
export const PRODUCERS_MAX = 100_000
/** Intervals remembered for one producer, twice over (ledger.ts): bounds a producer that sends random sequences. */
export const PRODUCER_INTERVALS_MAX = 4096
/** Intervals remembered for all producers together (16 bytes each); past it the idlest producers are forgotten. */
export const LEDGER_INTERVALS_MAX = 4_000_000

// --- The results store --------------------------------------------------------------------------------

/** Processes and threads that read the store at once; LMDB keeps a table of this size. */
export const STORE_READERS_MAX = 1024
/** Processes that wait for the owner of a store to let them open it; more come again. */
export const OPENERS_MAX = 256
/** How long the owner of a store makes no commit for one that opens it, milliseconds: it takes one. */
export const OPENING_MS_MAX = 1_000
/** How long one that opens a store waits for its owner's commit to end: an owner that takes longer is stopped. */
export const OWNER_HOLDS_MS_MAX = 3_000
/** Bytes of key parts in a row's key: LMDB takes keys of up to 1978 bytes, and a hash and a window follow. */
export const KEY_BYTES_MAX = 1800
/** Rows of a run that are put side by side as one value; a row that is longer is one by itself. */
export const RUN_CHUNK_BYTES = 16 * KiB
/** Rows that an owner puts into their places in one commit where the former one left them in runs. */
export const PLACED_ROWS_PER_COMMIT = 50_000
/** And bytes of them. */
export const PLACED_BYTES_PER_COMMIT = 8 * MiB
/** Rows of a measure that is no longer configured, removed in one commit: small, for others wait behind it. */
export const REMOVED_ROWS_PER_COMMIT = 2000

// --- What handlers leave ----------------------------------------------------------------------------------

/** Time that a handler has for one event where it says nothing, and the least and the most it may say, milliseconds. */
export const HANDLER_MS_DEFAULT = 1_000
export const HANDLER_MS_MIN = 10
export const HANDLER_MS_MAX = 10_000
/** Time that the modules of handlers have to load, milliseconds. */
export const HANDLER_LOAD_MS_MAX = 15_000
/** What a handler may emit for one event: to one measure, and as results. More is a slip, and would not fit a task. */
export const EMITS_PER_EVENT_MAX = 10_000
export const RESULTS_PER_EVENT_MAX = 1_000
/** The same in bytes: of all its results together, and of the keys emitted to one measure. */
export const RESULT_BYTES_PER_EVENT_MAX = 8 * MiB
export const EMITTED_KEY_BYTES_PER_EVENT_MAX = 4 * MiB
/** Bytes of results and of emitted rows after which the rest of a task becomes another one: what a thread holds. */
export const TASK_EFFECT_BYTES_TARGET = 4 * MiB
/** The same of all tasks of a partition that are merged and not yet in a commit; past it one is made, and others wait. */
export const UNCOMMITTED_EFFECT_BYTES_MAX = 32 * MiB
/** Reasons for which a handler drops events that are counted each by itself, and the longest, characters. */
export const DROP_REASONS_MAX = 32
export const DROP_REASON_CHARACTERS_MAX = 100
/** Strings of events that a thread keeps decoded, and the longest of these, bytes: 1 MiB of those that come again. */
export const TEXTS_KEPT_MAX = 16_384
export const TEXT_KEPT_BYTES_MAX = 64

/** Longest key that a handler stores a result under, bytes of UTF-8; LMDB takes keys of up to 1978. */
export const RESULT_KEY_BYTES_MAX = 1024
/** Largest result that a handler stores under a key, bytes: results are for reading at once, not for files. */
export const RESULT_BYTES_MAX = 1 * MiB
/** Dead letters that one partition keeps, and bytes of their events; past either the oldest leave. */
export const DEAD_LETTERS_MAX = 10_000
export const DEAD_LETTERS_BYTES_MAX = 64 * MiB
/** Of a reason that is longer the beginning is kept, bytes: it is there to be read. */
export const DEAD_LETTER_REASON_BYTES_MAX = 1024
/** Dead letters of one partition that are in the pool at once to be handled again; the road of new events stays open. */
export const REPLAYS_AT_ONCE_MAX = 2
/** Dead letters of one partition that wait for that. Past it: 429. */
export const REPLAYS_WAITING_MAX = 2_000
/** One that was not begun after this time is refused, milliseconds: whoever asked for it waits DEAD_LETTERS_MS_MAX. */
export const REPLAY_START_MS_MAX = 15_000

// --- Queries ------------------------------------------------------------------------------------------

/** Rows in one answer when the query names no `limit`, and the most it may name. */
export const QUERY_ROWS_DEFAULT = 100
export const QUERY_ROWS_MAX = 10_000
/** Rows a listener reads before it lets other connections have their turn. */
export const QUERY_ROWS_PER_TURN = 1000
/** Queries that one listener runs at once. Past it: 429. */
export const QUERIES_MAX = 32
/** Bytes of handlers' results in one answer, past which the rest is left to the next page; one is always in it. */
export const RESULTS_ANSWER_BYTES_MAX = 4 * MiB
/** Kinds of dead letters, by handler and reason, that one answer counts; those met later are counted together. */
export const DEAD_LETTER_KINDS_MAX = 1_000
/** Dead letters that one request replays or drops at most; the answer says how to go on. */
export const DEAD_LETTERS_PER_REQUEST_MAX = 1_000
/** Of those that could not be replayed, how many the answer says why of. */
export const DEAD_LETTERS_TOLD_MAX = 100
/** Requests that change dead letters, in one listener at once. Past it: 429. */
export const CHANGES_MAX = 8
/** How long a listener waits for the processor to have replayed or dropped them, milliseconds. */
export const DEAD_LETTERS_MS_MAX = 30_000

// --- Profiles -------------------------------------------------------------------------------------------

/** Seconds that a profile takes when it names none, and the most it may name: samples are kept until its end. */
export const PROFILE_SECONDS_DEFAULT = 10
export const PROFILE_SECONDS_MAX = 60
/** The same of a trace, which keeps the order of its samples: some MB a second. */
export const TRACE_SECONDS_DEFAULT = 1
export const TRACE_SECONDS_MAX = 5
/** How long a thread may take to begin or end a profile before it is left out, milliseconds. */
export const PROFILE_THREAD_MS_MAX = 2_000
/** How much longer than the profile a process may take before it is left out, milliseconds. */
export const PROFILE_PATIENCE_MS = 6_000

// --- The admin port -----------------------------------------------------------------------------------

/** Samples of the last ten minutes, one a second, that the primary keeps for whoever looks on: 2 MB. */
export const LIVE_SAMPLES_MAX = 600
export const LIVE_INTERVAL_MS = 1_000
/** Who may look on at once over `/live`. Past it: 429. Each may have one write of samples in its socket's buffer. */
export const LIVE_READERS_MAX = 32
/** How long the socket of one may take nothing of what it was sent, milliseconds: then it is closed, and another one may look on. */
export const LIVE_READER_STALLED_MS_MAX = 30_000

/** Largest body of a request that changes the level of the logs, bytes: it holds two words. */
export const LOG_LEVEL_BODY_BYTES_MAX = 1 * KiB

// --- The console ------------------------------------------------------------------------------------------

/** Requests of the console that the admin port has open to the data port; a tap is one for as long as it runs. Past it: 429. */
export const FORWARDS_MAX = 64
/** How long the data port may send nothing there, milliseconds: longer than a replay may take, and than a tap is silent. */
export const FORWARD_SILENT_MS_MAX = 40_000

// --- The configuration ----------------------------------------------------------------------------------

/** Most listeners, and most threads of the pool: beyond it a number is a slip of the finger, not a machine. */
export const LISTENERS_MAX = 256
export const THREADS_MAX = 256
/** Most partitions: each has an environment of results, and a lane of the log in every listener. */
export const PARTITIONS_MAX = 256
/** Most copies of a stream or topic: JetStream has five at most, and few Kafka clusters more. */
export const BROKER_REPLICAS_MAX = 5
/** Longest name of a measure, characters: it stands in addresses. */
export const MEASURE_NAME_CHARACTERS_MAX = 64
/** Most fields in a measure's `by`. */
export const KEY_PARTS_MAX = 16
/** Most handlers: each event is shown to all of them. */
export const HANDLERS_MAX = 64
/** Most measures that one handler emits to. */
export const HANDLER_MEASURES_MAX = 64
/** Least `pool.heap`, bytes: below it a thread dies of what Node itself needs. */
export const THREAD_HEAP_BYTES_MIN = 32 * MiB
/** Shortest `log.retention.maxAge` and `ledger.producerIdle`, milliseconds: less would forget what is still in use. */
export const RETENTION_MS_MIN = 1_000

// --- Life cycle ---------------------------------------------------------------------------------------

/** From SIGTERM to the end, milliseconds; what is left then is cut off. */
export const DRAIN_MS_MAX = 28_000
/** How long a new worker may take to become ready, and an old one to end, before a reload gives it up, milliseconds. */
export const REPLACE_MS_MAX = 60_000
/** How long a client may take to finish a TCP handshake that it began before new ones went elsewhere, milliseconds. */
export const HANDSHAKE_MS_MAX = 1_000
/** How long a replaced listener waits for connections that send nothing; the server cuts idle ones at 10 s, milliseconds. */
export const CONNECTION_IDLE_MS_MAX = 14_000
/** How long workers whose primary was killed may take to notice, milliseconds. */
export const ORPHAN_MS_MAX = 2_000
/** How long a worker that has failed may take to end by itself, milliseconds. */
export const FAILED_MS_MAX = 2_000
/** Lanes of listeners that are gone whose events are counted as accepted until they are processed: the oldest leave; 200 bytes each. */
export const LANES_GONE_MAX = 1024
/** First and longest wait before a dead worker is started again, milliseconds. */
export const RESTART_MS_MIN = 50
export const RESTART_MS_MAX = 5_000
/** A worker that ends this often within this time, without being killed from outside, is a crash loop. */
export const CRASHES_MAX = 5
export const CRASH_WINDOW_MS = 30_000

// --- Metrics --------------------------------------------------------------------------------------------

/** How often a worker tells its numbers without being asked, milliseconds: what one that is killed loses of its own. */
export const METRICS_INTERVAL_MS = 1_000
/** How long a scrape waits for workers, milliseconds; of those that are silent it shows what they told last. */
export const METRICS_ANSWER_MS_MAX = 250
/** How long a refusal shows as back-pressure, milliseconds: longer than between two looks of whoever watches closely. */
export const BACKPRESSURE_SHOWN_MS = 5_000

// --- The command line -----------------------------------------------------------------------------------

/** Bytes after which `millrace send` closes a body: far below the smallest usual `http.maxBody`, large enough to fly. */
export const SEND_BODY_BYTES_TARGET = 512 * KiB
/** Longest line or event that `millrace send` holds, bytes: no daemon takes a larger body than this. */
export const SEND_PIECE_BYTES_MAX = IN_FLIGHT_BYTES_MAX
/** Rows of a Parquet file that are decoded at once: a row group can be as large as the file. */
export const PARQUET_ROWS_MAX = 500_000
/** Most requests that `millrace send` keeps in flight. */
export const SEND_CONCURRENCY_MAX = 1024
/** Longest run of `millrace bench`, seconds: it fills the log of a daemon with events that nobody needs. */
export const BENCH_SECONDS_MAX = 600
/** Requests of which `millrace bench --trace` keeps all times, to draw one: any of them is as likely as another. */
export const TRACES_KEPT_MAX = 1000

// --- The client library ---------------------------------------------------------------------------------

/** Bytes after which a client closes a frame: half of what a stream takes, so that one more event mostly fits. */
export const CLIENT_BATCH_BYTES = 256 * KiB
/** Longest that a client may let a frame wait for more, milliseconds: beyond it, it looks as if it were lost. */
export const CLIENT_DELAY_MS_MAX = 60_000
/** Calls of `publish` that wait in line for room. Past it: `not-ready`. Each holds its events, and a promise. */
export const CLIENT_CALLS_WAITING_MAX = 65_536
