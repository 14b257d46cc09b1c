// One numbered database: a table of keys (key-table.ts), and its strings.
//
// A raw string grown in place keeps its handle; anything else may change it. The value's bytes never alias a segment.
import { BULK_BYTES_DEFAULT, MiB } from '../base/limits.ts';
import { BIG_BYTES } from '../memory/allocator.ts';
import { copyBytes } from '../memory/bytes.ts';
import { Int64 } from '../memory/integer.ts';
import { assertExpiry, assertKey, KeyTable } from './key-table.ts';
import { DIGEST_CHUNK_BYTES, digestChunks } from './record-digest.ts';
import { INLINE_BYTES_MAX, NO_EXPIRY, recordBytes } from './record.ts';
import { Encoding, type Handle, ValueType } from './types.ts';

export type { ByteSpan, Handle } from './types.ts';

/** The longest string that SET leaves as embstr, as in Redis. */
export const EMBSTR_BYTES_MAX = 44;
/** A string that grows gets as much room again, up to this. */
const SPARE_BYTES_MAX = 1 * MiB;
/** Room reserved for a big string that grows: the longest that a client may make unless told otherwise. */
const BIG_ROOM_BYTES_MAX = BULK_BYTES_DEFAULT;
/** Longest text of an int, and where `#text` ends. */
const INT_TEXT_BYTES = 24;

export class Database extends KeyTable {
  readonly #int = new Int64();
  readonly #text = new Uint8Array(INT_TEXT_BYTES);

  setString(
    key: Uint8Array,
    kStart: number,
    kEnd: number,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
    expiryMs: number,
  ): Handle {
    const encoding = this.#encodingFor(value, vStart, vEnd);
    return this.#put(key, kStart, kEnd, encoding, value, vStart, vEnd, expiryMs);
  }

  /**
   * setString for a key that should be new, for loaders: the key counts and stands in the order, but until `settle` nothing but `size`,
   * `at` and this may be called, nor anything of another database. To be settled once ARRIVALS_MAX have come.
   */
  loadString(
    key: Uint8Array,
    kStart: number,
    kEnd: number,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
    expiryMs: number,
  ): void {
    assertKey(kStart, kEnd);
    assertExpiry(expiryMs);
    const { internals } = this;
    const { dictionary, hasher, versions } = internals;
    const encoding = this.#encodingFor(value, vStart, vEnd);
    const hash = hasher.hash(key, kStart, kEnd);
    const length = encoding === Encoding.int ? 8 : vEnd - vStart;
    const isVolatile = expiryMs !== NO_EXPIRY;
    const h = this.#newRecord(key, kStart, kEnd, hash, isVolatile, encoding, length);
    dictionary.append(this.keys, 0, h);
    internals.arrivals[internals.arrived++] = h;
    if (isVolatile) this.addVolatile(h);
    else versions.stampAbsent(hash, this.number);
    this.#fill(h, encoding, value, vStart, vEnd, expiryMs);
  }

  setStringRaw(
    key: Uint8Array,
    kStart: number,
    kEnd: number,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
    expiryMs: number,
  ): Handle {
    return this.#put(key, kStart, kEnd, Encoding.raw, value, vStart, vEnd, expiryMs);
  }

  setInteger(key: Uint8Array, kStart: number, kEnd: number, value: number | bigint, expiryMs: number): Handle {
    this.#int.set(value);
    return this.#put(key, kStart, kEnd, Encoding.int, this.#text, 0, 0, expiryMs);
  }

