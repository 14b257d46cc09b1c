// What the databases of one keyspace share, and nobody else touches: memory, hash, versions, access clocks, and the
// records of flushed databases and of large removed values that are still to be freed.
import { KeyedHash } from '../memory/hash.ts';
import { Dictionary } from '../memory/dictionary.ts';
import { HANDLE_ARRAY_WORDS, HandleArray } from '../memory/handle-array.ts';
import { TOGETHER_MAX } from '../memory/member-table.ts';
import type { Memory } from '../memory/allocator.ts';
import type { Handle } from '../memory/segments.ts';
import type { AccessClock } from './access.ts';
import type { Database } from './database.ts';
import { FieldTable } from './field-table.ts';
import { Records } from './record.ts';
import { Encoding, ValueType } from './types.ts';
import { FREED_AT_ONCE_MAX } from './value-kinds.ts';
import { Versions } from './versions.ts';

/** Keys that wait to be settled, at most (KeyTable.settle). */
export const ARRIVALS_MAX = TOGETHER_MAX;

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
  readonly dictionary: Dictionary;
  readonly handles: HandleArray;
  readonly databases: Database[] = [];
  /** memory.usedBytes when the change under way began; an array, since doubles in fields cost allocations. */
  readonly usedBefore = new Float64Array(1);
  /** Records of one database that are in its order and not in its table yet, in their order; only while it is loaded. */
  readonly arrivals = new Uint32Array(ARRIVALS_MAX);
  arrived = 0;
  /** Words of the dictionaries of flushed databases. */
  readonly #discarded: Uint32Array[] = [];
  /** Words of a HandleArray: removed keys whose values are too large to be freed at once. */
  readonly #large = new Uint32Array(HANDLE_ARRAY_WORDS);

  constructor(memory: Memory, hashKey: Uint8Array, access: AccessClock) {
    this.memory = memory;
    this.records = new Records(memory);
    this.hasher = new KeyedHash(hashKey);
    this.access = access;
    this.dictionary = new Dictionary(memory);
    this.handles = new HandleArray(memory);
    this.fields = new FieldTable(memory, this.hasher, this.dictionary);
    this.records.kinds.register(ValueType.hash, Encoding.hashtable, this.fields);
  }

  /** Frees the record and the value of a key that was taken out: at once, or by and by if it is large. */
  discardRecord(h: Handle): void {
    const { records } = this;
    if (records.kind(h) !== undefined && records.rootCount(h) > FREED_AT_ONCE_MAX) this.handles.push(this.#large, 0, h);
    else records.free(h);
  }

  /** Takes the keys of a flushed database to free them by and by, or all memory at once if no key is left anywhere. */
  discard(keys: Uint32Array): void {
    this.#discarded.push(keys);
    for (const database of this.databases) if (database.size > 0) return;
    this.#discarded.length = 0;
    this.#large.fill(0);
    this.memory.reset();
  }

  /** Frees up to `budget` discarded records, elements of values and pages of tables; returns how many of the budget are left. */
  freeDiscarded(budget: number): number {
    const { dictionary, handles } = this;
    let left = budget;
    while (left > 0) {
      const large = handles.length(this.#large, 0);
      if (large > 0) {
        left = this.records.freeSome(handles.get(this.#large, 0, large - 1), left);
        if (left < 0) return 0;
        handles.pop(this.#large, 0);
        continue;
      }
      const keys = this.#discarded.at(-1);
      if (keys === undefined) return left;
      const size = dictionary.size(keys, 0);
      if (size > 0) {
        left = this.records.freeSome(dictionary.at(keys, 0, size - 1), left);
        if (left < 0) return 0;
        dictionary.takeLast(keys, 0);
        continue;
      }
      left = dictionary.freePages(keys, 0, left);
      if (left > 0) this.#discarded.pop();
    }
    return 0;
  }

  get hasDiscarded(): boolean {
    return this.#discarded.length > 0 || this.handles.length(this.#large, 0) > 0;
  }

  /** Called by each mutation that adds or takes a key, or changes a value. */
  freeSomeDiscarded(): void {
    if (this.hasDiscarded) this.freeDiscarded(DISCARDED_PER_MUTATION);
  }
}
