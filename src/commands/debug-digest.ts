// DEBUG DIGEST and DIGEST-VALUE, to the bit what redis-server 7.0 answers for the same data: SHA-1s of keys and values, mixed in
// order or xored together where there is none. Keys past their deadline count as long as they are there.
// It reads everything in one go: it is for tests and for comparing a node with a Redis, not for serving nodes.
import { formatDouble17 } from '../base/double.ts';
import { Sha1, SHA1_BYTES } from '../base/sha1.ts';
import type { Handle } from '../keyspace/database.ts';
import type { Keyspace } from '../keyspace/keyspace.ts';
import { ValueType } from '../keyspace/types.ts';

const EXPIRE = Buffer.from('!!expire!!', 'latin1');
const SCORE_TEXT_BYTES_MAX = 64;

export class DatasetDigest {
  readonly #keyspace: Keyspace;
  readonly #sha1 = new Sha1();
  readonly #hash = new Uint8Array(SHA1_BYTES);
  readonly #value = new Uint8Array(SHA1_BYTES);
  readonly #element = new Uint8Array(SHA1_BYTES);
  readonly #word = new Uint8Array(4);
  readonly #text = Buffer.alloc(SCORE_TEXT_BYTES_MAX);

  constructor(keyspace: Keyspace) {
    this.#keyspace = keyspace;
  }

  /** Of all databases, in hexadecimal. */
  all(): string {
    const keyspace = this.#keyspace;
    const total = new Uint8Array(SHA1_BYTES);
    for (let number = 0; number < keyspace.databases; number++) {
      const database = keyspace.database(number);
      if (database.size === 0) continue;
      this.#mixWord(total, number);
      for (let position = 0; position < database.size; position++) {
        const h = database.at(position);
        const value = this.#value.fill(0);
        const { bytes, start, end } = keyspace.keySpan(h);
        this.#mix(value, bytes, start, end);
        this.#xorValue(value, h);
        this.#xor(total, value, 0, SHA1_BYTES);
      }
    }
    return hexadecimal(total);
  }

  /** Of one key's value, without its key; zeros if there is none. */
  value(h: Handle): string {
    const value = this.#value.fill(0);
    if (h !== 0) this.#xorValue(value, h);
    return hexadecimal(value);
  }

  #xorValue(digest: Uint8Array, h: Handle): void {
    const keyspace = this.#keyspace;
    const type = keyspace.type(h);
    // ValueType has Redis's numbers.
    this.#mixWord(digest, type);
    if (type === ValueType.string) {
      const { bytes, start, end } = keyspace.stringSpan(h);
      this.#mix(digest, bytes, start, end);
    } else if (type === ValueType.hash) this.#xorHash(digest, h);
    else if (type === ValueType.zset) this.#xorZset(digest, h);
    if (keyspace.expiryMs(h) !== -1) this.#xor(digest, EXPIRE, 0, EXPIRE.length);
  }

  #xorHash(digest: Uint8Array, h: Handle): void {
    const { hashes } = this.#keyspace;
    const element = this.#element;
    for (hashes.walk(h); hashes.next(); ) {
      element.fill(0);
      const field = hashes.field();
      this.#mix(element, field.bytes, field.start, field.end);
      const value = hashes.value();
      this.#mix(element, value.bytes, value.start, value.end);
      this.#xor(digest, element, 0, SHA1_BYTES);
    }
  }

  #xorZset(digest: Uint8Array, h: Handle): void {
    const { view } = this.#keyspace.zsets;
    const element = this.#element;
    view.open(h);
    for (view.seek(0); view.valid; view.next()) {
      element.fill(0);
      const score = formatDouble17(view.score);
      view.load();
      this.#mix(element, view.memberBytes, view.memberStart, view.memberEnd);
      this.#mix(element, this.#text, 0, this.#text.write(score, 'latin1'));
      this.#xor(digest, element, 0, SHA1_BYTES);
    }
  }

  /** Takes bytes in so that the order of calls counts. */
  #mix(digest: Uint8Array, bytes: Uint8Array, start: number, end: number): void {
    this.#xor(digest, bytes, start, end);
    this.#sha1.hash(digest, 0, SHA1_BYTES, digest);
  }

  #mixWord(digest: Uint8Array, value: number): void {
    this.#word[2] = value >>> 8;
    this.#word[3] = value;
    this.#mix(digest, this.#word, 0, 4);
  }

  /** Takes bytes in so that the order of calls does not count. */
  #xor(digest: Uint8Array, bytes: Uint8Array, start: number, end: number): void {
    const hash = this.#hash;
    this.#sha1.hash(bytes, start, end, hash);
    for (let i = 0; i < SHA1_BYTES; i++) digest[i]! ^= hash[i]!;
  }
}

function hexadecimal(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.length).toString('hex');
}
