// One numbered database: its keys in a dictionary, those with a deadline in a second dense order, the sum of their
// digests. Every mutation here stamps the key's version and keeps digest, accounting and both orders.
//
// What must hold:
// - Orders, versions and digest depend on nothing but the sequence of mutations and beginRecord calls.
// - A key with a deadline stands in the volatile order at the position that its record says.
// - Nothing is mutated before everything that the mutation needs is allocated, but for what the old value occupied.
// A raw string grown in place keeps its handle; anything else may change it. The value's bytes never alias a segment.
import { assert } from '../base/assert.ts';
import { BULK_BYTES_DEFAULT, MiB } from '../base/limits.ts';
import { BIG_BYTES } from '../memory/allocator.ts';
import { copyBytes } from '../memory/bytes.ts';
import { Dictionary } from '../memory/dictionary.ts';
import { HandleList } from '../memory/handle-list.ts';
import { SEGMENT_SHIFT } from '../memory/segments.ts';
import { Int64 } from './integer.ts';
import { type Internals } from './internals.ts';
import {
  DIGEST_CHUNK_BYTES,
  INLINE_BYTES_MAX,
  KEY_BYTES_MAX,
  NO_EXPIRY,
  recordBytes,
} from './record.ts';
import { Encoding, type Handle, ValueType } from './types.ts';

export type { ByteSpan, Handle } from './types.ts';

/** The longest string that SET leaves as embstr, as in Redis. */
const EMBSTR_BYTES_MAX = 44;
/** A string that grows gets as much room again, up to this. */
const SPARE_BYTES_MAX = 1 * MiB;
/** Room reserved for a big string that grows: the longest that a client may make unless told otherwise. */
const BIG_ROOM_BYTES_MAX = BULK_BYTES_DEFAULT;
/** Longest text of an int, and where `#text` ends. */
const INT_TEXT_BYTES = 24;

export class Database {
  #number: number;
  readonly #internals: Internals;
  #keys: Dictionary;
  readonly #volatile: HandleList;
  #digestLow = 0;
  #digestHigh = 0;
  readonly #int = new Int64();
  readonly #text = new Uint8Array(INT_TEXT_BYTES);

  /** Made by Keyspace only. */
  constructor(number: number, internals: Internals) {
    this.#number = number;
    this.#internals = internals;
    this.#keys = new Dictionary(internals.memory, internals.meter);
    this.#volatile = new HandleList(internals.meter);
  }

  /** Changes with SWAPDB. */
  get number(): number {
    return this.#number;
  }

  /** Keys, those past their deadline and not yet removed included. */
  get size(): number {
    return this.#keys.size;
  }

  get volatileSize(): number {
    return this.#volatile.length;
  }

  get digestLow(): number {
    return this.#digestLow;
  }

  get digestHigh(): number {
    return this.#digestHigh;
  }

  /** For Keyspace.swap only. */
  renumber(number: number): void {
    this.#number = number;
  }

  find(bytes: Uint8Array, start: number, end: number): Handle {
    return this.#keys.find(this.#internals.hasher.hash(bytes, start, end), bytes, start, end);
  }

  isExpired(h: Handle, nowMs: number): boolean {
    const expiryMs = this.#internals.records.expiryMs(h);
    return expiryMs !== NO_EXPIRY && expiryMs < nowMs;
  }

