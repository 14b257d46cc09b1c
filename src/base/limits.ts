// Every queue, loop and message has its limit named here; relations between limits are asserted at load.
// Units are the last word of a name.
import { assert } from './assert.ts';

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** A log entry closes when its records reach this many bytes; one record may exceed it alone. */
export const BATCH_TARGET_BYTES = 256 * KiB;
/** The largest log entry: header and records. The log store cuts it into parts (docs/decisions/0001). */
export const ENTRY_BYTES_MAX = 640 * MiB;
/** The largest record: envelope and RESP bytes of one command or of one EXEC. */
export const RECORD_BYTES_MAX = 600 * MiB;
/** Records in one entry; the number of a record in its entry is part of a key's modification version (16 bits). */
export const BATCH_RECORDS_MAX = 0xffff;
/** Entry bytes that one append message to a peer carries, unless its first entry alone is larger. */
export const APPEND_MESSAGE_BYTES_MAX = 1 * MiB;
/** Bytes of entries on their way to one follower before the leader waits for an acknowledgement. */
export const INFLIGHT_BYTES_MAX = 16 * MiB;
/** Append messages on their way to one follower. */
export const INFLIGHT_MESSAGES_MAX = 256;
/** A peer message is cut into chunks of this size, so that a heartbeat never waits behind a big entry. */
export const PEER_CHUNK_BYTES_MAX = 1 * MiB;
/** The largest peer message, put together again: one append with one largest entry, and its head. */
export const PEER_MESSAGE_BYTES_MAX = ENTRY_BYTES_MAX + 1 * MiB;
/** Uncommitted bytes in the leader's log above which proposals are refused. Sockets are no longer read long before that. */
export const UNCOMMITTED_BYTES_MAX = 256 * MiB;
/** Entries' bytes sent from consensus to the engine and not yet applied. */
export const APPLY_WINDOW_BYTES = 64 * MiB;
/** The least that the log on disk may be limited to. Its segments have 16 MiB: the one that is written, the next, and those on their way out. */
export const LOG_DISK_BYTES_MIN = 64 * MiB;
/** Recent entries kept in memory by the consensus thread: what a follower that keeps up may still ask for. Those further behind are read from disk. */
export const LOG_CACHE_BYTES = 16 * MiB;
/** Entry bytes that are read from disk at a time for a follower that is further behind, unless the first entry alone is larger: all others wait meanwhile. */
export const LOG_READ_BYTES_MAX = 128 * KiB;
/** Of the cache of a node without followers: what the snapshotter may still ask for. */
export const LOG_CACHE_ALONE_BYTES = 2 * MiB;
/** A segment of the archived log closes when its entries reach this many bytes; one entry may exceed it alone. */
export const SEGMENT_TARGET_BYTES = 8 * MiB;

/** Largest number of databases (`databases`). */
export const DATABASES_MAX = 1024;
/** Largest element of a multibulk header, as in Redis. */
export const MULTIBULK_COUNT_MAX = 1024 * 1024;
/** Longest inline command or multibulk header line, as in Redis (PROTO_INLINE_MAX_SIZE). */
export const INLINE_BYTES_MAX = 64 * KiB;
/** `proto-max-bulk-len` unless set: Redis's default, and the longest string value. */
export const BULK_BYTES_DEFAULT = 512 * MiB;

assert(RECORD_BYTES_MAX + 64 <= ENTRY_BYTES_MAX, 'a largest record fits in an entry');
assert(BULK_BYTES_DEFAULT < RECORD_BYTES_MAX, 'a longest string fits in a record');
assert(LOG_CACHE_BYTES >= INFLIGHT_BYTES_MAX, 'what is on its way to a follower is in memory');
assert(BATCH_TARGET_BYTES < APPEND_MESSAGE_BYTES_MAX, 'an append carries at least one ordinary batch');
assert(PEER_CHUNK_BYTES_MAX <= PEER_MESSAGE_BYTES_MAX, 'a chunk is no larger than a message');
