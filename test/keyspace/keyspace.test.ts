import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { BIG_BYTES } from '../../src/memory/allocator.ts';
import type { Database } from '../../src/keyspace/database.ts';
import { Int64 } from '../../src/memory/integer.ts';
import { Keyspace } from '../../src/keyspace/keyspace.ts';
import { encodingName } from '../../src/keyspace/types.ts';
import { canonicalInteger, HASH_KEY } from './model.ts';

const MIB = 1024 * 1024;

function make(options: { databases?: number; clockMs?: () => number } = {}): Keyspace {
  return new Keyspace({ databases: 2, hashKey: HASH_KEY, ...options });
}

function set(db: Database, key: string, value: string, expiryMs = -1): number {
  const k = Buffer.from(key);
  const v = Buffer.from(value);
  return db.setString(k, 0, k.length, v, 0, v.length, expiryMs);
}

function find(db: Database, key: string): number {
  const k = Buffer.from(key);
  return db.find(k, 0, k.length);
}

function text(keyspace: Keyspace, h: number): string {
  const { bytes, start, end } = keyspace.stringSpan(h);
  return Buffer.from(bytes.subarray(start, end)).toString('latin1');
}

describe('encodings follow Redis', () => {
  test.each([
    ['', 'embstr'],
    ['0', 'int'],
    ['-1', 'int'],
    ['-0', 'embstr'],
    ['01', 'embstr'],
    ['1 ', 'embstr'],
    ['+1', 'embstr'],
    ['9223372036854775807', 'int'],
    ['9223372036854775808', 'embstr'],
    ['-9223372036854775808', 'int'],
    ['-9223372036854775809', 'embstr'],
    ['99999999999999999999', 'embstr'],
    ['x'.repeat(44), 'embstr'],
    ['x'.repeat(45), 'raw'],
  ])('SET %j is %s', (value, encoding) => {
    const keyspace = make();
    const h = set(keyspace.database(0), 'k', value);
    expect(encodingName(keyspace.encoding(h))).toBe(encoding);
    expect(text(keyspace, h)).toBe(value);
  });

  test('APPEND and SETRANGE make raw, INCR makes int', () => {
    const keyspace = make();
    const db = keyspace.database(0);
    let h = db.append(set(db, 'k', '12'), Buffer.from('3'), 0, 1);
    expect([encodingName(keyspace.encoding(h)), text(keyspace, h), keyspace.integer(h)]).toEqual(['raw', '123', 123]);
    h = db.replaceInteger(h, 124);
    expect([encodingName(keyspace.encoding(h)), text(keyspace, h)]).toEqual(['int', '124']);
    h = db.setRange(h, 5, Buffer.from('z'), 0, 1);
    expect([encodingName(keyspace.encoding(h)), text(keyspace, h)]).toEqual(['raw', '124\0\0z']);
    expect(keyspace.integer(h)).toBeNaN();
    expect(keyspace.integer64(h)).toBeUndefined();
    h = db.setInteger(Buffer.from('big'), 0, 3, 2n ** 62n, -1);
    expect(keyspace.integer(h)).toBeNaN();
    expect(keyspace.integer64(h)).toBe(2n ** 62n);
  });

  test('integers are read and written as BigInt does', () => {
    const random = new Prng(4);
    const int = new Int64();
    const bytes = Buffer.alloc(30);
    for (let i = 0; i < 100_000; i++) {
      const digits = random.below(20) + 1;
      let source = random.chance(0.5) ? '-' : '';
      for (let d = 0; d < digits; d++) source += String(random.below(10));
      const written = bytes.write(source, 3, 'latin1');
      const value = bytes.subarray(3, 3 + written);
      const parsed = int.parse(bytes, 3, 3 + written);
      if (parsed !== canonicalInteger(value)) expect.fail(source);
      if (!parsed) continue;
      if (int.bigint() !== BigInt(source)) expect.fail(source);
      const number = Number(source);
      expect(int.number()).toBe(Number.isSafeInteger(number) ? number : NaN);
      const start = int.format(bytes, 30);
      if (bytes.toString('latin1', start, 30) !== source) expect.fail(source);
    }
  });
});

