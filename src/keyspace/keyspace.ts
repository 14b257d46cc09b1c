// The whole keyspace of a node: the numbered databases, what can be asked of a key by its handle, memory accounting and
// the incremental work (freeing what was flushed or removed, defragmentation). Owns all memory under it: a Memory
// given to it is its alone. Values and orders are replicated; access clocks, table layouts and handles are local.
// It has no clock for deadlines: callers judge them by log time.
import { assert } from '../base/assert.ts';
import { DATABASES_MAX } from '../base/limits.ts';
import { Memory } from '../memory/allocator.ts';
import type { PageToucher } from '../memory/page-toucher.ts';
import { SEGMENT_SHIFT } from '../memory/segments.ts';
import { AccessClock, type AccessPolicy } from './access.ts';
import { Database } from './database.ts';
import { Lanes } from './digest.ts';
import { Hashes } from './hashes.ts';
import { Int64 } from '../memory/integer.ts';
import { Internals } from './internals.ts';
import type { ByteSpan, Digest, Handle, ValueType } from './types.ts';
import { Encoding } from './types.ts';
import { EVACUATE_FROM_START } from './value-kinds.ts';
import { Zsets } from './zsets.ts';

export interface KeyspaceOptions {
  databases: number;
  /** 16 bytes, replicated. */
  hashKey: Uint8Array;
  /** Reset when the last key goes; nothing else may live in it. */
  memory?: Memory;
  /** Local access clock; never read by replicated code. */
  clockMs?: () => number;
  /** Has memory touched ahead of its use. */
  toucher?: PageToucher | undefined;
}

const INT_TEXT_BYTES = 24;
const LOOK_BYTES = 64;

export class Keyspace {
  readonly databases: number;
  /** For INFO; callers count. */
  expiredKeys = 0;
  evictedKeys = 0;
  /** Values that are hashes. */
  readonly hashes: Hashes;
  /** Values that are sorted sets. */
  readonly zsets: Zsets;
  readonly #internals: Internals;
  readonly #span: ByteSpan = { bytes: new Uint8Array(0), start: 0, end: 0 };
  readonly #text = new Uint8Array(INT_TEXT_BYTES);
  readonly #parsed = new Int64();
  /** Where the defragmentation cycle under way stands: it goes down through each database in turn. */
  #defragging = false;
  #defragDatabase = 0;
  #defragPosition = 0;
  /** The key whose elements are being moved, or 0, and how far that has got. */
  #defragKey: Handle = 0;
  #defragCursor = EVACUATE_FROM_START;

