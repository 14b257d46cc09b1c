import { describe, expect, test } from 'vitest';
import { EntryKind, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { SEGMENT_HEADER_BYTES, encodeSegment, readSegment, readSegmentHeader, segmentBytes } from '../../src/snapshot/segments.ts';

const freshSeed = (): number => Math.floor(Math.random() * 0x1_0000_0000);

function entry(index: number, term: number, timeMs: number, bytes: number): Uint8Array {
  const made = makeEntry(EntryKind.commands, 1, 1, timeMs, new Uint8Array(bytes).fill(index));
  sealEntry(made, term, index, 0);
  return made;
}

const entries = [entry(5, 2, 1000, 100), entry(6, 2, 1000, 0), entry(7, 3, 1005, 70_000), entry(8, 4, 2 ** 41, 1)];
const encode = (list = entries): Buffer => Buffer.concat([...encodeSegment('c-1', list)]);

/** The bytes in chunks of random sizes. */
async function* chunks(bytes: Uint8Array, prng: Prng, most: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const size = prng.between(0, most);
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function read(bytes: Uint8Array, prng = new Prng(1), most = 50_000): Promise<{ clusterId: string; entries: Uint8Array[] }> {
  const { header, entries: found } = await readSegment(chunks(bytes, prng, most), 'log/x.segment');
  const list: Uint8Array[] = [];
  for await (const one of found) list.push(one);
  return { clusterId: header.clusterId, entries: list };
}

async function refusal(bytes: Uint8Array): Promise<string> {
  const thrown: unknown = await read(bytes).then(() => undefined, (error: unknown) => error);
  expect(thrown).toBeInstanceOf(OperationalError);
  expect(thrown).toMatchObject({ code: 'OBJECT_DAMAGED' });
  expect((thrown as Error).message).toMatch(/^log\/x.segment[, ]/);
  return (thrown as Error).message;
}

describe('a segment of the archived log', () => {
  test('comes back as it was, in chunks of any size', async () => {
    const seed = freshSeed();
    const prng = new Prng(seed);
    const bytes = encode();
    expect(bytes.length).toBe(segmentBytes(entries));
    for (const most of [1, 7, 128, 5000, 200_000]) {
      const back = await read(most === 1 ? encode(entries.slice(0, 2)) : bytes, prng, most);
      expect(back.clusterId).toBe('c-1');
      expect(back.entries.map((one) => Buffer.from(one).toString('base64')), `seed ${seed}`).toEqual((most === 1 ? entries.slice(0, 2) : entries).map((one) => Buffer.from(one).toString('base64')));
    }
    const { header } = await readSegment(chunks(bytes, prng, 1000), 'x');
    expect(header).toEqual({ clusterId: 'c-1', firstIndex: 5, lastIndex: 8, firstTerm: 2, lastTerm: 4, firstTimeMs: 1000, lastTimeMs: 2 ** 41 });
  });

  test('every flipped bit and every cut is found, with the byte where it shows', async () => {
    const small = [entry(1, 1, 10, 20), entry(2, 1, 11, 3)];
    const bytes = encode(small);
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1 << (at % 8);
      const text = await refusal(changed);
      if (at !== 7) expect(text, `byte ${at}`).toMatch(/, byte \d+: /);
      // Entries are told of at the place where they begin.
      const secondAt = SEGMENT_HEADER_BYTES + 4 + small[0]!.length;
      if (at > secondAt + 4 && at < secondAt + 4 + small[1]!.length) expect(text).toContain(`byte ${secondAt}: entry `);
      expect(await refusal(bytes.subarray(0, at)), `cut at ${at}`).toContain(`byte ${at}: it ends in`);
    }
    expect(await refusal(Buffer.concat([bytes, Buffer.of(0)]))).toContain(`byte ${bytes.length}: bytes behind the end`);
  });

  test('good entries that do not belong are found', async () => {
    const bytes = encode();
    const at = (n: number): number => SEGMENT_HEADER_BYTES + entries.slice(0, n).reduce((sum, one) => sum + 4 + one.length, 0);
    const piece = (n: number): Buffer => bytes.subarray(at(n), at(n + 1));
    const head = bytes.subarray(0, SEGMENT_HEADER_BYTES);
    const end = bytes.subarray(at(4));
    expect(await refusal(Buffer.concat([head, piece(0), piece(2), piece(3), end]))).toContain('entry 7 where 6 is due');
    expect(await refusal(Buffer.concat([head, piece(1)]))).toContain('entry 6 where 5 is due');
    expect(await refusal(Buffer.concat([head, piece(0), piece(1), end]))).toContain('2 entries (it says 4) where the header tells of 4');
    const other = encode([entry(5, 2, 1000, 100), entry(6, 2, 1000, 0), entry(7, 3, 1005, 70_000), entry(8, 3, 2000, 1)]);
    expect(await refusal(Buffer.concat([head, other.subarray(SEGMENT_HEADER_BYTES)]))).toMatch(/checksum of the whole|last entry is not/);
    const falling = Buffer.concat([...encodeSegment('c', [entry(1, 5, 10, 1), entry(2, 4, 10, 1)])]);
    expect(await refusal(falling)).toContain('of term 4 after term 5');
    const back = Buffer.concat([...encodeSegment('c', [entry(1, 5, 10, 1), entry(2, 5, 9, 1)])]);
    expect(await refusal(back)).toContain('of time 9 after 10');
    expect(() => [...encodeSegment('c', [entry(1, 1, 1, 1), entry(3, 1, 1, 1)])]).toThrow('entry 3 where 2 is due');
    expect(() => [...encodeSegment('c', [])]).toThrow('at least one entry');
  });

  test('a damaged length takes no memory', async () => {
    const bytes = encode([entry(1, 1, 10, 20)]);
    bytes.writeUInt32LE(500_000_000, SEGMENT_HEADER_BYTES);
    const before = process.memoryUsage().arrayBuffers;
    expect(await refusal(bytes)).toContain('it ends in entry 1');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
    bytes.writeUInt32LE(0xffff_ffff, SEGMENT_HEADER_BYTES);
    expect(await refusal(bytes)).toContain(`byte ${SEGMENT_HEADER_BYTES}: an entry of 4294967295 bytes`);
  });

  test('a reader that leaves early lets the source go', async () => {
    let isOver = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield* chunks(encode(), new Prng(3), 100);
      } finally {
        isOver = true;
      }
    }
    const { entries: found } = await readSegment(source(), 'x');
    for await (const one of found) {
      expect(one.length).toBeGreaterThan(0);
      break;
    }
    expect(isOver).toBe(true);
    isOver = false;
    expect((await readSegmentHeader(source(), 'x')).lastIndex).toBe(8);
    expect(isOver).toBe(true);
  });
});