  /** Keeps the deadline. */
  replaceInteger(h: Handle, value: number | bigint): Handle {
    const { records } = this.internals;
    this.#int.set(value);
    this.subtract(h);
    let next = h;
    if (records.encoding(h) !== Encoding.int) {
      if (records.isExternal(h) || records.capacity(h) < 8) {
        next = this.outline(h, 8, 0);
        this.supplant(h, next);
        records.free(h);
      }
      records.writeMeta(next, ValueType.string, Encoding.int, false, records.clock(next), 8);
    }
    records.setInteger(next, this.#int);
    this.add(next);
    this.stamp(next);
    return next;
  }

  /** The result is raw. */
  append(h: Handle, value: Uint8Array, vStart: number, vEnd: number): Handle {
    const { records } = this.internals;
    const length = this.#stringLength(h);
    const nextLength = length + vEnd - vStart;
    const firstChunk = Math.floor(length / DIGEST_CHUNK_BYTES);
    this.subtractPart(h, firstChunk, digestChunks(length));
    const next = this.#grow(h, length, nextLength);
    records.locate(next);
    copyBytes(value, vStart, vEnd, records.valueBytes, records.valueAt + length);
    this.addPart(next, firstChunk, digestChunks(nextLength));
    this.stamp(next);
    return next;
  }

  /** The result is raw, with zeros between its old end and `offset`. An empty value changes nothing. */
  setRange(h: Handle, offset: number, value: Uint8Array, vStart: number, vEnd: number): Handle {
    if (vEnd === vStart) return h;
    const { records } = this.internals;
    const length = this.#stringLength(h);
    const end = offset + vEnd - vStart;
    const nextLength = Math.max(length, end);
    const firstChunk = Math.floor(Math.min(offset, length) / DIGEST_CHUNK_BYTES);
    const lastChunk = digestChunks(end);
    this.subtractPart(h, firstChunk, Math.min(lastChunk, digestChunks(length)));
    const next = this.#grow(h, length, nextLength);
    records.locate(next);
    const { valueBytes, valueAt } = records;
    if (offset > length) valueBytes.fill(0, valueAt + length, valueAt + offset);
    copyBytes(value, vStart, vEnd, valueBytes, valueAt + offset);
    this.addPart(next, firstChunk, lastChunk);
    this.stamp(next);
    return next;
  }

  /** Leaves an int's value in `#int`. */
  #encodingFor(value: Uint8Array, start: number, end: number): Encoding {
    if (this.#int.parse(value, start, end)) return Encoding.int;
    return end - start <= EMBSTR_BYTES_MAX ? Encoding.embstr : Encoding.raw;
  }

  /** Creates or overwrites. For an int the value is in `#int`, not in the bytes. */
  #put(
    key: Uint8Array,
    kStart: number,
    kEnd: number,
    encoding: Encoding,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
    expiryMs: number,
  ): Handle {
    assertKey(kStart, kEnd);
    assertExpiry(expiryMs);
    const { dictionary, handles, hasher, memory, records, access, versions } = this.internals;
    const hash = hasher.hash(key, kStart, kEnd);
    const length = encoding === Encoding.int ? 8 : vEnd - vStart;
    const isVolatile = expiryMs !== NO_EXPIRY;
    let old = dictionary.find(this.keys, 0, hash, key, kStart, kEnd);
    if (old !== 0 && records.kind(old) !== undefined) {
      this.remove(old);
      old = 0;
    }
    if (old !== 0 && !isVolatile && this.#overwrite(old, kEnd - kStart, encoding, length, value, vStart, vEnd)) return old;
    let h = old;
    if (old === 0) {
      h = this.#newRecord(key, kStart, kEnd, hash, isVolatile, encoding, length);
      dictionary.insert(this.keys, 0, h);
      if (isVolatile) this.addVolatile(h);
      else versions.stampAbsent(hash, this.number);
      this.internals.freeSomeDiscarded();
    } else {
      this.subtract(old);
      const isExternal = length > INLINE_BYTES_MAX;
      const bytes = recordBytes(kEnd - kStart, isVolatile, isExternal ? 4 : length);
      const clock = access.touched(records.clock(old));
      const block = isExternal ? this.#exchangeExternal(old, length) : this.#dropExternal(old);
      const wasVolatile = records.isVolatile(old);
      const position = wasVolatile ? records.volatilePosition(old) : 0;
      if (memory.usableBytes(old) !== memory.roundUp(bytes)) h = memory.allocate(bytes);
      records.writeKey(h, hash, key, kStart, kEnd, isVolatile);
      records.writeMeta(h, ValueType.string, encoding, isExternal, clock, length);
      if (isExternal) records.setExternal(h, block);
      if (h !== old) dictionary.replace(this.keys, 0, old, h);
      if (wasVolatile && isVolatile) {
        records.setVolatilePosition(h, position);
        handles.set(this.volatile, 0, position, h);
      } else if (isVolatile) this.addVolatile(h);
      else if (wasVolatile) {
        this.removeVolatile(position);
        versions.stampAbsent(hash, this.number);
      }
      if (h !== old) memory.free(old);
    }
    this.#fill(h, encoding, value, vStart, vEnd, expiryMs);
    return h;
  }

  /** The common case of `#put`: the value goes where the one before was. False where it must go elsewhere, or deadlines come in. */
  #overwrite(h: Handle, keyLength: number, encoding: Encoding, length: number, value: Uint8Array, vStart: number, vEnd: number): boolean {
    const { memory, records, access } = this.internals;
    if (length > INLINE_BYTES_MAX || records.isExternal(h) || records.isVolatile(h)) return false;
    if (memory.usableBytes(h) !== memory.roundUp(recordBytes(keyLength, false, length))) return false;
    records.overwrite(h, encoding, access.touched(records.clock(h)), length, value, vStart, vEnd, this.#int);
    this.addSum();
    this.stamp(h);
    return true;
  }

  /** A record for a string of `length` bytes, in no table yet; value and deadline are for `#fill`. */
  #newRecord(key: Uint8Array, kStart: number, kEnd: number, hash: number, isVolatile: boolean, encoding: Encoding, length: number): Handle {
    const { memory, records, access } = this.internals;
    const isExternal = length > INLINE_BYTES_MAX;
    const block = isExternal ? records.allocateExternal(length, length > BIG_BYTES) : 0;
    const h = memory.allocate(recordBytes(kEnd - kStart, isVolatile, isExternal ? 4 : length));
    records.writeKey(h, hash, key, kStart, kEnd, isVolatile);
    records.writeMeta(h, ValueType.string, encoding, isExternal, access.initial(), length);
    if (isExternal) records.setExternal(h, block);
    return h;
  }

