// RDB files for tests: ours whole, loaded in any pieces, and hand-made ones byte by byte.
import { Crc64 } from '../../src/base/crc64.ts';
import type { Prng } from '../../src/base/prng.ts';
import { Keyspace } from '../../src/keyspace/keyspace.ts';
import { encodingName } from '../../src/keyspace/types.ts';
import { RdbReader, type RdbReadOptions, type RdbReport } from '../../src/snapshot/rdb-reader.ts';
import { RdbWriter } from '../../src/snapshot/rdb-writer.ts';

export function newKeyspace(databases = 16): Keyspace {
  return new Keyspace({ databases, hashKey: new Uint8Array(16).fill(9) });
}

export function write(keyspace: Keyspace, aux: ReadonlyArray<readonly [string, string]> = []): Uint8Array {
  return Buffer.concat([...new RdbWriter(keyspace, { aux }).chunks()]);
}

/** Feeds the file in pieces of at most `pieceMax` bytes, random lengths where a generator is given. */
export function load(
  file: Uint8Array,
  options: RdbReadOptions,
  pieceMax = Infinity,
  random?: Prng,
): { keyspace: Keyspace; report: RdbReport } {
  const keyspace = newKeyspace();
  const reader = new RdbReader(keyspace, options);
  for (let at = 0; at < file.length; ) {
    const size = random === undefined ? Math.min(pieceMax, file.length) : random.between(1, Math.min(pieceMax, file.length));
    // A copy, spoilt afterwards: a reader that keeps a view of it shows.
    const piece = Uint8Array.from(file.subarray(at, at + size));
    reader.feed(piece);
    piece.fill(0xaa);
    at += size;
  }
  return { keyspace, report: reader.end() };
}

/** Everything that must survive: keys in their order with type, encoding, deadline and elements in theirs. */
export function contents(keyspace: Keyspace): string[] {
  const lines: string[] = [];
  const text = ({ bytes, start, end }: { bytes: Uint8Array; start: number; end: number }): string => Buffer.from(bytes.subarray(start, end)).toString('latin1');
  for (let number = 0; number < keyspace.databases; number++) {
    const db = keyspace.database(number);
    for (let i = 0; i < db.size; i++) {
      const h = db.at(i);
      const encoding = encodingName(keyspace.encoding(h));
      const elements: string[] = [];
      if (keyspace.type(h) === 0) elements.push(text(keyspace.stringSpan(h)));
      else if (keyspace.type(h) === 4) {
        for (keyspace.hashes.walk(h); keyspace.hashes.next(); ) elements.push(`${text(keyspace.hashes.field())}=${text(keyspace.hashes.value())}`);
      } else {
        const { view } = keyspace.zsets;
        view.open(h);
        for (view.seek(0); view.valid; view.next()) {
          const { score } = view;
          view.load();
          elements.push(`${text({ bytes: view.memberBytes, start: view.memberStart, end: view.memberEnd })}=${Object.is(score, -0) ? '-0' : score}`);
        }
      }
      lines.push(JSON.stringify([number, keyspace.keyText(h), encoding, keyspace.expiryMs(h), elements]));
    }
  }
  return lines;
}

/** Builds a file by hand. */
export class FileBuilder {
  readonly #parts: Buffer[] = [];

  constructor(version = 10) {
    this.raw(`REDIS${String(version).padStart(4, '0')}`);
  }

  raw(...parts: (string | number | Uint8Array)[]): this {
    for (const part of parts) {
      this.#parts.push(typeof part === 'number' ? Buffer.of(part) : typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part));
    }
    return this;
  }

  length(value: number): this {
    if (value < 64) return this.raw(value);
    if (value < 16384) return this.raw(0x40 | (value >> 8), value & 0xff);
    return this.raw(0x80, Buffer.of(value >>> 24, value >>> 16, value >>> 8, value));
  }

  string(value: string | Uint8Array): this {
    return this.length(value.length).raw(value);
  }

  double(value: number): this {
    return this.raw(new Uint8Array(new Float64Array([value]).buffer));
  }

  /** With EOF and CRC; 'none' leaves the CRC 0. */
  end(crc: 'crc' | 'none' = 'crc'): Buffer {
    this.raw(255);
    const body = Buffer.concat(this.#parts);
    const trailer = Buffer.alloc(8);
    if (crc === 'crc') {
      const sum = new Crc64();
      sum.update(body);
      sum.write(trailer, 0);
    }
    return Buffer.concat([body, trailer]);
  }
}

/** A ziplist as Redis before 7.0 wrote it: integers in their shortest form. */
export function ziplist(...entries: (string | number | bigint)[]): Buffer {
  const parts: Buffer[] = [];
  let before = 0;
  let at = 10;
  let tail = 10;
  for (const entry of entries) {
    const previous = before < 254 ? Buffer.of(before) : Buffer.from([254, before & 0xff, (before >> 8) & 0xff, (before >> 16) & 0xff, 0]);
    const part = Buffer.concat([previous, typeof entry === 'string' ? ziplistString(entry) : ziplistInteger(BigInt(entry))]);
    parts.push(part);
    tail = at;
    before = part.length;
    at += before;
  }
  const head = Buffer.alloc(10);
  head.writeUInt32LE(at + 1, 0);
  head.writeUInt32LE(tail, 4);
  head.writeUInt16LE(entries.length, 8);
  return Buffer.concat([head, ...parts, Buffer.of(255)]);
}

function ziplistString(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const { length } = bytes;
  const head = length < 64 ? Buffer.of(length) : length < 16384 ? Buffer.of(0x40 | (length >> 8), length & 0xff) : Buffer.from([0x80, 0, length >> 16, (length >> 8) & 0xff, length & 0xff]);
  return Buffer.concat([head, bytes]);
}

function ziplistInteger(value: bigint): Buffer {
  if (value >= 0n && value <= 12n) return Buffer.of(0xf1 + Number(value));
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  for (const [code, size] of [[0xfe, 1], [0xc0, 2], [0xf0, 3], [0xd0, 4]] as const) {
    if (BigInt.asIntN(size * 8, value) === value) return Buffer.concat([Buffer.of(code), bytes.subarray(0, size)]);
  }
  return Buffer.concat([Buffer.of(0xe0), bytes]);
}

/** A zipmap with `free` unused bytes behind each value. */
export function zipmap(free: number, ...pairs: string[]): Buffer {
  const length = (n: number): Buffer => (n < 254 ? Buffer.of(n) : Buffer.from([254, n & 0xff, (n >> 8) & 0xff, (n >> 16) & 0xff, 0]));
  const parts: Buffer[] = [Buffer.of(Math.min(254, pairs.length / 2))];
  pairs.forEach((text, i) => {
    parts.push(length(text.length));
    if (i % 2 === 1) parts.push(Buffer.of(free));
    parts.push(Buffer.from(text, 'latin1'));
    if (i % 2 === 1) parts.push(Buffer.alloc(free, 0x3f));
  });
  return Buffer.concat([...parts, Buffer.of(255)]);
}
