// What the databases of one keyspace share, and nobody else touches: memory, hash, versions, access clocks, and the
// records of flushed databases that are still to be freed.
import { KeyedHash } from '../memory/hash.ts';
import { type HandleList, Meter } from '../memory/handle-list.ts';
import type { Memory } from '../memory/allocator.ts';
import type { AccessClock } from './access.ts';
import type { Database } from './database.ts';
import { Records } from './record.ts';
import { Versions } from './versions.ts';

/** Records of flushed databases freed by each removal or insert, so that they go even if there is no idle time. */
const DISCARDED_PER_MUTATION = 2;

export class Internals {
  readonly memory: Memory;
  readonly records: Records;
  readonly hasher: KeyedHash;
  readonly versions = new Versions();
  readonly access: AccessClock;
  /** Counts the tables outside segments. */
  readonly meter = new Meter();
  readonly databases: Database[] = [];
  readonly #discarded: HandleList[] = [];

  constructor(memory: Memory, hashKey: Uint8Array, access: AccessClock) {
    this.memory = memory;
    this.records = new Records(memory);
    this.hasher = new KeyedHash(hashKey);
    this.access = access;
  }

  /** Takes the records of a flushed database to free them by and by, or all memory at once if no key is left anywhere. */
  discard(records: HandleList): void {
    this.#discarded.push(records);
    for (const database of this.databases) if (database.size > 0) return;
    for (const list of this.#discarded) list.clear();
    this.#discarded.length = 0;
    this.memory.reset();
  }

  /** Frees up to `budget` discarded records; returns how many of the budget are left. */
  freeDiscarded(budget: number): number {
    while (budget > 0) {
      const list = this.#discarded.at(-1);
      if (list === undefined) return budget;
      if (list.length === 0) {
        this.#discarded.pop();
        continue;
      }
      this.records.free(list.pop());
      budget--;
    }
    return 0;
  }

  get hasDiscarded(): boolean {
    return this.#discarded.length > 0;
  }

  /** Called by each mutation that adds or takes a key. */
  freeSomeDiscarded(): void {
    if (this.#discarded.length > 0) this.freeDiscarded(DISCARDED_PER_MUTATION);
  }
}
