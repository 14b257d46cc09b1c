import { describe, expect, test } from 'vitest';
import {
  BulkEncoder,
  FRAME_HEADER_BYTES,
  FrameDecoder,
  PEER_HEAD_BYTES_MAX,
  PEER_PARTS_MAX,
  PING_FRAME,
  PONG_FRAME,
  encodeMessage,
  peerMessageFault,
} from '../../src/adapters/peer-frame.ts';
import { crc32c } from '../../src/base/crc32c.ts';
import { MiB, PEER_CHUNK_BYTES_MAX, PEER_MESSAGE_BYTES_MAX } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';

type Item = 'ping' | 'pong' | { head: Uint8Array; body: readonly Uint8Array[] };

function decode(chunks: Iterable<Uint8Array>): { items: Item[]; fault: string | undefined } {
  const items: Item[] = [];
  const decoder = new FrameDecoder({
    message: (head, body) => items.push({ head, body }),
    ping: () => items.push('ping'),
    pong: () => items.push('pong'),
  });
  for (const chunk of chunks) {
    const fault = decoder.push(chunk);
    if (fault !== undefined) return { items, fault };
  }
  return { items, fault: undefined };
}

/** The message as comparable text. */
function shown(item: Item): string {
  if (typeof item === 'string') return item;
  return [item.head, ...item.body].map((bytes) => Buffer.from(bytes).toString('hex')).join('|');
}

function frames(head: Uint8Array, body: readonly Uint8Array[]): Buffer[] {
  if (body.length === 0) return [Buffer.from(encodeMessage(head))];
  const bulk = new BulkEncoder(head, body);
  const out: Buffer[] = [];
  while (!bulk.done) out.push(Buffer.concat(bulk.next()));
  expect(bulk.bytesLeft).toBe(0);
  return out;
}

function randomBytes(prng: Prng, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = prng.uint32();
  return bytes;
}

/** A frame made by hand; its CRC is right whatever the rest is. */
function forge(kind: number, meta: Uint8Array, dataBytes: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + meta.length);
  frame.writeUInt32LE(kind, 4);
  frame.writeUInt32LE(meta.length, 8);
  frame.writeUInt32LE(dataBytes, 12);
  frame.set(meta, FRAME_HEADER_BYTES);
  frame.writeUInt32LE(crc32c(frame, 4), 0);
  return Buffer.concat([frame, data]);
}

function bulkMeta(headBytes: number, parts: readonly number[], partCount = parts.length): Buffer {
  const meta = Buffer.alloc(8 + 4 * parts.length + headBytes);
  meta.writeUInt32LE(headBytes, 0);
  meta.writeUInt32LE(partCount, 4);
  parts.forEach((bytes, i) => meta.writeUInt32LE(bytes, 8 + 4 * i));
  return meta;
}

const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1');

