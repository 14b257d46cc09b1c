import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { formatDouble17 } from '../../src/base/double.ts';
import { Slices } from '../../src/base/slices.ts';
import { NullReply } from '../../src/resp/null-reply.ts';
import type { Reply } from '../../src/resp/reply.ts';
import type { RespValue } from '../../src/resp/reply-parser.ts';
import { parseReplies } from '../../src/resp/reply-parser.ts';
import { ReplyPool } from '../../src/resp/reply-pool.ts';
import { ReplyWriter } from '../../src/resp/reply-writer.ts';

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

function written(writer: ReplyWriter): string {
  const pending = writer.pendingBytes;
  const taken = writer.take();
  const bytes = Buffer.concat(taken);
  expect(bytes.length).toBe(pending);
  expect(writer.pendingBytes).toBe(0);
  for (const buffer of taken) writer.recycle(buffer);
  return bytes.toString('latin1');
}

function write(protocol: 2 | 3, what: (reply: ReplyWriter) => void): string {
  const writer = new ReplyWriter();
  writer.protocol = protocol;
  what(writer);
  return written(writer);
}

describe('every reply, in both protocols', () => {
  const cases: [name: string, what: (reply: Reply) => void, resp2: string, resp3?: string][] = [
    ['ok', (r) => r.ok(), '+OK\r\n'],
    ['simple', (r) => r.simple('PONG'), '+PONG\r\n'],
    ['error', (r) => r.error('ERR no'), '-ERR no\r\n'],
    ['error with line ends', (r) => r.error('ERR a\r\nb\nc\r\n'), '-ERR a  b c\r\n'],
    ['error with bytes', (r) => r.error("ERR got '\xff'"), "-ERR got '\xff'\r\n"],
    ['error with unicode', (r) => r.error('ERR →é'), '-ERR \xe2\x86\x92\xc3\xa9\r\n'],
    ['integer 0', (r) => r.integer(0), ':0\r\n'],
    ['integer 10', (r) => r.integer(10), ':10\r\n'],
    ['integer -1', (r) => r.integer(-1), ':-1\r\n'],
    ['integer min', (r) => r.integer(Number.MIN_SAFE_INTEGER), ':-9007199254740991\r\n'],
    ['integer max', (r) => r.integer(Number.MAX_SAFE_INTEGER), ':9007199254740991\r\n'],
    ['bigInteger', (r) => r.bigInteger(-(2n ** 63n)), ':-9223372036854775808\r\n'],
    ['bulk', (r) => r.bulk(bytesOf('xa\r\nbx'), 1, 5), '$4\r\na\r\nb\r\n'],
    ['empty bulk', (r) => r.bulk(bytesOf('x'), 1, 1), '$0\r\n\r\n'],
    ['bulkText', (r) => r.bulkText('hé→'), '$6\r\nh\xc3\xa9\xe2\x86\x92\r\n'],
    ['empty bulkText', (r) => r.bulkText(''), '$0\r\n\r\n'],
    ['bulkInteger', (r) => r.bulkInteger(-1234567), '$8\r\n-1234567\r\n'],
    ['bulkInteger 0', (r) => r.bulkInteger(0), '$1\r\n0\r\n'],
    ['null', (r) => r.null(), '$-1\r\n', '_\r\n'],
    ['nullArray', (r) => r.nullArray(), '*-1\r\n', '_\r\n'],
    ['array', (r) => r.array(12), '*12\r\n'],
    ['map', (r) => r.map(6), '*12\r\n', '%6\r\n'],
    ['set', (r) => r.set(3), '*3\r\n', '~3\r\n'],
    ['push', (r) => r.push(3), '*3\r\n', '>3\r\n'],
    ['double', (r) => r.double(0.1), '$19\r\n0.10000000000000001\r\n', ',0.10000000000000001\r\n'],
    ['double 0', (r) => r.double(0), '$1\r\n0\r\n', ',0\r\n'],
    ['double -0', (r) => r.double(-0), '$2\r\n-0\r\n', ',-0\r\n'],
    ['double NaN', (r) => r.double(NaN), '$3\r\nnan\r\n', ',nan\r\n'],
    ['double inf', (r) => r.double(-Infinity), '$4\r\n-inf\r\n', ',-inf\r\n'],
    ['boolean', (r) => r.boolean(true), ':1\r\n', '#t\r\n'],
    ['boolean false', (r) => r.boolean(false), ':0\r\n', '#f\r\n'],
    ['verbatim', (r) => r.verbatim('a\nb', 'txt'), '$3\r\na\nb\r\n', '=7\r\ntxt:a\nb\r\n'],
    ['bigNumber', (r) => r.bigNumber('123'), '$3\r\n123\r\n', '(123\r\n'],
  ];
  test.each(cases)('%s', (_name, what, resp2, resp3) => {
    expect(write(2, what)).toBe(resp2);
    expect(write(3, what)).toBe(resp3 ?? resp2);
    // And at every place in a buffer, its end above all.
    for (let fill = 4096 - 60; fill <= 4096; fill++) {
      const at = write(2, (r) => {
        r.raw(new Uint8Array(fill).fill(0x2e), 0, fill);
        what(r);
        r.ok();
      });
      expect(at).toBe(`${'.'.repeat(fill)}${resp2}+OK\r\n`);
    }
  });

  test('whole numbers of every length', () => {
    for (let value = 1; value < Number.MAX_SAFE_INTEGER; value = value * 10 - (value % 7)) {
      for (const v of [value, value - 1, value + 1, -value]) {
        expect(write(2, (r) => r.integer(v))).toBe(`:${v}\r\n`);
        expect(write(3, (r) => r.double(v))).toBe(`,${formatDouble17(v)}\r\n`);
        expect(write(2, (r) => r.double(v))).toBe(`$${formatDouble17(v).length}\r\n${formatDouble17(v)}\r\n`);
        expect(write(2, (r) => r.bulkInteger(v))).toBe(`$${String(v).length}\r\n${v}\r\n`);
      }
    }
  });

  test('bulks of every size around the sizes of buffers', () => {
    const sizes = [0, 1, 95, 96, 97, 127, 128, 129];
    for (const around of [4096, 16384, 65536, 200_000]) for (let d = -30; d <= 30; d++) sizes.push(around + d);
    const bytes = new Uint8Array(300_000);
    for (let i = 0; i < bytes.length; i++) bytes[i] = i * 31;
    const writer = new ReplyWriter();
    for (const size of sizes) {
      writer.ok();
      writer.bulk(bytes, 5, 5 + size);
      writer.bulkText('y'.repeat(size));
      writer.ok();
      const expected = `+OK\r\n$${size}\r\n${Buffer.from(bytes.buffer, 5, size).toString('latin1')}\r\n`;
      expect(written(writer) === `${expected}$${size}\r\n${'y'.repeat(size)}\r\n+OK\r\n`, `size ${size}`).toBe(true);
    }
  });

  test('bulks gathered beforehand, of every size, whatever room there is', () => {
    const sizes = [...Array.from({ length: 120 }, (_, i) => i), 4095, 4096, 5000, 70_000, 3, 0];
    const words = new Uint32Array(30_000);
    const bytes = new Uint8Array(words.buffer);
    const random = new Prng(Math.floor(Math.random() * 2 ** 32));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
    const slices = new Slices();
    slices.bytes = [new Uint8Array(0), bytes];
    slices.words = [new Uint32Array(0), words];
    slices.where.fill(1);
    const slice = (i: number, size: number): void => {
      slices.starts[i] = 4 * random.below((bytes.length - size) >>> 2);
      slices.ends[i] = slices.starts[i] + size;
    };
    const expected = (): string => {
      let text = '';
      for (let i = 0; i < slices.count; i++) {
        const bulk = Buffer.from(bytes.subarray(slices.starts[i], slices.ends[i])).toString('latin1');
        text += `$${bulk.length}\r\n${bulk}\r\n`;
      }
      return text;
    };
    sizes.forEach((size, i) => slice(i, size));
    slices.count = sizes.length;
    expect(write(2, (r) => r.bulks(slices))).toBe(expected());
    slices.count = 0;
    expect(write(2, (r) => r.bulks(slices))).toBe('');
    for (let fill = 4096 - 300; fill <= 4096; fill++) {
      slices.count = 1 + random.below(4);
      for (let i = 0; i < slices.count; i++) slice(i, random.below(120));
      const text = write(2, (r) => {
        r.raw(new Uint8Array(fill).fill(0x2e), 0, fill);
        r.bulks(slices);
        r.ok();
      });
      expect(text).toBe(`${'.'.repeat(fill)}${expected()}+OK\r\n`);
    }
  });

  test('a bulk is copied', () => {
    const writer = new ReplyWriter();
    const small = bytesOf('before');
    const large = new Uint8Array(100_000).fill(0x61);
    writer.bulk(small, 0, 6);
    writer.bulk(large, 0, large.length);
    small.fill(0);
    large.fill(0);
    expect(written(writer)).toBe(`$6\r\nbefore\r\n$100000\r\n${'a'.repeat(100_000)}\r\n`);
  });
});

