// What the databases of one keyspace share, and nobody else touches: memory, hash, versions, access clocks, and the
// records of flushed databases and of large removed values that are still to be freed.
import { KeyedHash } from '../memory/hash.ts';
import { HandleList, Meter } from '../memory/handle-list.ts';
import type { Memory } from '../memory/allocator.ts';
import type { Handle } from '../memory/segments.ts';
import type { AccessClock } from './access.ts';
import type { Database } from './database.ts';
import { FieldTable } from './field-table.ts';
import { Records } from './record.ts';
import { Encoding, ValueType } from './types.ts';
import { FREED_AT_ONCE_MAX } from './value-kinds.ts';
import { Versions } from './versions.ts';

/** Discarded records and elements freed by each removal, insert or change of a value, so that they go even if there is no idle time. */
const DISCARDED_PER_MUTATION = 4;

export class Internals {
  readonly memory: Memory;
  readonly records: Records;
  readonly hasher: KeyedHash;
  /** Of rooted hashes. */
  readonly fields: FieldTable;
  readonly versions = new Versions();
  readonly access: AccessClock;
  /** Counts the tables outside segments. */
  readonly meter = new Meter();
  readonly databases: Database[] = [];
  /** memory.usedBytes when the change under way began; an array, since doubles in fields cost allocations. */
  readonly usedBefore = new Float64Array(1);
  readonly #discarded: HandleList[] = [];
  /** Removed keys whose values are too large to be freed at once. */
  readonly #large: HandleList;

  constructor(memory: Memory, hashKey: Uint8Array, access: AccessClock) {
    this.memory = memory;
    this.records = new Records(memory);
    this.hasher = new KeyedHash(hashKey);
    this.access = access;
    this.#large = new HandleList(this.meter);
    this.fields = new FieldTable(memory, this.hasher);
    this.records.kinds.register(ValueType.hash, Encoding.hashtable, this.fields);
  }

  /** Frees the record and the value of a key that was taken out: at once, or by and by if it is large. */
  discardRecord(h: Handle): void {
    const { records } = this;
    if (records.kind(h) !== undefined && records.rootCount(h) > FREED_AT_ONCE_MAX) this.#large.push(h);
    else records.free(h);
  }

  /** Takes the records of a flushed database to free them by and by, or all memory at once if no key is left anywhere. */
  discard(records: HandleList): void {
    this.#discarded.push(records);
    for (const database of this.databases) if (database.size > 0) return;
    for (const list of this.#discarded) list.clear();
    this.#large.clear();
    this.#discarded.length = 0;
    this.memory.reset();
  }

  /** Frees up to `budget` discarded records and elements of values; returns how many of the budget are left. */
  freeDiscarded(budget: number): number {
    let left = budget;
    while (left > 0) {
      let list = this.#large;
      if (list.length === 0) {
        const flushed = this.#discarded.at(-1);
        if (flushed === undefined) return left;
        if (flushed.length === 0) {
          this.#discarded.pop();
          continue;
        }
        list = flushed;
      }
      const after = this.records.freeSome(list.at(list.length - 1), left);
      if (after < 0) return 0;
      list.pop();
      left = after;
    }
    return 0;
  }

  get hasDiscarded(): boolean {
    return this.#discarded.length > 0 || this.#large.length > 0;
  }

  /** Called by each mutation that adds or takes a key, or changes a value. */
  freeSomeDiscarded(): void {
    if (this.hasDiscarded) this.freeDiscarded(DISCARDED_PER_MUTATION);
  }
}
