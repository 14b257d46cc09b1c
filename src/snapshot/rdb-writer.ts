// Writing a keyspace as an RDB file of version 10, in chunks that are pulled: `next` until it gives undefined. Keys stand in the
// dense order of their database and fields in that of their hash, so that a load gives the same orders. Packed values
// go out as they are, large ones element by element; nothing is compressed. No more than a chunk or
// two is ever in memory, or one key, field or member, if that is more.
//
// What must hold: nobody changes the keyspace, nor lets it defragment, from the first chunk to the last.
import type { Database, Handle } from '../keyspace/database.ts';
import type { Keyspace } from '../keyspace/keyspace.ts';
import { Encoding, ValueType } from '../keyspace/types.ts';
import type { ZsetView } from '../keyspace/zset-view.ts';
import { unreachable } from '../base/assert.ts';
import { Opcode, PIECE_BYTES, RDB_MAGIC, RDB_VERSION, RdbType } from './rdb-format.ts';
import { RdbOutput } from './rdb-output.ts';

const INT_32 = 0x8000_0000;

export interface RdbWriteOptions {
  /** Names and values, in this order, at the head of the file. */
  readonly aux: ReadonlyArray<readonly [string, string]>;
  /** Sees every key as it is written, with its place in the dense order. */
  readonly onKey?: (database: Database, position: number, h: Handle) => void;
}

export class RdbWriter {
  /** Keys written, all databases together. */
  keys = 0;
  readonly #keyspace: Keyspace;
  readonly #options: RdbWriteOptions;
  readonly #output = new RdbOutput();
  readonly #view: ZsetView;
  /** Where the writer stands: in database number `#database`, at key `#position`; -1 before the database's head. */
  #database = 0;
  #position = -1;
  /** The value that is being written in several steps, or 0, and how far that has got: bytes of a string, or elements. */
  #value: Handle = 0;
  #at = 0;
  #begun = false;
  #ended = false;

  constructor(keyspace: Keyspace, options: RdbWriteOptions) {
    this.#keyspace = keyspace;
    this.#options = options;
    this.#view = keyspace.zsets.newView();
  }

  /** The next chunk, which is the caller's to keep; undefined after the last. */
  next(): Uint8Array | undefined {
    const { ready } = this.#output;
    if (!this.#begun) this.#writeHead();
    while (ready.length === 0 && !this.#ended) {
      if (this.#value !== 0) this.#writeMore();
      else if (this.#database === this.#keyspace.databases) this.#writeEnd();
      else this.#writeSome(this.#keyspace.database(this.#database));
    }
    return ready.shift();
  }

  *chunks(): Generator<Uint8Array, void, void> {
    for (let chunk = this.next(); chunk !== undefined; chunk = this.next()) yield chunk;
  }

  /** Bytes of the chunks handed out. */
  get bytes(): number {
    return this.#output.written;
  }

  /** In hexadecimal; after the last chunk. */
  get checksum(): string {
    return this.#output.checksum;
  }

  #writeHead(): void {
    const output = this.#output;
    this.#begun = true;
    const magic = Buffer.from(RDB_MAGIC + String(RDB_VERSION).padStart(4, '0'), 'latin1');
    output.bytes(magic, 0, magic.length);
    for (const [name, value] of this.#options.aux) {
      output.byte(Opcode.aux);
      output.text(name);
      output.text(value);
    }
  }

  #writeEnd(): void {
    this.#output.byte(Opcode.end);
    this.#output.end();
    this.#ended = true;
  }

  /** Keys, until a chunk is full, a value takes several steps, or the database ends. */
  #writeSome(database: Database): void {
    const output = this.#output;
    if (this.#position < 0) {
      if (database.size > 0) {
        output.byte(Opcode.selectDb);
        output.length(database.number);
        output.byte(Opcode.resizeDb);
        output.length(database.size);
        output.length(database.volatileSize);
      }
      this.#position = 0;
    }
    while (this.#position < database.size) {
      this.#writeKey(database, this.#position++);
      if (output.ready.length > 0 || this.#value !== 0) return;
    }
    this.#database++;
    this.#position = -1;
  }

  #writeKey(database: Database, position: number): void {
    const keyspace = this.#keyspace;
    const output = this.#output;
    const h = database.at(position);
    this.keys++;
    this.#options.onKey?.(database, position, h);
    const expiryMs = keyspace.expiryMs(h);
    if (expiryMs !== -1) {
      output.byte(Opcode.expiryMs);
      output.uint64(expiryMs);
    }
    output.byte(this.#rdbType(h));
    const key = keyspace.keySpan(h);
    output.string(key.bytes, key.start, key.end);
    if (keyspace.type(h) !== ValueType.string) this.#beginValue(h);
    else if (keyspace.isInteger(h)) this.#writeInteger(h);
    else {
      const { bytes, start, end } = keyspace.stringSpan(h);
      if (end - start <= PIECE_BYTES) output.string(bytes, start, end);
      else this.#beginBytes(h, end - start);
    }
  }

  #rdbType(h: Handle): number {
    const keyspace = this.#keyspace;
    const type = keyspace.type(h);
    const isPacked = keyspace.encoding(h) === Encoding.listpack;
    if (type === ValueType.string) return RdbType.string;
    if (type === ValueType.hash) return isPacked ? RdbType.hashListpack : RdbType.hash;
    if (type === ValueType.zset) return isPacked ? RdbType.zsetListpack : RdbType.zset;
    return unreachable(undefined, `a value of type ${type} has a place in RDB`);
  }