describe('marks', () => {
  test('truncation takes back what was written since, across buffers', () => {
    const writer = new ReplyWriter();
    for (const before of [0, 1, 4095, 4096, 4097, 30_000]) {
      for (const after of [0, 1, 5000, 100_000]) {
        writer.raw(new Uint8Array(before).fill(0x2e), 0, before);
        const mark = writer.mark();
        for (let left = after; left > 0; left -= 1000) writer.raw(new Uint8Array(1000), 0, Math.min(left, 1000));
        writer.bulk(new Uint8Array(after), 0, after);
        writer.error('ERR gone');
        writer.truncate(mark);
        expect(writer.pendingBytes).toBe(before);
        writer.ok();
        expect(written(writer)).toBe(`${'.'.repeat(before)}+OK\r\n`);
      }
    }
    expect(writer.errors).toBe(24);
  });

  test('a mark from before a take is refused', () => {
    const writer = new ReplyWriter();
    const mark = writer.mark();
    writer.ok();
    writer.take();
    expect(() => writer.truncate(mark)).toThrow('before the next take');
  });

  test('arrays of unknown length, nested, across buffers', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const writer = new ReplyWriter();
    const bytes = new Uint8Array(100_000).fill(0x7a);
    const item = (depth: number): string => {
      if (depth < 4 && prng.chance(0.5)) {
        const mark = writer.beginArray();
        const count = prng.pick([0, 1, 3, 11]);
        let text = `*${count}\r\n`;
        for (let i = 0; i < count; i++) text += item(depth + 1);
        writer.endArray(mark, count);
        return text;
      }
      const length = prng.pick([0, 10, 300, 5000, prng.chance(0.1) ? 70_000 : 20]);
      writer.bulk(bytes, 0, length);
      return `$${length}\r\n${'z'.repeat(length)}\r\n`;
    };
    for (let round = 0; round < 200; round++) {
      let expected = item(0) + item(0);
      if (prng.chance(0.3)) {
        const mark = writer.mark();
        item(0);
        writer.truncate(mark);
      }
      expected += item(0);
      expect(written(writer) === expected, `seed ${seed} round ${round}`).toBe(true);
    }
  });

  test('an open array forbids take', () => {
    const writer = new ReplyWriter();
    writer.beginArray();
    expect(() => writer.take()).toThrow('no array is open');
  });
});

