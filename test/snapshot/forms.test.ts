// Files by hand: forms that only older releases of Redis wrote, everything around the keys, and what is refused, with its byte.
// Where there is a redis-server, it has the last word on the old forms.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { DatasetDigest } from '../../src/commands/debug-digest.ts';
import { ReplicatedSettings } from '../../src/commands/replicated-settings.ts';
import { RdbError } from '../../src/snapshot/rdb-error.ts';
import { RdbReader } from '../../src/snapshot/rdb-reader.ts';
import { Harness } from '../commands/harness.ts';
import { Oracle, oracleMissing } from '../commands/oracle.ts';
import { contents, FileBuilder, load, newKeyspace, write, ziplist, zipmap } from './files.ts';

const settings = new ReplicatedSettings();

function keysOf(file: Uint8Array, options = { settings }): unknown[] {
  const whole = contents(load(file, options).keyspace);
  expect(contents(load(file, options, 1).keyspace)).toEqual(whole);
  return whole.map((line) => JSON.parse(line) as unknown);
}

function faultOf(file: Uint8Array, options = { settings }): RdbError {
  try {
    load(file, options);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(RdbError);
    return thrown as RdbError;
  }
  throw new Error('the file was loaded');
}

const LONG = 'long'.repeat(100);
const INTEGERS = [0, 12, 13, -1, 127, -128, 128, 32767, -32768, 32768, 8388607, -8388608, 8388608, 2147483647, -2147483648, 2147483648n, 9223372036854775807n, -9223372036854775808n];

/** One of each old form; Redis 7.0 reads them all. */
function oldForms(): Buffer {
  const fields = INTEGERS.flatMap((value, i) => [`f${i}`, value]);
  const file = new FileBuilder(9);
  file.raw(254, 0, 251, 9, 0);
  file.raw(9).string('zipmap').string(zipmap(3, 'a', '1', 'b', 'two', '12', ''));
  file.raw(9).string('zipmap long').string(zipmap(0, 'a', LONG, 'b', '2'));
  file.raw(13).string('hash').string(ziplist(...fields, 'text', 'with text', 'x'.repeat(60), 'y'.repeat(300)));
  file.raw(13).string('hash many').string(ziplist(...Array.from({ length: 1200 }, (_, i) => i % 2 === 0 ? `field ${i}` : i)));
  file.raw(12).string('zset').string(ziplist('a', '-inf', 'b', '-2.5', '7', -1, 'c', 3, 'd', 3, 'e', '3.1000000000000001', 'f', '1e+100', 'g', 'inf'));
  file.raw(12).string('zset many').string(ziplist(...Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? `member ${1000 + i}` : i))));
  file.raw(3).string('ascii').length(5);
  file.string('m1').raw(3, '1.5').string('m2').raw(254).string('m3').raw(255).string('m4').raw(20, '-1.2300000000000e-20').string('m5').raw(1, '7');
  file.raw(3).string('ascii many').length(300);
  for (let i = 0; i < 300; i++) file.string(`m${i}`).raw(String(i).length, String(i));
  file.raw(253, Buffer.from([0xff, 0xff, 0xff, 0x7f])).raw(0).string('seconds').string('v');
  return file.end();
}