describe('big values', () => {
  test('a value grows by appends across every kind of block, and only what changes is digested', () => {
    const keyspace = make();
    const db = keyspace.database(0);
    let h = set(db, 'k', 'x');
    const piece = Buffer.alloc(700_001, 'abcdefg');
    let length = 1;
    while (length < BIG_BYTES + 3 * MIB) {
      h = db.append(h, piece, 0, piece.length);
      length += piece.length;
      expect(keyspace.stringLength(h)).toBe(length);
    }
    expect(keyspace.digest()).toEqual(keyspace.digestSlow());
    expect(keyspace.memoryUsage(h)).toBeLessThan(length + 2 * 4096);
    h = db.setRange(h, 10 * MIB, Buffer.from('here'), 0, 4);
    expect(keyspace.digest()).toEqual(keyspace.digestSlow());
    const { bytes, start, end } = keyspace.stringSpan(h);
    expect(end - start).toBe(length);
    const expected = Buffer.alloc(length);
    expected.write('x');
    for (let at = 1; at < length; at += piece.length) piece.copy(expected, at);
    expected.write('here', 10 * MIB);
    expect(expected.compare(bytes, start, end)).toBe(0);

    const copy = db.copyTo(h, keyspace.database(1), Buffer.from('c'), 0, 1);
    expect(expected.compare(keyspace.stringSpan(copy).bytes, 0, length)).toBe(0);
    const renamed = db.rename(h, Buffer.from('r'), 0, 1);
    expect(expected.compare(keyspace.stringSpan(renamed).bytes, 0, length)).toBe(0);
    expect(keyspace.digest()).toEqual(keyspace.digestSlow());
    set(db, 'r', 'small');
    keyspace.database(1).remove(copy);
    expect(keyspace.usedBytes).toBeLessThan(2000);
    keyspace.flushAll();
    expect([keyspace.usedBytes, keyspace.reservedBytes]).toEqual([0, 0]);
  });

  test('a SETRANGE far out pads with zeros', () => {
    const keyspace = make();
    const db = keyspace.database(0);
    const dirty = Buffer.alloc(20 * MIB, 0xff);
    const junk = db.setStringRaw(Buffer.from('junk'), 0, 4, dirty, 0, 12 * MIB, -1);
    db.remove(junk);
    const h = db.setRange(set(db, 'k', 'a'), 11 * MIB, dirty, 0, 3);
    const { bytes, start } = keyspace.stringSpan(h);
    expect(bytes[start]).toBe(0x61);
    expect(bytes.subarray(start + 1, start + 11 * MIB).every((byte) => byte === 0)).toBe(true);
    expect(keyspace.digest()).toEqual(keyspace.digestSlow());
  });
});

describe('digest', () => {
  test('differs with every part of the state, and comes back with it', () => {
    const keyspace = make();
    const db = keyspace.database(0);
    const seen = new Set<string>();
    const note = (): void => {
      const { low, high } = keyspace.digest();
      seen.add(`${high}:${low}`);
    };
    note();
    let h = set(db, 'a', 'one');
    note();
    const one = keyspace.digest();
    set(db, 'a', 'two');
    note();
    h = set(db, 'a', 'one', 5000);
    note();
    h = db.setExpiry(h, 5001);
    note();
    h = db.setExpiry(h, -1);
    expect(keyspace.digest()).toEqual(one);
    h = db.setStringRaw(Buffer.from('a'), 0, 1, Buffer.from('one'), 0, 3, -1);
    note();
    db.rename(h, Buffer.from('b'), 0, 1);
    note();
    keyspace.swap(0, 1);
    note();
    keyspace.swap(0, 1);
    set(db, 'c', 'two');
    note();
    set(db, 'b', 'two');
    set(db, 'c', 'one');
    note();
    expect(seen.size).toBe(10);
    keyspace.flushAll();
    expect(keyspace.digest()).toEqual({ low: 0, high: 0 });
  });

  test('does not follow the order of keys or how a value came about', () => {
    const one = make();
    const other = make();
    const value = 'v'.repeat(9000);
    set(one.database(0), 'x', 'y');
    set(one.database(0), 'k', value);
    const h = one.database(0).setRange(find(one.database(0), 'k'), 8999, Buffer.from('w'), 0, 1);
    one.touch(h);
    const k = other.database(0);
    k.append(set(k, 'k', value.slice(0, 5000)), Buffer.from(`${value.slice(5000, 8999)}w`), 0, 4000);
    set(k, 'x', 'y');
    expect(one.digest()).toEqual(other.digest());
  });

  test('every changed bit of a value and every exchange of two chunks shows in both halves', () => {
    const keyspace = make();
    const db = keyspace.database(0);
    const value = Buffer.alloc(12_288, 1);
    const lows = new Set<number>();
    const highs = new Set<number>();
    for (let i = 0; i < 400; i++) {
      const changed = Buffer.from(value);
      if (i > 0) changed[(i * 31) % value.length]! ^= 1 << (i & 7);
      db.setStringRaw(Buffer.from('k'), 0, 1, changed, 0, changed.length, -1);
      lows.add(keyspace.digest().low);
      highs.add(keyspace.digest().high);
    }
    expect([lows.size, highs.size]).toEqual([400, 400]);
    value.fill(2, 4096, 8192);
    db.setStringRaw(Buffer.from('k'), 0, 1, value, 0, value.length, -1);
    const before = keyspace.digest();
    value.fill(1);
    value.fill(2, 0, 4096);
    db.setStringRaw(Buffer.from('k'), 0, 1, value, 0, value.length, -1);
    expect(keyspace.digest().low).not.toBe(before.low);
    expect(keyspace.digest().high).not.toBe(before.high);
  });
});