describe('frames', () => {
  const messages: { head: Uint8Array; body: Uint8Array[] }[] = [
    { head: ascii('heartbeat'), body: [] },
    { head: new Uint8Array(0), body: [] },
    { head: ascii('append'), body: [ascii('one'), new Uint8Array(0), ascii('three')] },
    { head: new Uint8Array(0), body: [new Uint8Array(0)] },
    { head: ascii('large'), body: [Buffer.alloc(5000, 'x')] },
  ];
  const expected = ['ping', ...messages.map(shown), 'pong'];
  const stream = Buffer.concat([PING_FRAME, ...messages.flatMap(({ head, body }) => frames(head, body)), PONG_FRAME]);

  test('arrive whole, and split in two at every byte', () => {
    expect(decode([Buffer.from(stream)]).items.map(shown)).toEqual(expected);
    for (let at = 1; at < stream.length; at++) {
      const { items, fault } = decode([Buffer.from(stream.subarray(0, at)), Buffer.from(stream.subarray(at))]);
      expect(fault, `split at ${at}`).toBeUndefined();
      expect(items.map(shown), `split at ${at}`).toEqual(expected);
    }
  });

  test('arrive byte by byte', () => {
    expect(decode(Array.from(stream, (byte) => Uint8Array.of(byte))).items.map(shown)).toEqual(expected);
  });

  test('of any sizes survive any splitting', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    for (let round = 0; round < 40; round++) {
      const wanted: Item[] = [];
      const bytes: Buffer[] = [];
      for (let i = prng.below(6); i >= 0; i--) {
        const head = randomBytes(prng, prng.below(200));
        const size = prng.pick([10, 300, 20_000]);
        const body = Array.from({ length: prng.below(30) }, () => randomBytes(prng, prng.below(size)));
        wanted.push({ head, body });
        bytes.push(...frames(head, body));
      }
      const all = Buffer.concat(bytes);
      const chunks: Buffer[] = [];
      for (let at = 0; at < all.length; ) {
        const end = Math.min(all.length, at + 1 + prng.below(prng.pick([3, 500, 65_536])));
        chunks.push(Buffer.from(all.subarray(at, end)));
        at = end;
      }
      const { items, fault } = decode(chunks);
      expect(fault, `seed ${seed}`).toBeUndefined();
      expect(items.map(shown), `seed ${seed}`).toEqual(wanted.map(shown));
    }
  });

  test('of other messages stand between the chunks of a big one', () => {
    const body = [Buffer.alloc(2.5 * MiB, 'a'), Buffer.alloc(100, 'b')];
    const bulk = frames(ascii('big'), body);
    expect(bulk.length).toBe(3);
    for (const frame of bulk) expect(frame.length).toBeLessThanOrEqual(PEER_CHUNK_BYTES_MAX + FRAME_HEADER_BYTES);
    const chunks = bulk.flatMap((frame) => [frame, Buffer.from(PING_FRAME), Buffer.from(encodeMessage(ascii('beat')))]);
    const { items, fault } = decode(chunks);
    expect(fault).toBeUndefined();
    const kinds = items.map((item) => (typeof item === 'string' ? item : Buffer.from(item.head).toString('latin1')));
    expect(kinds).toEqual(['ping', 'beat', 'ping', 'beat', 'big', 'ping', 'beat']);
    const big = items[4] as { body: readonly Uint8Array[] };
    expect(big.body.map((part) => part.length)).toEqual([2.5 * MiB, 100]);
    expect(Buffer.compare(Buffer.concat(big.body), Buffer.concat(body))).toBe(0);
  });

  test('refer to large parts and copy small ones', () => {
    const large = Buffer.alloc(100_000, 'x');
    const buffers = new BulkEncoder(ascii('h'), [large]).next();
    expect(buffers[1]).toBe(large);
    expect(new BulkEncoder(ascii('h'), Array.from({ length: 1000 }, () => ascii('small'))).next().length).toBe(1);
  });

  test('keep a head that is overwritten after ownHead', () => {
    const head = Buffer.from('before');
    const bulk = new BulkEncoder(head, [ascii('x')]);
    bulk.ownHead();
    head.fill('!');
    expect(shown(decode(bulk.next()).items[0] as Item)).toBe(shown({ head: ascii('before'), body: [ascii('x')] }));
  });

  test('with the most parts there may be', () => {
    const body = Array.from({ length: PEER_PARTS_MAX }, (_, i) => Uint8Array.of(i));
    const { items, fault } = decode(frames(Buffer.alloc(PEER_HEAD_BYTES_MAX), body));
    expect(fault).toBeUndefined();
    expect((items[0] as { body: readonly Uint8Array[] }).body.length).toBe(PEER_PARTS_MAX);
  });
});

describe('messages that cannot be sent', () => {
  test('are told from those that can', () => {
    expect(peerMessageFault(Buffer.alloc(PEER_HEAD_BYTES_MAX), [ascii('x')])).toBeUndefined();
    expect(peerMessageFault(Buffer.alloc(PEER_HEAD_BYTES_MAX + 1), [])).toMatch('head');
    expect(peerMessageFault(ascii('h'), new Array<Uint8Array>(PEER_PARTS_MAX + 1).fill(ascii('')))).toMatch('parts');
    const part = new Uint8Array(1 * MiB);
    const parts = PEER_MESSAGE_BYTES_MAX / MiB;
    expect(peerMessageFault(ascii(''), new Array<Uint8Array>(parts).fill(part))).toBeUndefined();
    expect(peerMessageFault(ascii('h'), new Array<Uint8Array>(parts).fill(part))).toMatch('message of');
  });
});