describe('forms of older releases', () => {
  test('zipmaps, ziplists, scores as text, deadlines in seconds', () => {
    const keys = keysOf(oldForms());
    expect(keys.map((key) => (key as string[]).slice(1, 3))).toEqual([
      ['zipmap', 'listpack'],
      ['zipmap long', 'hashtable'],
      ['hash', 'hashtable'],
      ['hash many', 'hashtable'],
      ['zset', 'listpack'],
      ['zset many', 'skiplist'],
      ['ascii', 'listpack'],
      ['ascii many', 'skiplist'],
      ['seconds', 'embstr'],
    ]);
    expect(keys[0]).toEqual([0, 'zipmap', 'listpack', -1, ['a=1', 'b=two', '12=']]);
    expect((keys[2] as [0, '', '', 0, string[]])[4]).toEqual([...INTEGERS.map((value, i) => `f${i}=${value}`), 'text=with text', `${'x'.repeat(60)}=${'y'.repeat(300)}`]);
    expect((keys[4] as unknown[])[4]).toEqual(['a=-Infinity', 'b=-2.5', '7=-1', 'c=3', 'd=3', 'e=3.1', 'f=1e+100', 'g=Infinity']);
    expect((keys[6] as unknown[])[4]).toEqual(['m3=-Infinity', 'm4=-1.23e-20', 'm1=1.5', 'm5=7', 'm2=Infinity']);
    expect((keys[8] as unknown[])[3]).toBe(2147483647000);
  });

  test.skipIf(oracleMissing !== undefined)('are to redis-server what they are to us', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-forms-'));
    fs.writeFileSync(path.join(dir, 'old.rdb'), oldForms());
    const oracle = await Oracle.start('--dir', dir, '--dbfilename', 'old.rdb');
    const { keyspace } = load(oldForms(), { settings });
    expect(await oracle.one('DEBUG', 'DIGEST')).toBe(`+${new DatasetDigest(keyspace).all()}\r\n`);
    await oracle.stop();
    fs.rmSync(dir, { recursive: true });
  });

  test('a zset’s listpack that is not as we write it is made so', () => {
    // Scores as another release writes them, and out of order.
    const harness = new Harness();
    harness.run('ZADD', 'z', '3.3', 'c', '1', 'a');
    const canonical = write(harness.keyspace);
    const pieces = (...texts: string[]): Buffer => {
      const entries = Buffer.concat(texts.map((text) => Buffer.concat([Buffer.of(0x80 | text.length), Buffer.from(text), Buffer.of(text.length + 1)])));
      const head = Buffer.alloc(6);
      head.writeUInt32LE(entries.length + 7, 0);
      head.writeUInt16LE(texts.length, 4);
      return Buffer.concat([head, entries, Buffer.of(255)]);
    };
    const foreign = new FileBuilder(11).raw(254, 0, 17).string('z').string(pieces('c', '3.3', 'a', '1')).end();
    expect(load(foreign, { settings }).keyspace.digest()).toEqual(load(canonical, { settings }).keyspace.digest());
    const hash = new FileBuilder(11).raw(254, 0, 16).string('h').string(pieces('a', '1', '2', 'b')).end();
    expect(keysOf(hash)).toEqual([[0, 'h', 'listpack', -1, ['a=1', '2=b']]]);
    expect(faultOf(new FileBuilder().raw(16).string('h').string(pieces('a', '1', 'b')).end()).message).toMatch('key "h" of database 0 has a hash in an odd number of entries, at byte 9');
    expect(faultOf(new FileBuilder().raw(16).string('h').string(pieces('a', '1', 'a', '2')).end()).message).toMatch('a hash that has a field twice');
    expect(faultOf(new FileBuilder().raw(17).string('z').string(pieces('a', 'x')).end()).message).toMatch('a score that is no number ("x")');
    expect(faultOf(new FileBuilder().raw(17).string('z').string(pieces('a', 'nan')).end()).message).toMatch('a score that is no number');
  });
});

describe('strings', () => {
  test('as integers, compressed, with lengths of all forms', () => {
    const file = new FileBuilder();
    file.raw(0).string('8').raw(0xc0, 0x85);
    file.raw(0).string('16').raw(0xc1, 0x00, 0x80);
    file.raw(0).string('32').raw(0xc2, 0, 0, 0, 0x80);
    file.raw(0).raw(0xc0, 42).string('the key is a number');
    // "aaaaaaaaaa…": a byte, then a copy of it over itself.
    file.raw(0).string('lzf').raw(0xc3).length(5).length(100).raw(0, 'a', 0xe0, 90, 0);
    file.raw(0).string('64').raw(0x81, 0, 0, 0, 0, 0, 0, 0, 2, 'hi');
    file.raw(0).string('14').raw(0x40, 2, 'ho');
    expect(keysOf(file.end())).toEqual([
      [0, '8', 'int', -1, ['-123']],
      [0, '16', 'int', -1, ['-32768']],
      [0, '32', 'int', -1, ['-2147483648']],
      [0, '42', 'embstr', -1, ['the key is a number']],
      [0, 'lzf', 'raw', -1, ['a'.repeat(100)]],
      [0, '64', 'embstr', -1, ['hi']],
      [0, '14', 'embstr', -1, ['ho']],
    ]);
  });
});