describe('versions for WATCH', () => {
  const NOW = 1000;
  function version(keyspace: Keyspace, key: string, db = 0): number {
    const k = Buffer.from(key);
    return keyspace.version(db, k, 0, k.length, NOW);
  }

  test('every change gives another version, reading none', () => {
    const keyspace = make();
    const db = keyspace.database(0);
    const seen = new Set<number>();
    let index = 7;
    const note = (act: () => void): void => {
      keyspace.beginRecord(index++, 3);
      act();
      seen.add(version(keyspace, 'k'));
    };
    note(() => set(db, 'k', '1'));
    note(() => set(db, 'k', '1'));
    note(() => db.replaceInteger(find(db, 'k'), 2));
    note(() => db.append(find(db, 'k'), Buffer.from('x'), 0, 1));
    note(() => db.setRange(find(db, 'k'), 0, Buffer.from('x'), 0, 1));
    note(() => db.setExpiry(find(db, 'k'), 5000));
    note(() => db.setExpiry(find(db, 'k'), 6000));
    note(() => db.setExpiry(find(db, 'k'), -1));
    note(() => db.remove(find(db, 'k')));
    note(() => set(db, 'k', '1'));
    expect(seen.size).toBe(10);
    const before = version(keyspace, 'k');
    keyspace.beginRecord(index, 0);
    keyspace.touch(find(db, 'k'));
    set(db, 'another', '1');
    expect(version(keyspace, 'k')).toBe(before);
    expect(before).toBeLessThan(2 ** 53);
  });

  test('a watched absent key that comes and goes has changed; a stale one that is deleted has not', () => {
    const keyspace = make();
    const db = keyspace.database(0);
    keyspace.beginRecord(1, 0);
    const absent = version(keyspace, 'k');
    keyspace.beginRecord(2, 0);
    set(db, 'k', '1');
    db.remove(find(db, 'k'));
    const gone = version(keyspace, 'k');
    expect(gone).not.toBe(absent);

    keyspace.beginRecord(3, 0);
    set(db, 'k', '1', NOW - 1);
    const stale = version(keyspace, 'k');
    keyspace.beginRecord(4, 0);
    db.remove(find(db, 'k'));
    expect(version(keyspace, 'k')).toBe(stale);

    // Made live again and deleted: changed, though it is as absent as before.
    set(db, 'k', '1', NOW - 1);
    const watched = version(keyspace, 'k');
    keyspace.beginRecord(5, 0);
    set(db, 'k', '2');
    db.remove(find(db, 'k'));
    expect(version(keyspace, 'k')).not.toBe(watched);
  });

  test('flushing and swapping leave absent keys alone', () => {
    const keyspace = make();
    set(keyspace.database(0), 'other', '1');
    const absent = version(keyspace, 'k');
    keyspace.beginRecord(9, 0);
    keyspace.swap(0, 1);
    keyspace.flushAll();
    expect(version(keyspace, 'k')).toBe(absent);
  });

  test('a live key that is flushed, or swapped for another, has changed', () => {
    const keyspace = make();
    keyspace.beginRecord(1, 0);
    set(keyspace.database(0), 'k', '1');
    const live = version(keyspace, 'k');
    keyspace.swap(0, 1);
    expect(version(keyspace, 'k')).not.toBe(live);
    expect(version(keyspace, 'k', 1)).toBe(live);
    keyspace.flushAll();
    expect(version(keyspace, 'k', 1)).not.toBe(live);
  });
});