describe('buffers', () => {
  test('what was taken is not touched until it is given back, then used again', () => {
    const pool = new ReplyPool();
    const writer = new ReplyWriter(pool);
    writer.bulkText('first');
    const [first] = writer.take();
    writer.bulkText('second');
    const [second] = writer.take();
    expect(second!.buffer).not.toBe(first!.buffer);
    expect(Buffer.from(first!).toString()).toBe('$5\r\nfirst\r\n');
    writer.recycle(first!);
    writer.bulkText('third');
    const [third] = writer.take();
    expect(third!.buffer).toBe(first!.buffer);
    expect(Buffer.from(second!).toString()).toBe('$6\r\nsecond\r\n');
  });

  test('the pool keeps a bounded amount', () => {
    const pool = new ReplyPool();
    const writer = new ReplyWriter(pool);
    const taken: Uint8Array[] = [];
    for (let i = 0; i < 5000; i++) {
      writer.raw(new Uint8Array(9000), 0, 9000);
      taken.push(...writer.take());
    }
    for (const buffer of taken) writer.recycle(buffer);
    expect(pool.freeBytes).toBeGreaterThan(4 * 1024 * 1024);
    expect(pool.freeBytes).toBeLessThan(30 * 1024 * 1024);
  });

  test('what is sent goes in one piece up to 64 KiB, else in buffers that come back', () => {
    const pool = new ReplyPool();
    const writer = new ReplyWriter(pool);
    const random = new Prng(Math.floor(Math.random() * 2 ** 32));
    for (const size of [1, 4000, 4096, 5000, 16_384, 16_385, 60_000, 65_535, 65_536, 65_537, 200_000, 3]) {
      let sent = '';
      let short = 0;
      let done = (): void => undefined;
      const socket = {
        writeShort(bytes: Uint8Array, end: number): void {
          sent += Buffer.from(bytes.subarray(0, end)).toString('latin1');
          short++;
        },
        write(buffers: readonly Uint8Array[], whenDone: () => void): void {
          sent += Buffer.concat(buffers).toString('latin1');
          done = whenDone;
        },
      };
      let expected = '';
      while (expected.length < size) {
        const text = 'x'.repeat(Math.min(size - expected.length, 1 + random.below(3000)));
        writer.raw(bytesOf(text), 0, text.length);
        expected += text;
      }
      const mark = writer.mark();
      writer.sendTo(socket);
      done();
      expect(sent === expected).toBe(true);
      expect(short).toBe(size <= 65_536 ? 1 : 0);
      expect(writer.pendingBytes).toBe(0);
      expect(() => writer.truncate(mark)).toThrow('before the next take');
    }
    expect(pool.freeBytes).toBeGreaterThan(84_000);
    expect(pool.freeBytes).toBeLessThan(500_000);
  });

  test('nothing pending, nothing taken', () => {
    const writer = new ReplyWriter();
    expect(writer.take()).toEqual([]);
    const mark = writer.mark();
    writer.ok();
    writer.truncate(mark);
    expect(writer.take()).toEqual([]);
    expect(writer.memoryBytes).toBe(0);
  });
});