describe('what stands around keys', () => {
  test('module data, functions, clocks and unknown fields are passed over', () => {
    const file = new FileBuilder();
    file.raw(250).string('redis-ver').string('7.0.0').raw(250).string('bits').raw(0xc0, 64);
    file.raw(247, 0x81, 1, 2, 3, 4, 5, 6, 7, 8).length(2).length(1).length(1).length(5).length(2).length(9).length(3).raw('abcd').length(4).double(1.5).length(5).string('text').length(0);
    file.raw(245).string('#!lua code');
    file.raw(246).string('lib').string('LUA').length(1).string('what it does').string('code');
    file.raw(246).string('lib').string('LUA').length(0).string('code');
    file.raw(254, 3, 251, 1, 0, 248, 0x80, 0, 1, 0, 0, 0).string('a').string('1');
    file.raw(249, 7, 252, Buffer.from([1, 2, 3, 0, 0, 0, 0, 0]), 0).string('b').string('2');
    const { keyspace, report } = load(file.end('none'), {}, 1);
    expect(report).toMatchObject({ version: 10, keys: 2, functionLibraries: 3, moduleItems: 1, checked: false });
    expect([...report.aux]).toEqual([['redis-ver', '7.0.0'], ['bits', '64']]);
    expect(contents(keyspace).map((line) => JSON.parse(line) as unknown)).toEqual([
      [3, 'a', 'int', -1, ['1']],
      [3, 'b', 'int', 197121, ['2']],
    ]);
  });

  test('before version 5 there is no CRC', () => {
    const file = new FileBuilder(3).raw(254, 0, 253, 9, 0, 0, 0, 0).string('a').string('b').end('none').subarray(0, -8);
    expect(load(file, { settings }, 1).report).toMatchObject({ version: 3, keys: 1, checked: false });
    expect(faultOf(file.subarray(0, -1)).message).toBe('the file ends too early, at byte 21');
    expect(faultOf(new FileBuilder(5).raw(254, 0).end().subarray(0, -8)).message).toBe('the file ends too early, at byte 12');
  });

  test('a deadline goes with its key only; one out of range is the nearest that is', () => {
    const file = new FileBuilder();
    file.raw(252, Buffer.from('feffffffffffffff', 'hex'), 0).string('before').string('1');
    file.raw(252, Buffer.from('ffffffffffffff7f', 'hex'), 0).string('after').string('2');
    file.raw(252, Buffer.from('ffffffffffffffff', 'hex'), 0).string('none').string('3').raw(0).string('next').string('4');
    expect(keysOf(file.end()).map((key) => (key as unknown[])[3])).toEqual([0, Number.MAX_SAFE_INTEGER, -1, -1]);
  });

  test('collections without elements are left out', () => {
    const file = new FileBuilder();
    file.raw(4).string('h').length(0).raw(5).string('z').length(0).raw(13).string('l').string(ziplist());
    file.raw(252, Buffer.alloc(8, 1), 16).string('p').string(Buffer.from([7, 0, 0, 0, 0, 0, 255])).raw(0).string('s').string('v');
    const { keyspace, report } = load(file.end(), {});
    expect(report).toMatchObject({ keys: 1, emptyKeys: 4 });
    expect(contents(keyspace)).toEqual(['[0,"s","embstr",-1,["v"]]']);
  });
});