  at(position: number): Handle {
    assert(position >= 0 && position < this.#keys.size, 'a position is below the size');
    return this.#keys.at(position);
  }

  volatileAt(position: number): Handle {
    assert(position >= 0 && position < this.#volatile.length, 'a position is below the number of volatile keys');
    return this.#volatile.at(position);
  }

  setString(
    key: Uint8Array,
    kStart: number,
    kEnd: number,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
    expiryMs: number,
  ): Handle {
    const encoding = this.#int.parse(value, vStart, vEnd)
      ? Encoding.int
      : vEnd - vStart <= EMBSTR_BYTES_MAX
        ? Encoding.embstr
        : Encoding.raw;
    return this.#put(key, kStart, kEnd, encoding, value, vStart, vEnd, expiryMs);
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
    const { records } = this.#internals;
    this.#int.set(value);
    this.#subtract(h);
    let next = h;
    if (records.encoding(h) !== Encoding.int) {
      if (records.isExternal(h) || records.capacity(h) < 8) {
        next = this.#outline(h, 8, 0);
        this.#supplant(h, next);
        records.free(h);
      }
      records.writeMeta(next, ValueType.string, Encoding.int, false, records.clock(next), 8);
    }
    records.setInteger(next, this.#int);
    this.#add(next);
    this.#stamp(next);
    return next;
  }

  /** The result is raw. */
  append(h: Handle, value: Uint8Array, vStart: number, vEnd: number): Handle {
    const { records } = this.#internals;
    const length = this.#stringLength(h);
    const nextLength = length + vEnd - vStart;
    const firstChunk = Math.floor(length / DIGEST_CHUNK_BYTES);
    this.#subtractPart(h, firstChunk, chunks(length));
    const next = this.#grow(h, length, nextLength);
    records.locate(next);
    copyBytes(value, vStart, vEnd, records.valueBytes, records.valueAt + length);
    this.#addPart(next, firstChunk, chunks(nextLength));
    this.#stamp(next);
    return next;
  }

  /** The result is raw, with zeros between its old end and `offset`. An empty value changes nothing. */
  setRange(h: Handle, offset: number, value: Uint8Array, vStart: number, vEnd: number): Handle {
    if (vEnd === vStart) return h;
    const { records } = this.#internals;
    const length = this.#stringLength(h);
    const end = offset + vEnd - vStart;
    const nextLength = Math.max(length, end);
    const firstChunk = Math.floor(Math.min(offset, length) / DIGEST_CHUNK_BYTES);
    const lastChunk = chunks(end);
    this.#subtractPart(h, firstChunk, Math.min(lastChunk, chunks(length)));
    const next = this.#grow(h, length, nextLength);
    records.locate(next);
    const { valueBytes, valueAt } = records;
    if (offset > length) valueBytes.fill(0, valueAt + length, valueAt + offset);
    copyBytes(value, vStart, vEnd, valueBytes, valueAt + offset);
    this.#addPart(next, firstChunk, lastChunk);
    this.#stamp(next);
    return next;
  }

  /** NO_EXPIRY (-1) takes the deadline away. */
  setExpiry(h: Handle, expiryMs: number): Handle {
    assertExpiry(expiryMs);
    const { records, memory, versions } = this.#internals;
    const wasVolatile = records.isVolatile(h);
    const isVolatile = expiryMs !== NO_EXPIRY;
    if (!wasVolatile && !isVolatile) return h;
    this.#subtractPart(h, 0, 0);
    let next = h;
    if (wasVolatile && isVolatile) records.setDeadline(h, expiryMs);
    else {
      const start = records.keyAt(h);
      const key = memory.bytes[h >>> SEGMENT_SHIFT]!;
      next = records.derive(h, records.hash(h), key, start, start + records.keyLength(h), expiryMs, true);
      this.#keys.replace(h, next);
      if (isVolatile) this.#addVolatile(next);
      else {
        this.#removeVolatile(records.volatilePosition(h));
        versions.stampAbsent(records.hash(next), this.#number);
      }
      memory.free(h);
    }
    this.#addPart(next, 0, 0);
    this.#stamp(next);
    return next;
  }

  remove(h: Handle): void {
    const { records } = this.#internals;
    this.#takeOut(h);
    records.free(h);
    this.#internals.freeSomeDiscarded();
  }

  /** Value and deadline go to a new key, which is absent; it stands last in the order. */
  rename(h: Handle, newKey: Uint8Array, start: number, end: number): Handle {
    const { records, memory, hasher } = this.#internals;
    assertKey(start, end);
    const next = records.derive(h, hasher.hash(newKey, start, end), newKey, start, end, records.expiryMs(h), true);
    this.#takeOut(h);
    memory.free(h);
    this.#bringIn(next);
    return next;
  }

  /** A copy of value and deadline under `newKey`, absent in `target` (which may be this database). */
  copyTo(h: Handle, target: Database, newKey: Uint8Array, start: number, end: number): Handle {
    const { records, hasher, access } = this.#internals;
    assertKey(start, end);
    const next = records.derive(h, hasher.hash(newKey, start, end), newKey, start, end, records.expiryMs(h), false);
    records.setClock(next, access.initial());
    target.#bringIn(next);
    return next;
  }

  /** The key is absent in `target`, another database. */
  moveTo(h: Handle, target: Database): Handle {
    assert(target !== this, 'a key moves to another database');
    this.#takeOut(h);
    target.#bringIn(h);
    return h;
  }

  /** Forgets all keys at once. Their memory comes back at once if no key is left in any database, else by and by. */
  clear(): void {
    const { memory, meter } = this.#internals;
    const order = this.#keys.detach();
    this.#keys = new Dictionary(memory, meter);
    this.#volatile.clear();
    this.#digestLow = 0;
    this.#digestHigh = 0;
    this.#internals.discard(order);
  }

  version(bytes: Uint8Array, start: number, end: number, nowMs: number): number {
    const { hasher, records, versions } = this.#internals;
    const hash = hasher.hash(bytes, start, end);
    const h = this.#keys.find(hash, bytes, start, end);
    if (h === 0 || this.isExpired(h, nowMs)) return versions.ofAbsent(hash, this.#number);
    return versions.ofRecord(records.versionIndex(h), records.versionRecord(h));
  }

  /** For Keyspace.rehashStep. */
  rehashStep(budgetPlaces: number): boolean {
    return this.#keys.rehashStep(budgetPlaces);
  }

  get rehashing(): boolean {
    return this.#keys.rehashing;
  }

  /** For Keyspace.defragStep: moves what the key has in slabs being evacuated. Returns the bytes moved. */
  evacuate(position: number): number {
    const { memory, records } = this.#internals;
    const h = this.#keys.at(position);
    let moved = 0;
    if (records.isExternal(h) && records.length(h) <= BIG_BYTES && memory.isEvacuating(records.external(h))) {
      records.relocateExternal(h);
      moved += memory.usableBytes(records.external(h));
    }
    if (!memory.isEvacuating(h)) return moved;
    const next = records.relocate(h);
    this.#supplant(h, next);
    memory.free(h);
    return moved + memory.usableBytes(next);
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
    const { hasher, memory, records, access, versions } = this.#internals;
    const hash = hasher.hash(key, kStart, kEnd);
    const length = encoding === Encoding.int ? 8 : vEnd - vStart;
    const isVolatile = expiryMs !== NO_EXPIRY;
    const isExternal = length > INLINE_BYTES_MAX;
    const bytes = recordBytes(kEnd - kStart, isVolatile, isExternal ? 4 : length);
    const old = this.#keys.find(hash, key, kStart, kEnd);
    let h = old;
    if (old === 0) {
      const block = isExternal ? records.allocateExternal(length, length > BIG_BYTES) : 0;
      h = memory.allocate(bytes);
      records.writeKey(h, hash, key, kStart, kEnd, isVolatile);
      records.writeMeta(h, ValueType.string, encoding, isExternal, access.initial(), length);
      if (isExternal) records.setExternal(h, block);
      this.#keys.insert(h);
      if (isVolatile) this.#addVolatile(h);
      else versions.stampAbsent(hash, this.#number);
      this.#internals.freeSomeDiscarded();
    } else {
      this.#subtract(old);
      const clock = access.touched(records.clock(old));
      const block = isExternal ? this.#exchangeExternal(old, length) : this.#dropExternal(old);
      const wasVolatile = records.isVolatile(old);
      const position = wasVolatile ? records.volatilePosition(old) : 0;
      if (memory.usableBytes(old) !== memory.roundUp(bytes)) h = memory.allocate(bytes);
      records.writeKey(h, hash, key, kStart, kEnd, isVolatile);
      records.writeMeta(h, ValueType.string, encoding, isExternal, clock, length);
      if (isExternal) records.setExternal(h, block);
      if (h !== old) this.#keys.replace(old, h);
      if (wasVolatile && isVolatile) {
        records.setVolatilePosition(h, position);
        this.#volatile.set(position, h);
      } else if (isVolatile) this.#addVolatile(h);
      else if (wasVolatile) {
        this.#removeVolatile(position);
        versions.stampAbsent(hash, this.#number);
      }
      if (h !== old) memory.free(old);
    }
    if (isVolatile) records.setDeadline(h, expiryMs);
    if (encoding === Encoding.int) records.setInteger(h, this.#int);
    else records.write(h, value, vStart, vEnd);
    this.#add(h);
    this.#stamp(h);
    return h;
  }

  /** A block for an external value of `length` that takes the place of the value of `h`: its own if it has the size. */
  #exchangeExternal(h: Handle, length: number): number {
    const { memory, records } = this.#internals;
    const isBig = length > BIG_BYTES;
    if (records.isExternal(h) && !isBig && records.length(h) <= BIG_BYTES) {
      const block = records.external(h);
      if (memory.usableBytes(block) === memory.roundUp(length)) return block;
    }
    records.freeValue(h);
    return records.allocateExternal(length, isBig);
  }

  #dropExternal(h: Handle): number {
    this.#internals.records.freeValue(h);
    return 0;
  }

  /**
   * Another record for the key of `h`, with room for `payloadBytes` of inline value or with `block` as its external value.
   * Deadline, orders and clock are as in `h`; the value's encoding, length and bytes are the caller's to write.
   */
  #outline(h: Handle, payloadBytes: number, block: number): Handle {
    const { memory, records } = this.#internals;
    const isVolatile = records.isVolatile(h);
    const start = records.keyAt(h);
    const length = records.keyLength(h);
    const next = memory.allocate(recordBytes(length, isVolatile, payloadBytes));
    records.writeKey(next, records.hash(h), memory.bytes[h >>> SEGMENT_SHIFT]!, start, start + length, isVolatile);
    records.writeMeta(next, records.type(h), records.encoding(h), block !== 0, records.clock(h), records.length(h));
    if (block !== 0) records.setExternal(next, block);
    if (isVolatile) {
      records.setDeadline(next, records.expiryMs(h));
      records.setVolatilePosition(next, records.volatilePosition(h));
    }
    return next;
  }

  /** Puts `next`, of the same key and volatility, where `h` stands; `h` is still to be freed. */
  #supplant(h: Handle, next: Handle): void {
    const { records } = this.#internals;
    this.#keys.replace(h, next);
    if (records.isVolatile(next)) this.#volatile.set(records.volatilePosition(next), next);
  }

  /** Makes the string of `length` bytes a raw one of `nextLength` ≥ length, with its bytes kept and those behind undefined. */
  #grow(h: Handle, length: number, nextLength: number): Handle {
    const { memory, records } = this.#internals;
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
    const next = isExternal && records.isExternal(h) ? h : this.#outline(h, isExternal ? 4 : room, block);
    if (isExternal) records.locateExternal(block, isBig);
    else records.locateInline(next);
    copyBytes(source, from, from + length, records.valueBytes, records.valueAt);
    if (isBig) memory.growBig(block, nextLength);
    if (next === h) {
      records.freeValue(h);
      records.setExternal(h, block);
    } else {
      this.#supplant(h, next);
      records.free(h);
    }
    records.writeMeta(next, ValueType.string, Encoding.raw, isExternal, records.clock(next), nextLength);
    return next;
  }

  /** Removes a key from dictionary, orders and digest; the record stays. */
  #takeOut(h: Handle): void {
    const { records, versions } = this.#internals;
    this.#subtract(h);
    if (records.isVolatile(h)) this.#removeVolatile(records.volatilePosition(h));
    else versions.stampAbsent(records.hash(h), this.#number);
    this.#keys.remove(h);
  }

  /** Adds a whole record as the last of the order. */
  #bringIn(h: Handle): void {
    const { records, versions } = this.#internals;
    this.#keys.insert(h);
    if (records.isVolatile(h)) this.#addVolatile(h);
    else versions.stampAbsent(records.hash(h), this.#number);
    this.#add(h);
    this.#stamp(h);
    this.#internals.freeSomeDiscarded();
  }

  #addVolatile(h: Handle): void {
    this.#internals.records.setVolatilePosition(h, this.#volatile.length);
    this.#volatile.push(h);
  }

  #removeVolatile(position: number): void {
    const list = this.#volatile;
    const last = list.pop();
    if (position === list.length) return;
    list.set(position, last);
    this.#internals.records.setVolatilePosition(last, position);
  }

  #stringLength(h: Handle): number {
    const { records } = this.#internals;
    if (records.encoding(h) !== Encoding.int) return records.length(h);
    return INT_TEXT_BYTES - records.integer(h).format(this.#text, INT_TEXT_BYTES);
  }

  #stamp(h: Handle): void {
    const { records, versions } = this.#internals;
    records.setVersion(h, versions.index, versions.record);
    if (records.isVolatile(h)) versions.stampAbsent(records.hash(h), this.#number);
  }

  #add(h: Handle): void {
    const { records } = this.#internals;
    records.digest(h);
    this.#digestLow = (this.#digestLow + records.sum.low) | 0;
    this.#digestHigh = (this.#digestHigh + records.sum.high) | 0;
  }