describe('writer and parser', () => {
  test('random replies come back, in both protocols', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const pool = new ReplyPool();
    for (let round = 0; round < 1500; round++) {
      const writer = new ReplyWriter(pool);
      writer.protocol = prng.chance(0.5) ? 2 : 3;
      const expected = Array.from({ length: prng.between(1, 5) }, () => randomReply(writer, prng, 0));
      const buffers = writer.take();
      expect(parseReplies(Buffer.concat(buffers)), `seed ${seed} round ${round}`).toEqual(expected);
      for (const buffer of buffers) writer.recycle(buffer);
    }
  });

  test('the null reply takes everything and counts errors', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const reply = new NullReply();
    for (let round = 0; round < 300; round++) randomReply(reply, prng, 0);
    reply.endArray(reply.beginArray(), 0);
    const errors = reply.errors;
    reply.error('ERR');
    expect(reply.errors).toBe(errors + 1);
  });
});

/** Writes a random reply; what the parser must make of it. */
function randomReply(reply: Reply, prng: Prng, depth: number): RespValue {
  const three = reply.protocol === 3;
  const word = (): string => Array.from({ length: prng.below(20) }, () => String.fromCharCode(prng.between(0x20, 0x7e))).join('');
  const blob = (text: string): RespValue => ({ kind: 'bulk', bytes: new Uint8Array(Buffer.from(text)) });
  const items = (count: number): RespValue[] => Array.from({ length: count }, () => randomReply(reply, prng, depth + 1));
  const pairs = (flat: RespValue[]): [RespValue, RespValue][] =>
    Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!]);
  const text = word();
  const count = prng.pick([0, 1, 2, 5]);
  const value = (prng.unit() - 0.5) * 10 ** prng.below(20);
  const whole = Math.trunc(value) % Number.MAX_SAFE_INTEGER;
  switch (prng.below(depth < 4 ? 18 : 12)) {
    case 0:
      reply.ok();
      return { kind: 'simple', text: 'OK' };
    case 1:
      reply.simple(text);
      return { kind: 'simple', text };
    case 2:
      reply.error(text);
      return { kind: 'error', text };
    case 3:
      reply.integer(whole);
      return { kind: 'integer', value: BigInt(whole) };
    case 4: {
      const bytes = new Uint8Array(prng.pick([0, 5, 95, 96, 1000, 5000])).fill(prng.below(256));
      reply.bulk(bytes, 0, bytes.length);
      return { kind: 'bulk', bytes };
    }
    case 5:
      reply.bulkText(`${text}é→`);
      return blob(`${text}é→`);
    case 6:
      reply.bulkInteger(whole);
      return blob(String(BigInt(whole)));
    case 7:
      reply.null();
      return { kind: 'null', form: three ? '_' : '$' };
    case 8:
      reply.nullArray();
      return { kind: 'null', form: three ? '_' : '*' };
    case 9:
      reply.double(value);
      return three ? { kind: 'double', value, text: formatDouble17(value) } : blob(formatDouble17(value));
    case 10:
      reply.boolean(count === 0);
      return three ? { kind: 'boolean', value: count === 0 } : { kind: 'integer', value: count === 0 ? 1n : 0n };
    case 11:
      reply.verbatim(text, 'txt');
      return three ? { kind: 'verbatim', format: 'txt', bytes: new Uint8Array(Buffer.from(text)) } : blob(text);
    case 12:
      reply.bigNumber('-12345678901234567890123');
      return three ? { kind: 'bigNumber', text: '-12345678901234567890123' } : blob('-12345678901234567890123');
    case 13:
      reply.array(count);
      return { kind: 'array', items: items(count) };
    case 14:
      reply.map(count);
      return three ? { kind: 'map', entries: pairs(items(2 * count)) } : { kind: 'array', items: items(2 * count) };
    case 15:
      reply.set(count);
      return { kind: three ? 'set' : 'array', items: items(count) };
    case 16:
      reply.push(count);
      return { kind: three ? 'push' : 'array', items: items(count) };
    default: {
      const mark = reply.beginArray();
      const inside = items(count);
      reply.endArray(mark, count);
      return { kind: 'array', items: inside };
    }
  }
}
