// The hash table of pages against a Map: random insertions and removals, scans across changes, chains where the directory may not grow.
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Memory } from '../../src/memory/allocator.ts';
import { HashPages, type RecordMatch } from '../../src/memory/hash-pages.ts';

const REGRESSIONS: readonly number[] = [];

class Names implements RecordMatch {
  readonly list: Uint8Array[] = [new Uint8Array(0)];

  matches(handle: number, bytes: Uint8Array, start: number, end: number): boolean {
    return Buffer.compare(this.list[handle]!, bytes.subarray(start, end)) === 0;
  }
}

function run(seed: number, operations: number, bitsMax: number, hashes: number): void {
  const random = new Prng(seed);
  const memory = new Memory();
  const names = new Names();
  const table = new HashPages(memory, names, bitsMax);
  const members: { hash: number; handle: number }[] = [];
  let grow = 0.6;
  for (let n = 0; n < operations; n++) {
    if (n % 4000 === 0) grow = random.pick([0.1, 0.5, 0.9]);
    if (members.length === 0 || random.chance(grow)) {
      const handle = names.list.length;
      names.list.push(Buffer.from(String(handle)));
      const hash = hashes > 0 ? Math.imul(random.below(hashes), 0x9e3779b1) : random.uint32() | 0;
      members.push({ hash, handle });
      table.insert(hash, handle);
    } else {
      const i = random.below(members.length);
      const member = members[i]!;
      members[i] = members[members.length - 1]!;
      members.pop();
      table.remove(member.hash, member.handle);
      const name = names.list[member.handle]!;
      expect(table.find(member.hash, name, 0, name.length)).toBe(0);
    }
    if (members.length > 0) {
      const member = random.pick(members);
      const name = names.list[member.handle]!;
      if (table.find(member.hash, name, 0, name.length) !== member.handle) expect.fail(`seed ${seed}: a member is lost`);
    }
    if (random.chance(0.0005)) {
      table.check();
      expect(table.size).toBe(members.length);
      const seen: number[] = [];
      let at = 0;
      do at = table.scan(at, random.between(1, 300), (handle) => seen.push(handle));
      while (at !== 0);
      expect(seen.sort((a, b) => a - b)).toEqual(members.map((m) => m.handle).sort((a, b) => a - b));
    }
  }
  table.check();
  while (members.length > 0) {
    const member = members.pop()!;
    table.remove(member.hash, member.handle);
  }
  table.check();
  expect(memory.usedBytes).toBe(0);
}

describe('HashPages', () => {
  const seeds = [...REGRESSIONS, ...Array.from({ length: 6 }, () => Math.floor(Math.random() * 2 ** 32))];
  test.each(seeds)('against a list, seed %i', (seed) => {
    run(seed, 20_000, 22, 0);
    run(seed, 10_000, 3, 0);
    run(seed, 5_000, 22, 10);
  });

  test('a scan across growth and shrinking visits whoever was there all the while', () => {
    const random = new Prng(5);
    const memory = new Memory();
    const names = new Names();
    const table = new HashPages(memory, names);
    const hashOf = new Map<number, number>();
    const add = (): number => {
      const handle = names.list.length;
      names.list.push(Buffer.from(String(handle)));
      hashOf.set(handle, random.uint32() | 0);
      table.insert(hashOf.get(handle)!, handle);
      return handle;
    };
    const stay = Array.from({ length: 500 }, add);
    const seen = new Set<number>();
    const extra: number[] = [];
    let at = 0;
    let growing = true;
    do {
      at = table.scan(at, 10, (handle) => seen.add(handle));
      for (let i = 0; i < 300; i++) {
        if (growing) extra.push(add());
        else if (extra.length > 0) {
          const handle = extra.pop()!;
          table.remove(hashOf.get(handle)!, handle);
        }
      }
      if (extra.length > 5000 || extra.length === 0) growing = !growing;
    } while (at !== 0);
    expect(stay.filter((handle) => !seen.has(handle))).toEqual([]);
  });

  test('frees pages and records in slices', () => {
    const memory = new Memory();
    const names = new Names();
    const table = new HashPages(memory, names);
    const random = new Prng(3);
    for (let i = 1; i <= 10_000; i++) {
      names.list.push(new Uint8Array(0));
      table.insert(random.uint32() | 0, i);
    }
    const freed = new Set<number>();
    const words = new Uint32Array(5);
    table.save(words, 0);
    let slices = 0;
    for (;;) {
      const slice = new HashPages(memory, names);
      slice.load(words, 0);
      const left = slice.freeStep(100, (handle) => freed.add(handle));
      slice.save(words, 0);
      slices++;
      if (left > 0) break;
    }
    expect(freed.size).toBe(10_000);
    expect(slices).toBeGreaterThan(90);
    expect(memory.usedBytes).toBe(0);
  });
});
