// An object store over another one that keeps every object encrypted: the other one, and who can read or change what is
// in it, learn names and sizes only.
//
// Layout of a stored object, version 1:
//   offset size
//    0     8   "HOLDENC" and the format version, 1
//    8    32   salt, random
//   40     1   length of the key id, 1 to 63
//   41    63   key id, ASCII, padded with zeros
//  104     …   chunks: 256 KiB of content each, the last one 0 to 256 KiB (0 only in an empty object), each encrypted with
//              AES-256-GCM and followed by its tag of 16 bytes
//
// The key of an object is HKDF-SHA-256(master key, salt, "holdfast object 1"), so no nonce is used twice, however many
// objects there are and however often one is written. The nonce is the number of the chunk (8 bytes, big-endian), three
// zeros, and 1 for the last chunk, else 0. Header and name of the object are authenticated with every chunk.
//
// Valid: every chunk that is read has the right tag under its number, its being the last, this header and this name. So a
// changed byte, chunks left out, put in another order or cut off behind the end of one, and an object put in the place of
// another, are all found (those behind the range of a partial read excepted). What is not found: the whole object put back
// as it was at an earlier time under the same name; the checksum in a manifest finds that. While the key file says `plain`
// (encryption-keys.ts), an object that is not encrypted is read as it is, and who put it there is not known.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { must } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import type { ByteSource, GetOptions, ListOptions, ListPage, ObjectBody, ObjectInfo, ObjectStore, PutOptions, PutResult } from '../ports/object-store.ts';
import type { EncryptionKeys } from './encryption-keys.ts';
import { ContentCheck, DAMAGED_ADVICE, SOURCE_ADVICE, assertGet, checked } from './object-check.ts';

export const ENCRYPTED_HEADER_BYTES = 104;
export const ENCRYPTED_CHUNK_BYTES = 256 * KiB;
const TAG_BYTES = 16;
const SEALED_CHUNK_BYTES = ENCRYPTED_CHUNK_BYTES + TAG_BYTES;
const MAGIC = Uint8Array.of(0x48, 0x4f, 0x4c, 0x44, 0x45, 0x4e, 0x43, 1);
const SALT_AT = 8;
const SALT_BYTES = 32;
const KEY_ID_AT = 40;
const CIPHER = 'aes-256-gcm';

export class EncryptedStore implements ObjectStore {
  readonly location: string;
  readonly #inner: ObjectStore;
  readonly #keys: EncryptionKeys;

  constructor(inner: ObjectStore, keys: EncryptionKeys) {
    this.#inner = inner;
    this.#keys = keys;
    this.location = `${inner.location}, encrypted`;
  }

