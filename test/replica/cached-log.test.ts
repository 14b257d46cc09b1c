import { beforeEach, describe, expect, test } from 'vitest';
import { EntryKind, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { LOG_CACHE_ALONE_BYTES, LOG_READ_BYTES_MAX } from '../../src/base/limits.ts';
import { CachedLog, entryOf } from '../../src/replica/cached-log.ts';
import type { Entry } from '../../src/raft/types.ts';
import { MemoryStore } from './one-consensus.ts';
import { StepClock } from './step-clock.ts';

test('a peer is read for a little at a time, from disk; all that is in the cache it gets at once', () => {
  const clock = new StepClock();
  const log = new CachedLog(new MemoryStore(clock), () => ({ isSingleVoter: true, configuration: { members: [1] } }), () => undefined);
  const bytesOf = (entries: readonly Entry[]): number => entries.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const small = Math.ceil((3 * LOG_CACHE_ALONE_BYTES) / 10_000);
  for (let index = 1; index <= 10_000; index++) {
    const bytes = makeEntry(EntryKind.commands, 1, 1, index, new Uint8Array(small));
    sealEntry(bytes, 1, index, index);
    log.append({ entries: [bytes] }, [entryOf(bytes)], () => undefined);
    clock.pass(1);
  }
  const MiB = 1024 * 1024;
  const given = log.entries(1, 10_000, MiB);
  expect(given[0]!.index).toBe(1);
  expect(bytesOf(given)).toBeLessThanOrEqual(LOG_READ_BYTES_MAX);
  expect(bytesOf(given)).toBeGreaterThan(LOG_READ_BYTES_MAX / 2);
  expect(bytesOf(log.look(1, 10_000, MiB))).toBeGreaterThan(LOG_READ_BYTES_MAX * 2);
  expect(bytesOf(log.entries(8000, 10_000, MiB))).toBeGreaterThan(LOG_READ_BYTES_MAX * 2);
});

/** One has room in the cache of a node alone, two have not. */
const RECORD_BYTES = Math.ceil((LOG_CACHE_ALONE_BYTES * 2) / 3);

describe('what the cache does with entries that it has no room for', () => {
  let clock: StepClock;
  let members: number;
  let discarded: number[];
  let log: CachedLog;
  let all: Map<Uint8Array, number>;

  beforeEach(() => {
    clock = new StepClock();
    members = 1;
    discarded = [];
    all = new Map();
    const company = () => ({ isSingleVoter: true, configuration: { members: Array.from({ length: members }) } });
    log = new CachedLog(new MemoryStore(clock), company, (bytes) => discarded.push(all.get(bytes)!));
  });

  function entry(index: number, kind: EntryKind = EntryKind.commands): Entry {
    const bytes = makeEntry(kind, 1, 1, index, new Uint8Array(RECORD_BYTES));
    sealEntry(bytes, 1, index, index);
    all.set(bytes, index);
    return entryOf(bytes);
  }

  const append = (...entries: Entry[]): void => log.append({ entries: entries.map(({ bytes }) => bytes) }, entries, () => undefined);

  /** Appends entries [from, to] one by one, each on disk before the next. */
  function write(from: number, to: number): void {
    for (let index = from; index <= to; index++) {
      append(entry(index));
      clock.pass(1);
    }
  }

  test('those on disk are discarded, the last stays', () => {
    write(1, 4);
    expect(discarded).toEqual([1, 2, 3]);
  });

  test('those that the store still needs are not', () => {
    append(entry(1));
    append(entry(2));
    expect(discarded).toEqual([]);
    clock.pass(1);
    write(3, 4);
    expect(discarded).toEqual([2, 3]);
  });

  test('those that somebody was given are not; a look leaves nothing behind', () => {
    write(1, 2);
    log.entries(2, 2, 1000);
    write(3, 3);
    log.look(3, 3, 1000);
    write(4, 5);
    expect(discarded).toEqual([1, 3, 4]);
  });

  test('those that are lent are not, until the loan ends', () => {
    write(1, 2);
    const loans = [log.lend(2, 2, 1), log.lend(2, 2, 1)];
    loans[0]!.end();
    write(3, 4);
    expect(discarded).toEqual([1, 3]);
    log.lend(4, 4, 1).end();
    write(5, 5);
    expect(discarded).toEqual([1, 3, 4]);
  });

  test('those that were appended, or were on their way to the disk, while there were other members are not', () => {
    write(1, 1);
    members = 2;
    append(entry(2));
    members = 1;
    clock.pass(1);
    append(entry(3));
    members = 2;
    clock.pass(1);
    members = 1;
    write(4, 6);
    expect(discarded).toEqual([1, 4, 5]);
  });

  test('those of other kinds than commands are not', () => {
    append(entry(1, EntryKind.membership));
    clock.pass(1);
    write(2, 3);
    expect(discarded).toEqual([2]);
  });
});
