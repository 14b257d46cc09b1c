// The hash table of members against a Map: random insertions and removals, growing and shrinking a page at a time, scans across
// changes, what it costs.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Memory } from '../../src/memory/allocator.ts';
import { MEMBER_TABLE_WORDS, MemberTable, TOGETHER_MAX } from '../../src/memory/member-table.ts';
import { goodHash, type Hash, makeRecord, poorHash } from './member-records.ts';

const AT = 2;
const fresh = Math.floor(Math.random() * 2 ** 32);

class Table {
  readonly memory = new Memory();
  /** The table's words, and some around them that are not its. */
  readonly words = new Uint32Array(AT + MEMBER_TABLE_WORDS + 1);
  readonly table = new MemberTable(this.memory, 2);
  readonly hash: Hash;

  constructor(hash: Hash) {
    this.hash = hash;
  }

  get size(): number {
    return this.table.size(this.words, AT);
  }

  find(text: string): number {
    const key = Buffer.from(text);
    return this.table.find(this.words, AT, this.hash(key), key, 0, key.length);
  }

  record(text: string, long = false): number {
    const key = Buffer.from(text);
    return makeRecord(this.memory, this.hash(key), key, long);
  }

  add(text: string, long = false): number {
    const handle = this.record(text, long);
    this.table.insert(this.words, AT, handle);
    return handle;
  }

  remove(handle: number): void {
    this.table.remove(this.words, AT, handle);
    this.memory.free(handle);
  }

  check(): void {
    this.table.check(this.words, AT);
  }

  /** All members, by a scan that takes about `count` at a time. */
  scanned(count: () => number, between = (): void => undefined): number[] {
    const seen: number[] = [];
    let at = 0;
    do {
      at = this.table.scan(this.words, AT, at, count(), (handle) => seen.push(handle));
      between();
    } while (at !== 0);
    return seen;
  }
}

const sorted = (handles: Iterable<number>): number[] => [...handles].sort((a, b) => a - b);