  /** The last step of a change: deadline and value, and the key counts with them. For an int the value is in `#int`. */
  #fill(h: Handle, encoding: Encoding, value: Uint8Array, vStart: number, vEnd: number, expiryMs: number): void {
    const { records } = this.internals;
    if (expiryMs !== NO_EXPIRY) records.setDeadline(h, expiryMs);
    if (encoding === Encoding.int) records.setInteger(h, this.#int);
    else records.write(h, value, vStart, vEnd);
    this.add(h);
    this.stamp(h);
  }

  /** A block for an external value of `length` that takes the place of the value of `h`: its own if it has the size. */
  #exchangeExternal(h: Handle, length: number): number {
    const { memory, records } = this.internals;
    const isBig = length > BIG_BYTES;
    if (records.isExternal(h) && !isBig && records.length(h) <= BIG_BYTES) {
      const block = records.external(h);
      if (memory.usableBytes(block) === memory.roundUp(length)) return block;
    }
    records.freeValue(h);
    return records.allocateExternal(length, isBig);
  }

  #dropExternal(h: Handle): number {
    this.internals.records.freeValue(h);
    return 0;
  }

  /** Makes the string of `length` bytes a raw one of `nextLength` ≥ length, with its bytes kept and those behind undefined. */
  #grow(h: Handle, length: number, nextLength: number): Handle {
    const { memory, records } = this.internals;
    const isInt = records.encoding(h) === Encoding.int;
    if (!isInt && nextLength <= records.capacity(h)) {
      if (nextLength > BIG_BYTES) memory.growBig(records.external(h), nextLength);
      records.writeMeta(h, ValueType.string, Encoding.raw, records.isExternal(h), records.clock(h), nextLength);
      return h;
    }
    // The bytes as they are now: a view that stays good, for nothing is freed before they are copied.
    let source: Uint8Array = this.#text;
    let from = 0;
    if (isInt) from = records.integer(h).format(this.#text, INT_TEXT_BYTES);
    else {
      records.locate(h);
      source = records.valueBytes;
      from = records.valueAt;
    }
    const room = roomFor(nextLength);
    const isExternal = room > INLINE_BYTES_MAX;
    const isBig = nextLength > BIG_BYTES;
    const block = isExternal ? records.allocateExternal(room, isBig) : 0;
    const next = isExternal && records.isExternal(h) ? h : this.outline(h, isExternal ? 4 : room, block);
    if (isExternal) records.locateExternal(block, isBig);
    else records.locateInline(next);
    copyBytes(source, from, from + length, records.valueBytes, records.valueAt);
    if (isBig) memory.growBig(block, nextLength);
    if (next === h) {
      records.freeValue(h);
      records.setExternal(h, block);
    } else {
      this.supplant(h, next);
      records.free(h);
    }
    records.writeMeta(next, ValueType.string, Encoding.raw, isExternal, records.clock(next), nextLength);
    return next;
  }

  #stringLength(h: Handle): number {
    const { records } = this.internals;
    if (records.encoding(h) !== Encoding.int) return records.length(h);
    return INT_TEXT_BYTES - records.integer(h).format(this.#text, INT_TEXT_BYTES);
  }
}

/** Room for a string that has grown to `length`: doubled up to a megabyte of spare; a big one is only backed where it is written. */
function roomFor(length: number): number {
  if (length > BIG_BYTES) return Math.max(length, Math.min(2 * length, BIG_ROOM_BYTES_MAX));
  return Math.min(BIG_BYTES, length + Math.min(length, SPARE_BYTES_MAX));
}