  #subtract(h: Handle): void {
    const { records } = this.#internals;
    records.digest(h);
    this.#digestLow = (this.#digestLow - records.sum.low) | 0;
    this.#digestHigh = (this.#digestHigh - records.sum.high) | 0;
  }

  #addPart(h: Handle, from: number, to: number): void {
    const { records } = this.#internals;
    records.digestPart(h, from, to);
    this.#digestLow = (this.#digestLow + records.sum.low) | 0;
    this.#digestHigh = (this.#digestHigh + records.sum.high) | 0;
  }

  #subtractPart(h: Handle, from: number, to: number): void {
    const { records } = this.#internals;
    records.digestPart(h, from, to);
    this.#digestLow = (this.#digestLow - records.sum.low) | 0;
    this.#digestHigh = (this.#digestHigh - records.sum.high) | 0;
  }
}

function chunks(length: number): number {
  return Math.ceil(length / DIGEST_CHUNK_BYTES);
}

/** Room for a string that has grown to `length`: doubled up to a megabyte of spare; a big one is only backed where it is written. */
function roomFor(length: number): number {
  if (length > BIG_BYTES) return Math.max(length, Math.min(2 * length, BIG_ROOM_BYTES_MAX));
  return Math.min(BIG_BYTES, length + Math.min(length, SPARE_BYTES_MAX));
}

function assertKey(start: number, end: number): void {
  assert(end - start <= KEY_BYTES_MAX, () => `a key of ${end - start} bytes is within ${KEY_BYTES_MAX}`);
}

function assertExpiry(expiryMs: number): void {
  assert(expiryMs === NO_EXPIRY || (expiryMs >= 0 && expiryMs <= Number.MAX_SAFE_INTEGER), () => `deadline ${expiryMs} is a time`);
}
