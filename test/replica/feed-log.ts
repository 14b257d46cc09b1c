// A log of sealed entries to be followed, and what reads it in place of a node.
import { EntryKind, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { entryOf, type Loan } from '../../src/replica/cached-log.ts';
import type { FeedLog } from '../../src/replica/log-feed.ts';
import type { Entry } from '../../src/raft/types.ts';

export class MemoryFeedLog implements FeedLog {
  firstIndex = 1;
  /** Reading this one fails, as a damaged row does. */
  damagedIndex = 0;
  reads = 0;
  /** The indexes of each loan that has not ended. */
  readonly lent = new Set<string>();
  readonly #entries: Entry[] = [];

  get lastIndex(): number {
    return this.#entries.length;
  }

  /** Appends entries with this many bytes of records. */
  grow(count: number, bytes = 10, term = 1): this {
    for (let i = 0; i < count; i++) {
      const index = this.lastIndex + 1;
      const entry = makeEntry(EntryKind.commands, 1, 1, 1000 + index, Buffer.alloc(bytes, `${index} `));
      sealEntry(entry, term, index, 0);
      this.#entries.push(entryOf(entry));
    }
    return this;
  }

  lend(from: number, to: number, bytesMax: number): Loan {
    const entries = this.entries(from, to, bytesMax);
    const name = entries.map(({ index }) => index).join();
    this.lent.add(name);
    return { entries, end: () => void this.lent.delete(name) };
  }

  entries(from: number, to: number, bytesMax: number): readonly Entry[] {
    this.reads++;
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index <= to; index++) {
      if (index === this.damagedIndex) throw new OperationalError('LOG_DAMAGED', `entry ${index} is damaged`);
      const entry = this.#entries[index - 1];
      if (entry === undefined || index < this.firstIndex) throw new Error(`entry ${index} is not there`);
      bytes += entry.bytes.length;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(entry);
    }
    return found;
  }

  bytes(index: number): Uint8Array {
    return this.#entries[index - 1]!.bytes;
  }
}