  constructor(options: KeyspaceOptions) {
    assert(options.databases > 0 && options.databases <= DATABASES_MAX, () => `${options.databases} databases`);
    this.databases = options.databases;
    const access = new AccessClock(options.clockMs ?? (() => 0));
    this.#internals = new Internals(options.memory ?? new Memory(), options.hashKey, access);
    if (options.toucher !== undefined) this.#internals.memory.touchAhead(options.toucher);
    this.hashes = new Hashes(this.#internals, this.#internals.fields);
    this.zsets = new Zsets(this.#internals);
    for (let i = 0; i < options.databases; i++) this.#internals.databases.push(new Database(i, this.#internals));
  }

  get policy(): AccessPolicy {
    return this.#internals.access.policy;
  }

  set policy(policy: AccessPolicy) {
    this.#internals.access.policy = policy;
  }

  /** For lfu-log-factor and lfu-decay-time. */
  get access(): AccessClock {
    return this.#internals.access;
  }

  /** Bytes of all blocks by their size classes, and of the tables; 0 when no key is left. */
  get usedBytes(): number {
    return this.#internals.memory.usedBytes;
  }

  get reservedBytes(): number {
    return this.#internals.memory.reservedBytes;
  }

  /** The database that bears this number now. */
  database(number: number): Database {
    const database = this.#internals.databases[number];
    assert(database !== undefined, () => `database ${number} is below ${this.databases}`);
    return database;
  }

  swap(a: number, b: number): void {
    const first = this.database(a);
    const second = this.database(b);
    this.#internals.databases[a] = second;
    this.#internals.databases[b] = first;
    second.renumber(a);
    first.renumber(b);
  }

  /** Says which record of the log is about to be applied: every modification is stamped with it. */
  beginRecord(index: number, record: number): void {
    this.#internals.versions.begin(index, record);
  }

  type(h: Handle): ValueType {
    return this.#internals.records.type(h);
  }

  encoding(h: Handle): Encoding {
    return this.#internals.records.encoding(h);
  }

  /** The deadline, or -1. */
  expiryMs(h: Handle): number {
    return this.#internals.records.expiryMs(h);
  }

  keyLength(h: Handle): number {
    return this.#internals.records.keyLength(h);
  }

  /** One object, used again by every call to keySpan and stringSpan; good until the next mutation. */
  keySpan(h: Handle): ByteSpan {
    const { records, memory } = this.#internals;
    const span = this.#span;
    span.bytes = memory.bytes[h >>> SEGMENT_SHIFT]!;
    span.start = records.keyAt(h);
    span.end = span.start + records.keyLength(h);
    return span;
  }

  /** The key as latin1. */
  keyText(h: Handle): string {
    const { bytes, start, end } = this.keySpan(h);
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
  }

  stringLength(h: Handle): number {
    const { records } = this.#internals;
    if (records.encoding(h) !== Encoding.int) return records.length(h);
    return INT_TEXT_BYTES - records.integer(h).format(this.#text, INT_TEXT_BYTES);
  }

  /** As keySpan. An int is written out into a buffer of the keyspace. */
  stringSpan(h: Handle): ByteSpan {
    const { records } = this.#internals;
    const span = this.#span;
    if (records.encoding(h) === Encoding.int) {
      span.bytes = this.#text;
      span.start = records.integer(h).format(this.#text, INT_TEXT_BYTES);
      span.end = INT_TEXT_BYTES;
      return span;
    }
    records.locate(h);
    span.bytes = records.valueBytes;
    span.start = records.valueAt;
    span.end = records.valueAt + records.length(h);
    return span;
  }

  isInteger(h: Handle): boolean {
    return this.#internals.records.encoding(h) === Encoding.int;
  }

  /** The value of a string that is an integer; NaN if it is none or no safe one. */
  integer(h: Handle): number {
    return this.#readInteger(h) ? this.#parsed.number() : NaN;
  }

  /** The value of a string that is an integer within 64 bits, whatever its encoding. */
  integer64(h: Handle): bigint | undefined {
    return this.#readInteger(h) ? this.#parsed.bigint() : undefined;
  }

  touch(h: Handle): void {
    const { records, access } = this.#internals;
    records.setClock(h, access.touched(records.clock(h)));
  }

  idleMs(h: Handle): number {
    return this.#internals.access.idleMs(this.#internals.records.clock(h));
  }

  lfuFrequency(h: Handle): number {
    return this.#internals.access.frequency(this.#internals.records.clock(h));
  }

  /** RESTORE's IDLETIME and FREQ, by the policy. */
  setIdleSeconds(h: Handle, seconds: number): void {
    this.#internals.records.setClock(h, this.#internals.access.fromIdleSeconds(seconds));
  }

  setLfuFrequency(h: Handle, frequency: number): void {
    this.#internals.records.setClock(h, this.#internals.access.fromFrequency(frequency));
  }

  /** Bytes of the blocks that the key has: usedBytes is the sum of these, of tables, and of flushed keys not freed yet. */
  memoryUsage(h: Handle): number {
    return this.#internals.records.memoryUsage(h);
  }

  /** Work for idle time, bounded by the budget: frees keys flushed and large values removed. True while there is more. */
  rehashStep(budgetEntries: number): boolean {
    this.#internals.freeDiscarded(budgetEntries);
    return this.#internals.hasDiscarded;
  }

  /** Work for idle time: has memory ready that the next commands may need. */
  prepare(): void {
    this.#internals.memory.segments.prepare();
  }

  /**
   * Work for idle time, between commands: moves blocks out of sparse slabs so that their pages come free. A cycle begins
   * when there is something to gain, and visits every key once. Looking at a key costs some of the budget too.
   * Handles change. True while a cycle is under way.
   */
  defragStep(budgetBytes: number): boolean {
    const { memory, databases } = this.#internals;
    if (!this.#defragging) {
      if (!memory.beginEvacuation()) return false;
      this.#defragging = true;
      this.#defragDatabase = 0;
      this.#defragPosition = databases[0]!.size;
      this.#defragKey = 0;
    }
    let budget = budgetBytes;
    while (budget > 0) {
      const database = databases[this.#defragDatabase]!;
      // Keys may have gone since the last step; whoever moved down into a hole was looked at already.
      if (this.#defragPosition > database.size) this.#defragPosition = database.size;
      if (this.#defragPosition === 0) {
        this.#defragDatabase++;
        if (this.#defragDatabase === databases.length) {
          memory.endEvacuation();
          this.#defragging = false;
          return false;
        }
        this.#defragPosition = databases[this.#defragDatabase]!.size;
        continue;
      }
      budget -= LOOK_BYTES + this.#defragKeyAt(database, budget);
    }
    return true;
  }

  /** One key, or as much of it as the budget allows. Returns what that cost. */
  #defragKeyAt(database: Database, budgetBytes: number): number {
    const position = this.#defragPosition - 1;
    const h = database.at(position);
    if (this.#defragKey !== 0 && this.#defragKey !== h) {
      // It went, or was moved, since the last step: what is left of it is left.
      this.#defragKey = 0;
      this.#defragPosition = position;
      return 0;
    }
    const elements = Math.max(1, Math.floor(budgetBytes / LOOK_BYTES));
    const cursor = this.#defragKey === 0 ? EVACUATE_FROM_START : this.#defragCursor;
    this.#defragCursor = database.evacuateElements(h, cursor, elements);
    if (this.#defragCursor !== 0) {
      this.#defragKey = h;
      return budgetBytes;
    }
    this.#defragKey = 0;
    this.#defragPosition = position;
    return database.evacuate(position);
  }

  flushAll(): void {
    for (const database of this.#internals.databases) database.clear();
  }

  /** The digest of all keys, values and deadlines, kept up with every mutation. */
  digest(): Digest {
    const lanes = new Lanes();
    let low = 0;
    let high = 0;
    for (const database of this.#internals.databases) {
      if (database.size === 0) continue;
      lanes.seed(database.digestLow, database.digestHigh);
      lanes.word(database.number);
      lanes.close(database.size);
      low = (low + lanes.low) >>> 0;
      high = (high + lanes.high) >>> 0;
    }
    return { low, high };
  }

  /** The same from scratch: reads everything. */
  digestSlow(): Digest {
    const { records, databases } = this.#internals;
    const lanes = new Lanes();
    let low = 0;
    let high = 0;
    for (const database of databases) {
      if (database.size === 0) continue;
      let sumLow = 0;
      let sumHigh = 0;
      for (let i = 0; i < database.size; i++) {
        records.digests.slow(database.at(i));
        sumLow = (sumLow + records.digests.sum.low) | 0;
        sumHigh = (sumHigh + records.digests.sum.high) | 0;
      }
      lanes.seed(sumLow, sumHigh);
      lanes.word(database.number);
      lanes.close(database.size);
      low = (low + lanes.low) >>> 0;
      high = (high + lanes.high) >>> 0;
    }
    return { low, high };
  }

  /** For WATCH: the key's modification version, compared for equality only. A key past its deadline is absent. */
  version(db: number, bytes: Uint8Array, start: number, end: number, nowMs: number): number {
    return this.database(db).version(bytes, start, end, nowMs);
  }

  // For snapshots: versions as they are, of a key and of the buckets of absent ones (versions.ts).

  keyVersion(h: Handle): number {
    const { records, versions } = this.#internals;
    return versions.ofRecord(records.versionIndex(h), records.versionRecord(h));
  }

  restoreKeyVersion(h: Handle, version: number): void {
    const packed = Math.floor(version / 2);
    this.#internals.records.setVersion(h, Math.floor(packed / 0x1_0000), packed % 0x1_0000);
  }

  absentVersion(bucket: number): number {
    return this.#internals.versions.ofBucket(bucket);
  }

  restoreAbsentVersion(bucket: number, version: number): void {
    this.#internals.versions.setBucket(bucket, version);
  }

  #readInteger(h: Handle): boolean {
    const { records } = this.#internals;
    if (records.encoding(h) === Encoding.int) {
      const value = records.integer(h);
      this.#parsed.low = value.low;
      this.#parsed.high = value.high;
      return true;
    }
    records.locate(h);
    return this.#parsed.parse(records.valueBytes, records.valueAt, records.valueAt + records.length(h));
  }
}