describe('access clocks', () => {
  test('lru tells idle time, lfu counts and decays', () => {
    let nowMs = 1_700_000_000_000;
    const keyspace = make({ clockMs: () => nowMs });
    const db = keyspace.database(0);
    const h = set(db, 'k', 'v');
    nowMs += 42_000;
    expect(keyspace.idleMs(h)).toBe(42_000);
    keyspace.touch(h);
    expect(keyspace.idleMs(h)).toBe(0);
    keyspace.setIdleSeconds(h, 9);
    expect(keyspace.idleMs(h)).toBe(9000);
    keyspace.policy = 'lfu';
    const f = set(db, 'f', 'v');
    expect(keyspace.lfuFrequency(f)).toBe(5);
    for (let i = 0; i < 100_000; i++) keyspace.touch(f);
    const counted = keyspace.lfuFrequency(f);
    expect(counted).toBeGreaterThan(100);
    expect(counted).toBeLessThan(180);
    nowMs += 10 * 60_000;
    expect(keyspace.lfuFrequency(f)).toBe(counted - 10);
    keyspace.setLfuFrequency(f, 77);
    expect(keyspace.lfuFrequency(f)).toBe(77);
  });
});

describe('SCAN order', () => {
  test('a walk down the positions meets every key that stays, whatever comes and goes', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    for (let round = 0; round < 30; round++) {
      const keyspace = make();
      const db = keyspace.database(0);
      const stays = new Set<string>();
      const others: string[] = [];
      for (let i = 0; i < 500; i++) {
        const stay = random.chance(0.5);
        set(db, `${i}`, 'v');
        if (stay) stays.add(`${i}`);
        else others.push(`${i}`);
      }
      let next = 500;
      let cursor = db.size;
      while (cursor > 0) {
        for (let i = 0; i < 10 && cursor > 0; i++) stays.delete(keyspace.keyText(db.at(--cursor)));
        for (let i = 0; i < 8; i++) {
          if (random.chance(0.6) && others.length > 0) {
            const at = random.below(others.length);
            db.remove(find(db, others[at]!));
            others.splice(at, 1);
          } else {
            set(db, `${next}`, 'v');
            others.push(`${next++}`);
          }
        }
        // As SCAN does with a cursor from before keys went.
        cursor = Math.min(cursor, db.size);
      }
      expect([...stays], `seed ${seed}`).toEqual([]);
    }
  });
});

describe('flushing', () => {
  test('memory of a flushed database among others comes back in slices', () => {
    const keyspace = make();
    set(keyspace.database(1), 'stays', 'v');
    const before = keyspace.usedBytes;
    for (let i = 0; i < 5000; i++) set(keyspace.database(0), `k${i}`, 'v'.repeat(i % 3000));
    const full = keyspace.usedBytes;
    keyspace.database(0).clear();
    expect(keyspace.database(0).size).toBe(0);
    expect(find(keyspace.database(0), 'k7')).toBe(0);
    expect(keyspace.usedBytes).toBeGreaterThan(full / 2);
    let slices = 0;
    while (keyspace.rehashStep(100)) slices++;
    expect(slices).toBeGreaterThanOrEqual(49);
    expect(keyspace.usedBytes).toBe(before);
    expect(text(keyspace, find(keyspace.database(1), 'stays'))).toBe('v');
  });

  test('it comes back through later commands alone, too', () => {
    const keyspace = make();
    set(keyspace.database(1), 'stays', 'v');
    for (let i = 0; i < 500; i++) set(keyspace.database(0), `k${i}`, 'v');
    keyspace.database(0).clear();
    for (let i = 0; i < 260; i++) set(keyspace.database(0), `n${i}`, 'v');
    expect(keyspace.rehashStep(0)).toBe(false);
  });
});
