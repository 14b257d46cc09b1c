// What a key's record adds to its database's digest: a function of key, type, encoding, deadline and value, and of nothing that is
// local to a node. Part of the contract between nodes and releases, as the mixing is (digest.ts). Reads records, changes none.
import { SEGMENT_SHIFT } from '../memory/segments.ts';
import { Lanes } from './digest.ts';
import type { Records } from './record.ts';
import type { Handle } from './types.ts';
import { ROOT_BYTES_LOW, ROOT_DIGEST_HIGH, ROOT_DIGEST_LOW } from './value-kinds.ts';

/** Long strings are digested in chunks of this size, so that changing a few bytes digests few bytes. */
export const DIGEST_CHUNK_BYTES = 4096;
const TWO_32 = 0x1_0000_0000;

/** Chunks of a value of `length` bytes. */
export function digestChunks(length: number): number {
  return Math.ceil(length / DIGEST_CHUNK_BYTES);
}

export class RecordDigests {
  readonly #records: Records;
  /** Where every method but `key` leaves its result. */
  readonly sum = new Lanes();
  readonly #lanes = new Lanes();
  readonly #elements = new Lanes();
  #keyLow = 0;
  #keyHigh = 0;

  constructor(records: Records) {
    this.#records = records;
  }

  of(h: Handle): void {
    this.part(h, 0, digestChunks(this.#records.length(h)));
  }

  /** As `of`, with a rooted value's elements digested anew. */
  slow(h: Handle): void {
    const records = this.#records;
    const kind = records.kind(h);
    if (kind === undefined) return this.of(h);
    const elements = this.#elements;
    elements.seed(0, 0);
    const words = records.rootWords(h);
    const root = records.rootAt(h);
    kind.digestElements(words, root, elements);
    const low = words[root + ROOT_DIGEST_LOW]!;
    const high = words[root + ROOT_DIGEST_HIGH]!;
    words[root + ROOT_DIGEST_LOW] = elements.low;
    words[root + ROOT_DIGEST_HIGH] = elements.high;
    this.of(h);
    words[root + ROOT_DIGEST_LOW] = low;
    words[root + ROOT_DIGEST_HIGH] = high;
  }

  /** As `of`, of the value only chunks [from, to): what a change confined to them takes from the digest and adds to it. */
  part(h: Handle, from: number, to: number): void {
    this.key(h);
    this.underKey(h, from, to);
  }

  /** The first half of `part`, which follows from the key alone. */
  key(h: Handle): void {
    const records = this.#records;
    const lanes = this.#lanes;
    const length = records.keyLength(h);
    lanes.seed(0x243f6a88, 0x85a308d3);
    lanes.bytes(records.memory.words[h >>> SEGMENT_SHIFT]!, records.keyAt(h) >>> 2, length);
    lanes.close(length);
    this.#keyLow = lanes.low;
    this.#keyHigh = lanes.high;
  }

  /** The second half, of a record of that key. Leaves its value located. */
  underKey(h: Handle, from: number, to: number): void {
    const records = this.#records;
    const lanes = this.#lanes;
    const keyLow = this.#keyLow;
    const keyHigh = this.#keyHigh;
    const length = records.length(h);
    lanes.seed(keyLow, keyHigh);
    lanes.word(records.typeAndEncoding(h));
    lanes.word(length);
    if (records.isVolatile(h)) {
      const deadline = records.expiryMs(h);
      lanes.word(deadline >>> 0);
      lanes.word(Math.floor(deadline / TWO_32));
      lanes.close(2);
    } else lanes.close(1);
    let low = lanes.low;
    let high = lanes.high;
    records.locate(h);
    // Of a root, whatever its length, only the count and the elements' sum.
    const digested = records.kind(h) === undefined ? length : ROOT_BYTES_LOW * 4;
    for (let chunk = from; chunk < to; chunk++) {
      const at = chunk * DIGEST_CHUNK_BYTES;
      const bytes = Math.min(DIGEST_CHUNK_BYTES, digested - at);
      lanes.seed(keyLow ^ Math.imul(chunk + 1, 0x13198a2f), (keyHigh + Math.imul(chunk + 1, 0x03707345)) | 0);
      lanes.bytes(records.valueWords, (records.valueAt + at) >>> 2, bytes);
      lanes.close(bytes);
      low = (low + lanes.low) | 0;
      high = (high + lanes.high) | 0;
    }
    this.sum.seed(low, high);
  }
}