describe('table of members', () => {
  test.each([
    ['good', goodHash, 1, 20],
    ['good', goodHash, 2, 3000],
    ['good', goodHash, fresh, 20_000],
    ['poor', poorHash, 3, 300],
    ['poor', poorHash, fresh, 100],
  ] as [string, Hash, number, number][])('agrees with a Map (%s hash, seed $2, up to $3 members)', (_, hash, seed, sizeMax) => {
    const random = new Prng(seed);
    const table = new Table(hash);
    const model = new Map<string, number>();
    const names: string[] = [];
    let target = sizeMax;
    for (let i = 0; i < 60_000; i++) {
      if (i % 10_000 === 0) target = random.chance(0.2) ? 0 : random.below(sizeMax) + 1;
      const pick = random.below(Math.max(1, names.length));
      const text = random.chance(0.5) && names.length > 0 ? names[pick]! : `k${random.below(2 * target + 2)}`;
      const known = model.get(text);
      const found = table.find(text);
      if (found !== (known ?? 0)) expect.fail(`seed ${seed}, step ${i}: ${text} is ${found}, not ${known}`);
      if (known === undefined) {
        if (names.length >= target) continue;
        model.set(text, table.add(text, random.chance(0.1)));
        names.push(text);
      } else if (random.chance(names.length > target ? 0.95 : 0.4)) {
        table.remove(known);
        model.delete(text);
        names[names.indexOf(text)] = names.at(-1)!;
        names.pop();
      } else if (random.chance(0.2)) {
        const next = table.record(text);
        table.table.replace(table.words, AT, known, next);
        table.memory.free(known);
        model.set(text, next);
      }
      if (table.size !== names.length) expect.fail(`seed ${seed}: ${table.size} members, not ${names.length}`);
      if (!random.chance(0.001)) continue;
      table.check();
      expect(sorted(table.scanned(() => random.between(1, 300))), `seed ${seed}`).toEqual(sorted(model.values()));
    }
    table.check();
    for (let i = 0; i < 2 * sizeMax; i++) if (table.find(`k${i}`) !== (model.get(`k${i}`) ?? 0)) expect.fail(`seed ${seed}: k${i}`);
    for (const text of random.shuffle([...names])) {
      table.remove(model.get(text)!);
      if (random.chance(0.01)) table.check();
    }
    expect(table.memory.usedBytes, `seed ${seed}`).toBe(0);
    expect([...table.words], 'nothing of it is left, nor around it').toEqual(Array.from(table.words, () => 0));
  });

  test('no insert or removal costs more than a few pages, members cost few bytes, and these come back with them', () => {
    const table = new Table(goodHash);
    const count = 200_000;
    let records = 0;
    let before = 0;
    let longest = 0;
    const look = (handles: number): void => {
      longest = Math.max(longest, Math.abs(table.memory.usedBytes - before - handles));
      before = table.memory.usedBytes;
    };
    for (let i = 0; i < count; i++) {
      const bytes = table.memory.usableBytes(table.add(`key:${i}`));
      records += bytes;
      look(bytes);
    }
    // A chunk of the pages' handles, or the list of such chunks made twice as long.
    expect(longest).toBeLessThan(5000);
    const perMember = (table.memory.usedBytes - records) / count;
    expect(perMember).toBeGreaterThan(5);
    expect(perMember).toBeLessThan(6.2);
    for (let i = 0; i < count - 500; i++) {
      const handle = table.find(`key:${i}`);
      const bytes = table.memory.usableBytes(handle);
      records -= bytes;
      table.remove(handle);
      look(-bytes);
    }
    expect(longest).toBeLessThan(5000);
    expect(table.memory.usedBytes - records).toBeLessThan(500 * 9 + 5000);
    for (let i = count - 500; i < count; i++) expect(table.find(`key:${i}`)).not.toBe(0);
    table.check();
  });

  test('a scan across growth and shrinking visits whoever was there all the while', () => {
    for (const seed of [5, fresh]) {
      const random = new Prng(seed);
      const table = new Table(goodHash);
      const stay = Array.from({ length: 500 }, (_, i) => table.add(`stays${i}`));
      const extra: number[] = [];
      let named = 0;
      let growing = true;
      let turns = 0;
      const seen = new Set(
        table.scanned(
          () => 10,
          () => {
            for (let i = 0; i < 300; i++) {
              if (growing) extra.push(table.add(`extra${named++}`));
              else if (extra.length > 0) table.remove(extra.splice(random.below(extra.length), 1)[0]!);
            }
            if (extra.length > 5000 || extra.length === 0) growing = !growing;
            turns++;
          },
        ),
      );
      expect(stay.filter((handle) => !seen.has(handle)), `seed ${seed}`).toEqual([]);
      expect(turns).toBeGreaterThan(50);
    }
  });

  test('is freed in slices, with its records or without them', () => {
    for (const size of [1, 7, 500, 10_000]) {
      const table = new Table(goodHash);
      const freed = new Set<number>();
      for (let i = 0; i < size; i++) table.add(`k${i}`);
      let slices = 1;
      const free = (handle: number): void => {
        freed.add(handle);
        table.memory.free(handle);
      };
      while (table.table.freeSome(table.words, AT, 100, free) === 0) slices++;
      expect(freed.size).toBe(size);
      expect(slices).toBeGreaterThanOrEqual(size / 100);
      expect(table.memory.usedBytes).toBe(0);
      expect([...table.words]).toEqual(Array.from(table.words, () => 0));
    }
    const table = new Table(goodHash);
    const handles = Array.from({ length: 5000 }, (_, i) => table.add(`k${i}`));
    while (table.table.freeSome(table.words, AT, 3) === 0);
    for (const handle of handles) table.memory.free(handle);
    expect(table.memory.usedBytes).toBe(0);
  });

  test('its blocks move out of sparse segments', () => {
    const table = new Table(goodHash);
    const { memory } = table;
    const ballast: number[] = [];
    const members: number[] = [];
    for (let i = 0; i < 40_000; i++) {
      members.push(table.add(`k${i}`));
      for (let k = 0; k < 6; k++) ballast.push(memory.allocate(1024));
    }
    for (const handle of ballast) memory.free(handle);
    // Many pages have few members then, and some none.
    for (const handle of members.splice(14_000)) table.remove(handle);
    const used = memory.usedBytes;
    expect(memory.beginEvacuation()).toBe(true);
    for (let i = 0; i < members.length; i++) table.table.evacuate(table.words, AT, i);
    // Nothing of the table is left in segments being emptied, so those go once the records have.
    const segments = memory.segments.count;
    for (let i = 0; i < members.length; i++) {
      if (!memory.isEvacuating(members[i]!)) continue;
      const next = table.record(`k${i}`);
      table.table.replace(table.words, AT, members[i]!, next);
      memory.free(members[i]!);
      members[i] = next;
    }
    expect(memory.segments.count).toBeLessThan(segments);
    expect(memory.segments.count).toBe(1);
    memory.endEvacuation();
    expect(memory.usedBytes).toBe(used);
    table.check();
    for (let i = 0; i < members.length; i++) if (table.find(`k${i}`) !== members[i]) expect.fail(`k${i} is lost`);
  });

  test.each([
    ['good', goodHash, 1, 0, 20_000],
    ['good', goodHash, 2, 20_000, 20_000],
    ['good', goodHash, 3, 2 ** 62, 20_000],
    ['good', goodHash, fresh, 5000, 20_000],
    ['poor', poorHash, fresh, 300, 300],
  ] as [string, Hash, number, number, number][])('takes many at a time (%s hash, seed $2, $3 expected where $4 come)', (_, hash, seed, expected, count) => {
    const random = new Prng(seed);
    const table = new Table(hash);
    const model = new Map<string, number>();
    const batch = new Uint32Array(TOGETHER_MAX);
    while (table.size < count) {
      const names = Array.from({ length: random.between(0, TOGETHER_MAX) }, () => `k${random.below(2 ** 32)}${random.below(2 ** 32)}`);
      const twice = random.chance(0.2) && names.length > 1;
      if (twice) names[names.length - 1] = random.chance(0.5) || model.size === 0 ? names[0]! : [...model.keys()][random.below(model.size)]!;
      names.forEach((name, i) => (batch[i] = table.record(name, random.chance(0.1))));
      const added = table.table.insertAll(table.words, AT, batch, names.length, expected);
      expect(added, `seed ${seed}`).toBe(names.length - (twice ? 1 : 0));
      for (let i = 0; i < added; i++) model.set(names[i]!, batch[i]!);
    }
    table.table.trim(table.words, AT);
    table.check();
    for (const [name, handle] of model) expect(table.find(name), `seed ${seed}`).toBe(handle);
    expect(table.size).toBe(model.size);
    for (const handle of model.values()) table.remove(handle);
    table.check();
    expect(table.words.subarray(AT, AT + MEMBER_TABLE_WORDS).every((word) => word === 0)).toBe(true);
  });
});