  async put(key: string, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    const check = new ContentCheck(options);
    let sha256 = '';
    const seal = Sealer.make(key, this.#keys);
    async function* sealed(): AsyncGenerator<Uint8Array> {
      yield seal.header;
      let pending: Uint8Array = new Uint8Array(ENCRYPTED_CHUNK_BYTES);
      let filled = 0;
      for await (const piece of source) {
        check.update(piece);
        for (let at = 0; at < piece.length;) {
          // A full chunk waits for the next byte, so that the last one is known to be the last.
          if (filled === ENCRYPTED_CHUNK_BYTES) {
            yield seal.chunk(pending, false);
            pending = new Uint8Array(ENCRYPTED_CHUNK_BYTES);
            filled = 0;
          }
          const part = piece.subarray(at, at + ENCRYPTED_CHUNK_BYTES - filled);
          pending.set(part, filled);
          filled += part.length;
          at += part.length;
        }
      }
      sha256 = check.finish(`what was to be stored as ${key}`, SOURCE_ADVICE);
      yield seal.chunk(pending.subarray(0, filled), true);
    }
    const bytes = options.bytes === undefined ? {} : { bytes: storedBytesOf(options.bytes) };
    const { etag } = await this.#inner.put(key, sealed(), bytes);
    return { bytes: check.bytes, sha256, etag };
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody> {
    assertGet(key, options);
    if (options.range !== undefined) return this.#getRange(key, options.range.from, options.range.to);
    const body = await this.#inner.get(key);
    const bytes = new Reblocker(body);
    try {
      const header = await bytes.next(ENCRYPTED_HEADER_BYTES);
      if (!this.#isEncrypted(key, header)) {
        const what = this.#what(key);
        return { info: body.info, [Symbol.asyncIterator]: () => checked(bytes.restAfter(header), options, what) };
      }
      const seal = Sealer.of(key, header, this.#keys, this.#what(key));
      const { stored, content } = this.#sizes(key, body.info);
      const chunks = decrypted(bytes, seal, chunkCount(stored), this.#what(key));
      const info = { ...body.info, bytes: content };
      return { info, [Symbol.asyncIterator]: () => checked(chunks, { bytes: content, ...options }, this.#what(key)) };
    } catch (thrown) {
      await bytes.stop();
      throw thrown;
    }
  }

  /** Two requests: the header, which also says how long the object is, and the chunks that hold the range. */
  async #getRange(key: string, from: number, to: number): Promise<ObjectBody> {
    const { header, info: stored } = await this.#header(key);
    if (!this.#isEncrypted(key, header)) return this.#inner.get(key, { range: { from, to } });
    const what = this.#what(key);
    const seal = Sealer.of(key, header, this.#keys, what);
    const { content } = this.#sizes(key, stored);
    const info = { ...stored, bytes: content };
    const end = Math.min(to, content);
    if (from >= end) return { info, [Symbol.asyncIterator]: nothing };
    const first = Math.floor(from / ENCRYPTED_CHUNK_BYTES);
    const last = Math.floor((end - 1) / ENCRYPTED_CHUNK_BYTES);
    const range = { from: ENCRYPTED_HEADER_BYTES + first * SEALED_CHUNK_BYTES, to: Math.min(ENCRYPTED_HEADER_BYTES + (last + 1) * SEALED_CHUNK_BYTES, stored.storedBytes) };
    const bytes = new Reblocker(await this.#inner.get(key, { range }));
    seal.number = first;
    const lastOfAll = chunkCount(stored.storedBytes) - 1;
    async function* chunks(): AsyncGenerator<Uint8Array> {
      try {
        for (let number = first; number <= last; number++) {
          const chunk = seal.open(await bytes.next(SEALED_CHUNK_BYTES), number === lastOfAll, what);
          const startsAt = number * ENCRYPTED_CHUNK_BYTES;
          yield chunk.subarray(Math.max(0, from - startsAt), Math.max(0, end - startsAt));
        }
      } finally {
        await bytes.stop();
      }
    }
    return { info, [Symbol.asyncIterator]: chunks };
  }

  async #header(key: string): Promise<{ header: Uint8Array; info: ObjectInfo }> {
    const body = await this.#inner.get(key, { range: { from: 0, to: ENCRYPTED_HEADER_BYTES } });
    const bytes = new Reblocker(body);
    const header = await bytes.next(ENCRYPTED_HEADER_BYTES);
    await bytes.stop();
    return { header, info: body.info };
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const info = await this.#inner.head(key);
    if (info === undefined || this.#keys.plain === 'refused') return info === undefined ? undefined : { ...info, bytes: this.#sizes(key, info).content };
    const { header, info: stored } = await this.#header(key);
    return this.#isEncrypted(key, header) ? { ...stored, bytes: this.#sizes(key, stored).content } : stored;
  }

  list(prefix: string, options?: ListOptions): Promise<ListPage> {
    return this.#inner.list(prefix, options);
  }

  delete(key: string): Promise<void> {
    return this.#inner.delete(key);
  }

  removeLeftovers(olderThanMs: number): Promise<number> {
    return this.#inner.removeLeftovers(olderThanMs);
  }

  close(): void {
    this.#inner.close();
  }

  #what(key: string): string {
    return `object ${key} in ${this.location}`;
  }

  #isEncrypted(key: string, header: Uint8Array): boolean {
    const isOurs = header.length >= MAGIC.length - 1 && MAGIC.subarray(0, -1).every((byte, at) => header[at] === byte);
    if (isOurs && header[MAGIC.length - 1] !== MAGIC.at(-1)) {
      throw damaged(`${this.#what(key)} has encryption format ${header[MAGIC.length - 1]}, this release reads ${MAGIC.at(-1)}; use the release that wrote it`);
    }
    if (!isOurs && this.#keys.plain === 'refused') throw damaged(`${this.#what(key)} is not encrypted, or its header is damaged; ${DAMAGED_ADVICE}. If it is from before there was a key, a line "plain" in ${this.#keys.path} has such objects read`);
    return isOurs;
  }

  #sizes(key: string, { storedBytes: stored }: ObjectInfo): { stored: number; content: number } {
    const content = stored - ENCRYPTED_HEADER_BYTES - chunkCount(stored) * TAG_BYTES;
    if (content < 0 || storedBytesOf(content) !== stored) throw damaged(`${this.#what(key)} has ${stored} bytes, which no encrypted object has; ${DAMAGED_ADVICE}`);
    return { stored, content };
  }
}

const damaged = (text: string): OperationalError => new OperationalError('OBJECT_DAMAGED', text);

function chunkCount(storedBytes: number): number {
  return Math.max(1, Math.ceil((storedBytes - ENCRYPTED_HEADER_BYTES) / SEALED_CHUNK_BYTES));
}

function storedBytesOf(contentBytes: number): number {
  return ENCRYPTED_HEADER_BYTES + contentBytes + Math.max(1, Math.ceil(contentBytes / ENCRYPTED_CHUNK_BYTES)) * TAG_BYTES;
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function* decrypted(bytes: Reblocker, seal: Sealer, chunks: number, what: string): AsyncGenerator<Uint8Array> {
  try {
    for (let number = 0; number < chunks; number++) yield seal.open(await bytes.next(SEALED_CHUNK_BYTES), number === chunks - 1, what);
    if ((await bytes.next(1)).length > 0) throw damaged(`${what} goes on behind its end; ${DAMAGED_ADVICE}`);
  } finally {
    await bytes.stop();
  }
}

/** Encrypts or decrypts the chunks of one object, in order. */
class Sealer {
  readonly header: Uint8Array;
  readonly #key: Uint8Array;
  readonly #authenticated: Uint8Array;
  /** Of the next chunk. */
  number = 0;

  private constructor(name: string, header: Uint8Array, master: Uint8Array) {
    this.header = header;
    const salt = header.subarray(SALT_AT, SALT_AT + SALT_BYTES);
    this.#key = new Uint8Array(hkdfSync('sha256', master, salt, 'holdfast object 1', 32));
    this.#authenticated = Buffer.concat([header, Buffer.from(name, 'utf8')]);
  }

  static make(name: string, keys: EncryptionKeys): Sealer {
    const { id, key } = keys.newest;
    const header = new Uint8Array(ENCRYPTED_HEADER_BYTES);
    header.set(MAGIC);
    header.set(randomBytes(SALT_BYTES), SALT_AT);
    header[KEY_ID_AT] = id.length;
    header.set(Buffer.from(id, 'latin1'), KEY_ID_AT + 1);
    return new Sealer(name, header, key);
  }

  static of(name: string, header: Uint8Array, keys: EncryptionKeys, what: string): Sealer {
    const length = header[KEY_ID_AT] ?? 0;
    if (header.length < ENCRYPTED_HEADER_BYTES || length === 0 || KEY_ID_AT + 1 + length > ENCRYPTED_HEADER_BYTES) throw damaged(`${what}: its header is damaged; ${DAMAGED_ADVICE}`);
    const id = Buffer.from(header.subarray(KEY_ID_AT + 1, KEY_ID_AT + 1 + length)).toString('latin1');
    const key = keys.byId(id);
    if (key === undefined) {
      const known = keys.ids.map((known) => JSON.stringify(known)).join(', ');
      throw new OperationalError('ENCRYPTION_KEY', `${what} is encrypted with key ${JSON.stringify(id)}, which is not in ${keys.path} (it has ${known}); add the line of that key`);
    }
    return new Sealer(name, header, key);
  }

  #nonce(isLast: boolean): Buffer {
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64BE(BigInt(this.number));
    nonce[11] = isLast ? 1 : 0;
    return nonce;
  }

  chunk(content: Uint8Array, isLast: boolean): Uint8Array {
    const cipher = createCipheriv(CIPHER, this.#key, this.#nonce(isLast));
    cipher.setAAD(this.#authenticated);
    this.number++;
    return Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  }

  open(sealed: Uint8Array, isLast: boolean, what: string): Uint8Array {
    const fault = damaged(`${what}: chunk ${this.number} does not verify; ${DAMAGED_ADVICE}, or check that the key file is the one it was written with`);
    if (sealed.length < TAG_BYTES) throw fault;
    const decipher = createDecipheriv(CIPHER, this.#key, this.#nonce(isLast));
    decipher.setAAD(this.#authenticated);
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    this.number++;
    const content = decipher.update(sealed.subarray(0, -TAG_BYTES));
    try {
      decipher.final();
    } catch {
      throw fault;
    }
    return content;
  }
}

/** Bytes of a body in pieces of the size that is asked for; fewer only at its end. */
class Reblocker {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  #isOver = false;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#iterator = body[Symbol.asyncIterator]();
  }

  async next(bytes: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let missing = bytes;
    for (;;) {
      const taken = this.#rest.subarray(0, missing);
      if (taken.length > 0) parts.push(taken);
      missing -= taken.length;
      this.#rest = this.#rest.subarray(taken.length);
      if (missing === 0 || this.#isOver) break;
      const step = await this.#iterator.next();
      if (step.done === true) this.#isOver = true;
      else this.#rest = step.value;
    }
    return parts.length === 1 ? must(parts[0]) : Buffer.concat(parts);
  }

  /** What was read already, and everything behind it. */
  async *restAfter(read: Uint8Array): AsyncGenerator<Uint8Array> {
    try {
      yield read;
      if (this.#rest.length > 0) yield this.#rest;
      for (;;) {
        const step = await this.#iterator.next();
        if (step.done === true) return;
        yield step.value;
      }
    } finally {
      await this.stop();
    }
  }

  async stop(): Promise<void> {
    await this.#iterator.return?.(undefined);
  }
}
