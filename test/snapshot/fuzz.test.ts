// Damaged files: every truncation, and random changes of bytes, with and without a CRC that would show them. Each load ends well or
// with an RdbError; nothing else is ever thrown, what was loaded is sound, and no lie about a length costs memory.
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { ReplicatedSettings } from '../../src/commands/replicated-settings.ts';
import { RdbError } from '../../src/snapshot/rdb-error.ts';
import { RdbReader } from '../../src/snapshot/rdb-reader.ts';
import { Harness } from '../commands/harness.ts';
import { contents, FileBuilder, load, newKeyspace, write, ziplist, zipmap } from './files.ts';

/** Seeds that failed once. */
const REGRESSIONS: readonly number[] = [];
const FLIPS = Number(process.env['FUZZ_CHANGES'] ?? 400);
const settings = new ReplicatedSettings();

/** A small file with all that a writer of any release may put into one. */
function smallFile(): Buffer {
  const harness = new Harness({ databases: 3 });
  for (const words of [
    ['SET', 'a', 'text'],
    ['SET', 'n', 123456789],
    ['HSET', 'h', 'f', 'v', 'n', 12, 'm', -70000],
    ['ZADD', 'z', 1, 'a', 2.5, 'b', 'inf', 'c'],
    ['PEXPIREAT', 'h', 9_999_999_999_999],
    ['HSET', 'H', 'f', 'v'.repeat(70), 'g', 12],
    ['ZADD', 'Z', 1, 'm'.repeat(70), -2.25, 'n'],
  ]) harness.wire(...words);
  const ours = write(harness.keyspace, [['redis-ver', '7.0.15']]);
  const file = new FileBuilder();
  file.raw(ours.subarray(9, -9));
  file.raw(247, 9).length(2).length(1).length(4).double(1).length(0).raw(245).string('code');
  file.raw(254, 1, 248, 3, 0).string('lzf').raw(0xc3).length(5).length(100).raw(0, 'a', 0xe0, 90, 0);
  file.raw(249, 3, 0).string('i').raw(0xc1, 1, 2);
  file.raw(9).string('zm').string(zipmap(1, 'a', 'b', 'c', 'd'));
  file.raw(13).string('zl').string(ziplist('a', 1, 'b', 40000, 'c', 'text')).raw(12).string('zz').string(ziplist('a', -1, 'b', '1.5'));
  file.raw(3).string('za').length(2).string('a').raw(1, '1').string('b').raw(254);
  return file.end('none');
}

/** Loads in two pieces; true if it went well. */
function attempt(file: Uint8Array, cut: number, exact: boolean, what: string): boolean {
  const keyspace = newKeyspace(3);
  const reader = new RdbReader(keyspace, exact ? {} : { settings });
  try {
    reader.feed(file.subarray(0, cut));
    reader.feed(file.subarray(cut));
    reader.end();
  } catch (thrown) {
    if (thrown instanceof RdbError && thrown.offset >= 0 && thrown.offset <= file.length) return false;
    throw new Error(`${what}: ${String(thrown)}`, { cause: thrown });
  }
  expect(keyspace.digest(), what).toEqual(keyspace.digestSlow());
  contents(keyspace);
  // What was loaded can be written and loaded again.
  const again = load(write(keyspace), {}).keyspace;
  expect(contents(again), what).toEqual(contents(keyspace));
  return true;
}

test('every truncation is an error', () => {
  const file = smallFile();
  expect(attempt(file, 0, false, 'the whole file')).toBe(true);
  for (let length = 0; length < file.length; length++) {
    expect(attempt(file.subarray(0, length), length >> 1, length % 2 === 0, `${length} bytes`), `${length} bytes`).toBe(false);
  }
});

test('a changed byte is an error, or another value where no CRC tells', () => {
  const file = smallFile();
  const seeds = [...REGRESSIONS, Math.floor(Math.random() * 2 ** 32)];
  for (const seed of seeds) {
    const random = new Prng(seed);
    let loaded = 0;
    for (let i = 0; i < FLIPS; i++) {
      const damaged = Buffer.from(file);
      for (let flips = random.pick([1, 1, 1, 2, 5]); flips > 0; flips--) {
        const at = random.below(damaged.length - 8);
        damaged[at] = random.chance(0.5) ? damaged[at]! ^ (1 << random.below(8)) : random.pick([0, 0xff, 0x80, 0x81, 0xc3, 254, 250, random.below(256)]);
      }
      if (attempt(damaged, random.below(damaged.length), random.chance(0.5), `seed ${seed}, change ${i}`)) loaded++;
    }
    expect(loaded, `seed ${seed}`).toBeGreaterThan(0);
    expect(loaded, `seed ${seed}`).toBeLessThan(FLIPS);
  }
});

test('with a CRC every changed byte is an error', () => {
  const harness = new Harness();
  harness.run('SET', 'a', 'text');
  harness.run('HSET', 'h', 'f', 'v');
  const file = write(harness.keyspace);
  for (let at = 0; at < file.length; at++) {
    for (const bit of [0, 3, 7]) {
      const damaged = Buffer.from(file);
      damaged[at]! ^= 1 << bit;
      // A version that is read as well changes nothing but the CRC.
      expect(() => load(damaged, {}), `byte ${at}, bit ${bit}`).toThrow(RdbError);
    }
  }
});

