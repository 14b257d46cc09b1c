// Modification versions for WATCH: which record of the log changed a key last. A version is
//   ((index mod 2^32) * 2^16 + record) * 2 + absent      < 2^49, compared for equality only
// An absent key has no record to hold its version; 4096 buckets by hash hold one for it. A bucket changes when a key
// of it comes into being, when a key that has (or had, or gets) a deadline is changed, and when one without a deadline
// is removed. So
// a watched absent key that was made and is gone again has another version, while the deletion of a key that was
// already past its deadline when it was watched changes nothing, as in Redis. Keys of one bucket share the version,
// which can only abort a WATCH needlessly, and on every node alike. FLUSHDB and SWAPDB leave the buckets alone.
import { assert } from '../base/assert.ts';
import { BATCH_RECORDS_MAX } from '../base/limits.ts';

/** Of absent keys. */
export const VERSION_BUCKETS = 4096;
const BUCKETS = VERSION_BUCKETS;
const RECORDS = 0x1_0000;
const ABSENT = 1;

assert(BATCH_RECORDS_MAX < RECORDS, 'the number of a record in its entry has 16 bits');

/**
 * The version as if all that were made up to entry `settledIndex` were one: what a snapshot leaves of them. `nowIndex` is an entry
 * not before the version's own, and less than 2^32 after it.
 */
export function settledVersion(version: number, nowIndex: number, settledIndex: number): number {
  const age = (nowIndex - Math.floor(version / (RECORDS * 2))) >>> 0;
  return age < nowIndex - settledIndex ? version : version % 2;
}

export class Versions {
  /** Index of the log record being applied, modulo 2^32, and its number in the entry. */
  index = 0;
  record = 0;
  readonly #buckets = new Float64Array(BUCKETS).fill(ABSENT);

  begin(index: number, record: number): void {
    assert(record >= 0 && record < RECORDS, () => `record number ${record} has 16 bits`);
    this.index = index >>> 0;
    this.record = record;
  }

  /** A key of this hash may have come into being, or will be absent with other history than before. */
  stampAbsent(hash: number, database: number): void {
    this.#buckets[(hash ^ database) & (BUCKETS - 1)] = (this.index * RECORDS + this.record) * 2 + ABSENT;
  }

  ofAbsent(hash: number, database: number): number {
    return this.#buckets[(hash ^ database) & (BUCKETS - 1)]!;
  }

  ofBucket(bucket: number): number {
    return this.#buckets[bucket]!;
  }

  setBucket(bucket: number, version: number): void {
    this.#buckets[bucket] = version;
  }

  ofRecord(index: number, record: number): number {
    return (index * RECORDS + record) * 2;
  }
}