  #writeInteger(h: Handle): void {
    const value = this.#keyspace.integer(h);
    if (value >= -INT_32 && value < INT_32) {
      this.#output.integer(value);
      return;
    }
    const { bytes, start, end } = this.#keyspace.stringSpan(h);
    this.#output.string(bytes, start, end);
  }

  #beginBytes(h: Handle, length: number): void {
    this.#output.length(length);
    this.#value = h;
    this.#at = 0;
  }

  #beginValue(h: Handle): void {
    const keyspace = this.#keyspace;
    if (keyspace.encoding(h) === Encoding.listpack) {
      const { bytes, start, end } = keyspace.stringSpan(h);
      if (end - start <= PIECE_BYTES) this.#output.string(bytes, start, end);
      else this.#beginBytes(h, end - start);
      return;
    }
    const count = keyspace.type(h) === ValueType.hash ? keyspace.hashes.count(h) : this.#open(h).size;
    this.#output.length(count);
    this.#value = h;
    this.#at = 0;
  }

  #open(h: Handle): ZsetView {
    this.#view.open(h);
    return this.#view;
  }

  /** Some of the value under way, until a chunk is full or the value ends. */
  #writeMore(): void {
    const keyspace = this.#keyspace;
    const h = this.#value;
    const encoding = keyspace.encoding(h);
    if (encoding === Encoding.hashtable) this.#writeFields(h);
    else if (encoding === Encoding.skiplist) this.#writeMembers(h);
    else {
      const { bytes, start, end } = keyspace.stringSpan(h);
      const from = start + this.#at;
      const to = Math.min(end, from + PIECE_BYTES);
      this.#output.bytes(bytes, from, to);
      this.#at += to - from;
      if (to === end) this.#value = 0;
    }
  }

  #writeFields(h: Handle): void {
    const { hashes } = this.#keyspace;
    const output = this.#output;
    hashes.walk(h, this.#at);
    for (;;) {
      if (!hashes.next()) {
        this.#value = 0;
        return;
      }
      const field = hashes.field();
      output.string(field.bytes, field.start, field.end);
      const value = hashes.value();
      output.string(value.bytes, value.start, value.end);
      this.#at++;
      if (output.ready.length > 0) return;
    }
  }

  #writeMembers(h: Handle): void {
    const view = this.#open(h);
    const output = this.#output;
    for (view.seek(this.#at); view.valid; view.next()) {
      const { score } = view;
      view.load();
      output.string(view.memberBytes, view.memberStart, view.memberEnd);
      output.double(score);
      this.#at++;
      if (output.ready.length > 0) return;
    }
    this.#value = 0;
  }
}