describe('bytes that break a rule', () => {
  const nothing = new Uint8Array(0);
  const cases: [string, Buffer[], RegExp][] = [
    ['unknown kind', [forge(6, nothing, 0)], /unknown kind/],
    ['kind 0', [forge(0, nothing, 0)], /unknown kind/],
    ['zero bytes that are not zero', [forge(0x101, nothing, 0)], /unknown kind/],
    ['head too long', [forge(1, new Uint8Array(PEER_HEAD_BYTES_MAX + 1), 0)], /meta/],
    ['message with data', [forge(1, nothing, 1)], /data/],
    ['ping with meta', [forge(4, ascii('x'), 0)], /meta/],
    ['chunk too long', [forge(3, nothing, PEER_CHUNK_BYTES_MAX + 1)], /data/],
    ['bulk without lengths', [forge(2, ascii('short'), 0)], /too short/],
    ['bulk without parts', [forge(2, bulkMeta(4, []), 0)], /0 parts/],
    ['bulk with too many parts', [forge(2, bulkMeta(0, [1], PEER_PARTS_MAX + 1), 1)], /parts/],
    ['bulk lengths that disagree', [forge(2, bulkMeta(4, [1], 2), 1)], /do not agree/],
    ['bulk of 4 GiB parts', [forge(2, bulkMeta(0, [0xffff_ffff, 0xffff_ffff]), 1)], /claims/],
    ['bulk that brings too much', [forge(2, bulkMeta(0, [3]), 4)], /more bytes/],
    ['bulk that brings nothing', [forge(2, bulkMeta(0, [3]), 0)], /without data/],
    ['continuation of nothing', [forge(3, nothing, 1)], /never began/],
    ['continuation too long', [forge(2, bulkMeta(0, [3]), 1, ascii('x')), forge(3, nothing, 3)], /more bytes/],
    ['continuation without data', [forge(2, bulkMeta(0, [3]), 1, ascii('x')), forge(3, nothing, 0)], /without data/],
    ['bulk inside a bulk', [forge(2, bulkMeta(0, [3]), 1, ascii('x')), forge(2, bulkMeta(0, [3]), 1)], /inside another/],
  ];
  test.each(cases)('%s', (_name, bytes, fault) => {
    const whole = decode(bytes);
    expect(whole.items).toEqual([]);
    expect(whole.fault).toMatch(fault);
    const split = decode(Array.from(Buffer.concat(bytes), (byte) => Uint8Array.of(byte)));
    expect(split.fault).toMatch(fault);
  });

  test('any bit turned in header or meta is found', () => {
    const frame = Buffer.concat(frames(ascii('head of a bulk'), [ascii('part'), ascii('another part')]));
    const checkedBytes = frame.length - 'partanother part'.length;
    for (let bit = 0; bit < checkedBytes * 8; bit++) {
      const damaged = Buffer.from(frame);
      damaged[bit >>> 3] = (damaged[bit >>> 3] as number) ^ (1 << (bit & 7));
      expect(decode([damaged, Buffer.alloc(PEER_CHUNK_BYTES_MAX)]).items, `bit ${bit}`).toEqual([]);
    }
  });

  test('random bytes never deliver and never throw', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    for (let round = 0; round < 2000; round++) {
      expect(decode([randomBytes(prng, prng.below(200))]).items, `seed ${seed}`).toEqual([]);
    }
  });

  test('nothing is delivered after stop(), not even of the same chunk', () => {
    const seen: string[] = [];
    const decoder = new FrameDecoder({
      message: (head) => {
        seen.push(Buffer.from(head).toString('latin1'));
        decoder.stop();
      },
      ping: () => seen.push('ping'),
      pong: () => seen.push('pong'),
    });
    decoder.push(Buffer.concat([encodeMessage(ascii('one')), encodeMessage(ascii('two')), PING_FRAME]));
    decoder.push(Buffer.from(PING_FRAME));
    expect(seen).toEqual(['one']);
  });

  test('a claimed length alone takes little memory', () => {
    const meta = bulkMeta(0, [600 * MiB]);
    const decoders: FrameDecoder[] = [];
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 16; i++) {
      const decoder = new FrameDecoder({ message: () => {}, ping: () => {}, pong: () => {} });
      expect(decoder.push(forge(2, meta, 1000, new Uint8Array(999)))).toBeUndefined();
      decoders.push(decoder);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(decoders.length * 2 * MiB);
  });
});