describe('what is refused, with its byte', () => {
  const nan = Buffer.from('000000000000f87f', 'hex');
  test.each<[string, Uint8Array, string]>([
    ['another file', Buffer.from('SQLite format 3'), 'this is no RDB file, at byte 0'],
    ['a newer version', new FileBuilder(12).end(), 'RDB version 12: this release reads versions 1 to 11 (Redis up to 7.2), at byte 5'],
    ['a version that never was', new FileBuilder(0).end(), 'RDB version 0: this release'],
    ['an empty file', Buffer.alloc(0), 'the file ends too early, at byte 0'],
    ['a file that is cut off', new FileBuilder().raw(0).string('key').string('value').end().subarray(0, 14), 'the file ends too early, at byte 14'],
    ['a list', new FileBuilder().raw(0).string('a').string('b').raw(18).string('the "list"').end(), 'key "the \\"list\\"" of database 0 holds a list, which Holdfast does not have yet, at byte 14'],
    ['a module’s value', new FileBuilder().raw(7).string('m').end(), 'holds a value of a module'],
    ['an unknown type', new FileBuilder().raw(0).string('a').string('b').raw(99).end(), 'an unknown type or opcode (99), at byte 14'],
    ['a database too many', new FileBuilder().raw(254, 16).end(), 'database 16, where there are 16, at byte 9'],
    ['a key twice', new FileBuilder().raw(0).string('k').string('1').raw(0).string('k').string('2').end(), 'key "k" comes twice in database 0, at byte 14'],
    ['a key twice, large', new FileBuilder().raw(0).string('k').string('1').raw(4).string('k').length(1).string('f').string('v').end(), 'key "k" comes twice'],
    ['a field twice', new FileBuilder().raw(4).string('h').length(2).string('f').string('1').string('f').string('2').end(), 'key "h" of database 0 has a hash that has a field twice, at byte 17'],
    ['a member twice', new FileBuilder().raw(5).string('z').length(2).string('m').double(1).string('m').double(2).end(), 'a sorted set that has a member twice'],
    ['a score NaN', new FileBuilder().raw(5).string('z').length(1).string('m').raw(nan).end(), 'a score that is no number, at byte 13'],
    ['an ascii score NaN', new FileBuilder().raw(3).string('z').length(1).string('m').raw(253).end(), 'a score that is no number'],
    ['an ascii score of rubbish', new FileBuilder().raw(3).string('z').length(1).string('m').raw(2, '1x').end(), 'a score that is no number ("1x")'],
    ['a string too long', new FileBuilder().raw(0).string('a').raw(0x81, 0, 0, 0, 9, 0, 0, 0, 0).end(), 'a string of 38654705664 bytes'],
    ['a length that is none', new FileBuilder().raw(4).string('a').raw(0xc0, 1).end(), 'a length is expected, not 0xc0, at byte 12'],
    ['a length of an unknown form', new FileBuilder().raw(0).raw(0x90).end(), 'a length of an unknown form (0x90), at byte 10'],
    ['a string of an unknown form', new FileBuilder().raw(0, 0xc5).end(), 'a string of an unknown form (5), at byte 10'],
    ['LZF that is not what it says', new FileBuilder().raw(0).string('a').raw(0xc3).length(2).length(50).raw(0, 'a').end(), 'a compressed string that is damaged, at byte 12'],
    ['LZF that promises too much', new FileBuilder().raw(0).string('a').raw(0xc3).length(2).raw(0x80, 0x1f, 0, 0, 0).raw(0, 'a').end(), 'too long for what it is packed in'],
    ['a broken module', new FileBuilder().raw(247, 1, 5, 0).end(), 'data of a module that is damaged'],
    ['bytes after the end', Buffer.concat([new FileBuilder().end(), Buffer.of(0)]), 'bytes after the end of the file, at byte 18'],
    ['a wrong CRC', new FileBuilder().end().fill(7, 10, 11), 'the file’s checksum does not match its bytes, at byte 10'],
    ['a ziplist of another length', new FileBuilder().raw(13).string('h').string(ziplist('a', 'b').fill(30, 0, 1)).end(), 'a hash in a ziplist of another length'],
    ['a ziplist with a wrong count', new FileBuilder().raw(13).string('h').string(ziplist('a', 'b').fill(3, 8, 9)).end(), 'a hash in a ziplist with a wrong count'],
    ['a ziplist with a wrong tail', new FileBuilder().raw(12).string('h').string(ziplist('a', 'b').fill(9, 4, 5)).end(), 'a sorted set in a ziplist with a wrong tail'],
    ['a ziplist with a wrong link', new FileBuilder().raw(13).string('h').string(ziplist('a', 'b').fill(9, 13, 14)).end(), 'a hash in a ziplist with a broken entry'],
    ['a ziplist with an odd entry', new FileBuilder().raw(13).string('h').string(ziplist('a')).end(), 'a hash in an odd number of entries'],
    ['a zipmap with a wrong count', new FileBuilder().raw(9).string('h').string(zipmap(0, 'a', 'b').fill(3, 0, 1)).end(), 'a zipmap with a wrong count'],
    ['a zipmap whose value goes beyond', new FileBuilder().raw(9).string('h').string(zipmap(0, 'a', 'b').fill(9, 3, 4)).end(), 'a zipmap with a broken entry'],
    ['a zipmap with a field twice', new FileBuilder().raw(9).string('h').string(zipmap(0, 'a', 'b', 'a', 'c')).end(), 'a hash that has a field twice'],
  ])('%s', (_, file, message) => {
    const fault = faultOf(file);
    expect(fault.message).toContain(message);
    expect(fault.code).toBe('SNAPSHOT');
    expect(fault.message).toContain(`at byte ${fault.offset}`);
  });

  test('a reader that has failed is of no more use', () => {
    const reader = new RdbReader(newKeyspace(), {});
    expect(() => reader.feed(Buffer.from('RUBBISH 1'))).toThrow(RdbError);
    expect(() => reader.feed(Buffer.from('x'))).toThrow('a reader that has failed');
    expect(() => reader.end()).toThrow('a reader that has failed');
  });
});