test('a length that promises more than comes costs no memory', () => {
  const before = process.memoryUsage().arrayBuffers;
  const readers: RdbReader[] = [];
  for (const head of [
    new FileBuilder().raw(0).string('k').raw(0x80, 0x25, 0, 0, 0),
    new FileBuilder().raw(0, 0x80, 0x25, 0, 0, 0),
    new FileBuilder().raw(0).string('k').raw(0xc3, 0x80, 0x20, 0, 0, 0, 0x80, 0x25, 0, 0, 0),
    new FileBuilder().raw(16).string('k').raw(0x80, 0x25, 0, 0, 0),
  ]) {
    for (let i = 0; i < 4; i++) {
      const reader = new RdbReader(newKeyspace(), {});
      // Without its end and CRC.
      reader.feed(head.end().subarray(0, -9));
      for (let k = 0; k < 10; k++) reader.feed(new Uint8Array(1000));
      readers.push(reader);
    }
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20 * 300_000 + 64 * 2 ** 20);
  for (const reader of readers) expect(() => reader.end()).toThrow(RdbError);
});

test('AUX fields, however many and long, cost no memory; the first ones are kept', () => {
  const reader = new RdbReader(newKeyspace(), {});
  const value = 'v'.repeat(100_000);
  reader.feed(new FileBuilder().raw(250).string('redis-ver').string('7.0.15').end('none').subarray(0, -9));
  const before = process.memoryUsage();
  for (let i = 0; i < 1000; i++) {
    const piece = new FileBuilder().raw(250).string(`name${i}`).string(value).end('none');
    reader.feed(piece.subarray(9, -9));
  }
  const after = process.memoryUsage();
  reader.feed(Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 0]));
  const { aux } = reader.end();
  expect(aux.get('redis-ver')).toBe('7.0.15');
  expect([...aux.values()].reduce((sum, text) => sum + text.length, 0)).toBeLessThan(100_000);
  expect(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers).toBeLessThan(60_000_000);
});

test('lies about counts and numbers are errors at their byte, and cost nothing', () => {
  const big = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
  const all = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
  const files: Readonly<Record<string, FileBuilder>> = {
    'a string of 2^63 bytes': new FileBuilder().raw(0).string('k').raw(...big),
    'a key of 2^64 bytes': new FileBuilder().raw(0, ...all).string('k'),
    'a packed string of 2^63 bytes': new FileBuilder().raw(0).string('k').raw(0xc3, 5, ...big).raw(0, 'a', 0xe0, 90, 0),
    'packed in 2^63 bytes': new FileBuilder().raw(0).string('k').raw(0xc3, ...big, 5).raw('aaaaaaaa'),
    'a compressed string of more than LZF can make': new FileBuilder().raw(0).string('k').raw(0xc3, 5, 0x80, 0x10, 0, 0, 0).raw(0, 'a', 0xe0, 90, 0),
    'a hash of 2^63 fields': new FileBuilder().raw(4).string('k').raw(...big).string('f').string('v'),
    'a sorted set of 2^64 members': new FileBuilder().raw(5).string('k').raw(...all).string('m').double(1),
    'a score that is no number': new FileBuilder().raw(5).string('k').length(1).string('m').double(NaN),
    'a score in text that is no number': new FileBuilder().raw(3).string('k').length(1).string('m').raw(253),
    'an index of a database of 2^63': new FileBuilder().raw(254, ...big),
    'a key twice': new FileBuilder().raw(0).string('k').string('v').raw(0).string('k').string('w'),
    'a key as two types': new FileBuilder().raw(0).string('k').string('v').raw(4).string('k').length(1).string('f').string('v'),
    'a field twice': new FileBuilder().raw(4).string('k').length(2).string('f').string('v').string('f').string('w'),
    'a member twice': new FileBuilder().raw(5).string('k').length(2).string('m').double(1).string('m').double(2),
    'a list': new FileBuilder().raw(18).string('k').length(1).length(2).string('x'),
    'an intset': new FileBuilder().raw(11).string('k').string('\x02\0\0\0\x01\0\0\0\x01\0'),
    'a value of a module': new FileBuilder().raw(7).string('k').length(1).length(0),
    'an unknown opcode': new FileBuilder().raw(244, 1, 2, 3),
    'an unknown item of a module': new FileBuilder().raw(247).length(1).length(2).length(1).length(9),
  };
  const before = process.memoryUsage().arrayBuffers;
  for (const [what, file] of Object.entries(files)) {
    for (const exact of [true, false]) {
      const reader = new RdbReader(newKeyspace(3), exact ? {} : { settings });
      const bytes = file.end('none');
      expect(() => {
        reader.feed(bytes);
        reader.end();
      }, what).toThrow(/, at byte \d+$/);
    }
  }
  expect(process.memoryUsage().arrayBuffers - before, 'bytes').toBeLessThan(64 * 2 ** 20 * 2 * Object.keys(files).length);
});

test('RESIZEDB is not believed, and collections without elements are no keys', () => {
  const huge = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
  const file = new FileBuilder().raw(254, 0, 251, ...huge, ...huge);
  file.raw(0).string('k').string('v').raw(4).string('h').length(0).raw(5).string('z').length(0);
  const { keyspace, report } = load(file.end(), {});
  expect(keyspace.database(0).size).toBe(1);
  expect(report).toMatchObject({ keys: 1, emptyKeys: 2 });
});
