// One numbered database as a table of keys of any type: its keys in a dictionary, those with a deadline in a second dense
// order, the sum of their digests; and what changes the values that are not strings (value-kinds.ts). database.ts adds
// strings. Every mutation here stamps the key's version and keeps digest, accounting and both orders.
//
// What must hold:
// - Orders, versions and digest depend on nothing but the sequence of mutations and beginRecord calls.
// - A key with a deadline stands in the volatile order at the position that its record says.
// - Nothing is mutated before everything that the mutation needs is allocated, but for what the old value occupied.
import { assert } from '../base/assert.ts';
import { BIG_BYTES } from '../memory/allocator.ts';
import { copyWords } from '../memory/bytes.ts';
import { DICTIONARY_WORDS } from '../memory/dictionary.ts';
import { HANDLE_ARRAY_WORDS } from '../memory/handle-array.ts';
import { SEGMENT_SHIFT } from '../memory/segments.ts';
import type { Internals } from './internals.ts';
import { INLINE_BYTES_MAX, KEY_BYTES_MAX, NO_EXPIRY, recordBytes } from './record.ts';
import type { Encoding, Handle, ValueType } from './types.ts';
import { PACKED_BYTES_MAX } from './value-kinds.ts';

/** A packed value that takes more than this share of the room that it needs is moved. */
const SPARE_SHARE_MAX = 1.25;

export class KeyTable {
  #number: number;
  protected readonly internals: Internals;
  /** Words of a Dictionary. */
  protected keys = new Uint32Array(DICTIONARY_WORDS);
  /** Words of a HandleArray: the keys with a deadline. */
  protected readonly volatile = new Uint32Array(HANDLE_ARRAY_WORDS);
  #digestLow = 0;
  #digestHigh = 0;

  /** Made by Keyspace only. */
  constructor(number: number, internals: Internals) {
    this.#number = number;
    this.internals = internals;
  }

  /** Changes with SWAPDB. */
  get number(): number {
    return this.#number;
  }

  /** Keys, those past their deadline and not yet removed included. */
  get size(): number {
    return this.internals.dictionary.size(this.keys, 0);
  }

  get volatileSize(): number {
    return this.internals.handles.length(this.volatile, 0);
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
    const { dictionary, hasher } = this.internals;
    return dictionary.find(this.keys, 0, hasher.hash(bytes, start, end), bytes, start, end);
  }

  isExpired(h: Handle, nowMs: number): boolean {
    const expiryMs = this.internals.records.expiryMs(h);
    return expiryMs !== NO_EXPIRY && expiryMs < nowMs;
  }

  at(position: number): Handle {
    assert(position >= 0 && position < this.size, 'a position is below the size');
    return this.internals.dictionary.at(this.keys, 0, position);
  }

  volatileAt(position: number): Handle {
    assert(position >= 0 && position < this.volatileSize, 'a position is below the number of volatile keys');
    return this.internals.handles.get(this.volatile, 0, position);
  }

  /** NO_EXPIRY (-1) takes the deadline away. */
  setExpiry(h: Handle, expiryMs: number): Handle {
    assertExpiry(expiryMs);
    const { records, memory, versions } = this.internals;
    const wasVolatile = records.isVolatile(h);
    const isVolatile = expiryMs !== NO_EXPIRY;
    if (!wasVolatile && !isVolatile) return h;
    this.subtractPart(h, 0, 0);
    let next = h;
    if (wasVolatile && isVolatile) records.setDeadline(h, expiryMs);
    else {
      const start = records.keyAt(h);
      const key = memory.bytes[h >>> SEGMENT_SHIFT]!;
      next = records.derive(h, records.hash(h), key, start, start + records.keyLength(h), expiryMs, true);
      this.internals.dictionary.replace(this.keys, 0, h, next);
      if (isVolatile) this.addVolatile(next);
      else {
        this.removeVolatile(records.volatilePosition(h));
        versions.stampAbsent(records.hash(next), this.#number);
      }
      memory.free(h);
    }
    this.addPart(next, 0, 0);
    this.stamp(next);
    return next;
  }

  remove(h: Handle): void {
    this.#takeOut(h);
    this.internals.discardRecord(h);
    this.internals.freeSomeDiscarded();
  }

  /**
   * A record for a new key, in a change that `endChange` ends: see value-kinds.ts. Packed: `length` bytes for the caller to
   * write, with room for `room`; else an empty root.
   */
  create(
    key: Uint8Array,
    kStart: number,
    kEnd: number,
    type: ValueType,
    encoding: Encoding,
    length: number,
    room: number,
  ): Handle {
    assertKey(kStart, kEnd);
    assert(length <= room && room <= PACKED_BYTES_MAX, () => `a packed value of ${length} bytes has room for ${room}`);
    const { dictionary, hasher, memory, records, access, versions, usedBefore } = this.internals;
    const kind = records.kinds.find(type, encoding);
    const hash = hasher.hash(key, kStart, kEnd);
    const bytes = kind === undefined ? room : kind.rootBytes;
    const isExternal = kind === undefined && room > INLINE_BYTES_MAX;
    const block = isExternal ? records.allocateExternal(room, false) : 0;
    const h = memory.allocate(recordBytes(kEnd - kStart, false, isExternal ? 4 : bytes));
    records.writeKey(h, hash, key, kStart, kEnd, false);
    records.writeMeta(h, type, encoding, isExternal, access.initial(), kind === undefined ? length : bytes);
    if (isExternal) records.setExternal(h, block);
    if (kind !== undefined) records.rootWords(h).fill(0, records.rootAt(h), records.rootAt(h) + (bytes >>> 2));
    dictionary.insert(this.keys, 0, h);
    versions.stampAbsent(hash, this.#number);
    usedBefore[0] = memory.usedBytes;
    return h;
  }

  /** A new key, absent so far, with a packed value of bytes[start, end): what a snapshot holds, checked by its reader. */
  createPacked(
    key: Uint8Array,
    kStart: number,
    kEnd: number,
    type: ValueType,
    encoding: Encoding,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Handle {
    const h = this.create(key, kStart, kEnd, type, encoding, end - start, end - start);
    this.internals.records.write(h, bytes, start, end);
    this.endChange(h);
    return h;
  }

  /** Takes the key out of the digest, so that its value may change: see value-kinds.ts. */
  beginChange(h: Handle): void {
    const { memory, usedBefore } = this.internals;
    this.subtract(h);
    usedBefore[0] = memory.usedBytes;
  }

  endChange(h: Handle): void {
    const { memory, records, usedBefore } = this.internals;
    if (records.kind(h) !== undefined) records.addRootBytes(h, memory.usedBytes - usedBefore[0]!);
    this.add(h);
    this.stamp(h);
    this.internals.freeSomeDiscarded();
  }

  /** In a change: makes room for `room` bytes of packed value. Its bytes and length stay. */
  reservePacked(h: Handle, room: number): Handle {
    if (room <= this.internals.records.capacity(h)) return h;
    return this.#movePacked(h, room);
  }

  /** In a change: says that the packed value has `length` bytes now, and gives back much room that it does not need. */
  trimPacked(h: Handle, length: number): Handle {
    const { memory, records } = this.internals;
    records.setLength(h, length);
    const isExternal = records.isExternal(h);
    const has = memory.usableBytes(isExternal ? records.external(h) : h);
    const needs = isExternal ? length : recordBytes(records.keyLength(h), records.isVolatile(h), length);
    return has > memory.roundUp(needs) * SPARE_SHARE_MAX ? this.#movePacked(h, length) : h;
  }

  /** In a change: the packed value becomes a rooted one of this encoding. `fill` takes the elements over from `h` to the root of `next`. */
  convert(h: Handle, encoding: Encoding, fill: (h: Handle, next: Handle) => void): Handle {
    const { memory, records, usedBefore } = this.internals;
    const type = records.type(h);
    const kind = records.kinds.find(type, encoding);
    assert(kind !== undefined && records.kind(h) === undefined, () => `${type} in encoding ${encoding} is rooted`);
    const next = this.outline(h, kind.rootBytes, 0);
    records.writeMeta(next, type, encoding, false, records.clock(h), kind.rootBytes);
    const root = records.rootAt(next);
    records.rootWords(next).fill(0, root, root + (kind.rootBytes >>> 2));
    usedBefore[0] = memory.usedBytes;
    fill(h, next);
    const filled = memory.usedBytes - usedBefore[0];
    this.supplant(h, next);
    records.free(h);
    // What hangs from the root since then is the change's: endChange counts it.
    usedBefore[0] = memory.usedBytes - filled;
    return next;
  }

  /** Value and deadline go to a new key, which is absent; it stands last in the order. */
  rename(h: Handle, newKey: Uint8Array, start: number, end: number): Handle {
    const { records, memory, hasher } = this.internals;
    assertKey(start, end);
    const next = records.derive(h, hasher.hash(newKey, start, end), newKey, start, end, records.expiryMs(h), true);
    this.#takeOut(h);
    memory.free(h);
    this.#bringIn(next);
    return next;
  }

  /** A copy of value and deadline under `newKey`, absent in `target` (which may be this database). */
  copyTo(h: Handle, target: KeyTable, newKey: Uint8Array, start: number, end: number): Handle {
    const { records, hasher, access } = this.internals;
    assertKey(start, end);
    const next = records.derive(h, hasher.hash(newKey, start, end), newKey, start, end, records.expiryMs(h), false);
    records.setClock(next, access.initial());
    target.#bringIn(next);
    return next;
  }

  /** The key is absent in `target`, another database. */
  moveTo(h: Handle, target: KeyTable): Handle {
    assert(target !== this, 'a key moves to another database');
    this.#takeOut(h);
    target.#bringIn(h);
    return h;
  }

  /**
   * Adds the keys that were loaded since the last time (Database.loadString) to the table. `expected` keys may come to be in all, as
   * somebody says; `trim` is called after the last. Returns how many: all, or those before the first whose key was there; then the
   * keyspace is of no use any more.
   */
  settle(expected: number): number {
    const { internals } = this;
    const { dictionary, arrivals, arrived } = internals;
    internals.arrived = 0;
    return dictionary.settle(this.keys, 0, arrivals, arrived, expected);
  }

  /** All keys that were to be loaded are settled. */
  trim(): void {
    this.internals.dictionary.trim(this.keys, 0);
  }

  /** Forgets all keys at once. Their memory comes back at once if no key is left in any database, else by and by. */
  clear(): void {
    const { keys } = this;
    this.keys = new Uint32Array(DICTIONARY_WORDS);
    this.internals.handles.clear(this.volatile, 0);
    this.#digestLow = 0;
    this.#digestHigh = 0;
    this.internals.discard(keys);
  }

  version(bytes: Uint8Array, start: number, end: number, nowMs: number): number {
    const { dictionary, hasher, records, versions } = this.internals;
    const hash = hasher.hash(bytes, start, end);
    const h = dictionary.find(this.keys, 0, hash, bytes, start, end);
    if (h === 0 || this.isExpired(h, nowMs)) return versions.ofAbsent(hash, this.#number);
    return versions.ofRecord(records.versionIndex(h), records.versionRecord(h));
  }

  /** For Keyspace.defragStep: moves some of what hangs from a rooted value; `cursor` as in ValueKind. 0 is the end. */
  evacuateElements(h: Handle, cursor: number, budget: number): number {
    const { records } = this.internals;
    const kind = records.kind(h);
    return kind === undefined ? 0 : kind.evacuate(records.rootWords(h), records.rootAt(h), cursor, budget);
  }

  /** For Keyspace.defragStep: moves what the key has in slabs being evacuated, elements apart. Returns the bytes moved. */
  evacuate(position: number): number {
    const { dictionary, handles, memory, records } = this.internals;
    dictionary.evacuate(this.keys, 0, position);
    const h = dictionary.at(this.keys, 0, position);
    if (records.isVolatile(h)) handles.evacuate(this.volatile, 0, records.volatilePosition(h));
    let moved = 0;
    if (records.isExternal(h) && records.length(h) <= BIG_BYTES && memory.isEvacuating(records.external(h))) {
      records.relocateExternal(h);
      moved += memory.usableBytes(records.external(h));
    }
    if (!memory.isEvacuating(h)) return moved;
    const next = records.relocate(h);
    this.supplant(h, next);
    memory.free(h);
    return moved + memory.usableBytes(next);
  }

  /**
   * Another record for the key of `h`, with room for `payloadBytes` of inline value or with `block` as its external value.
   * Deadline, orders and clock are as in `h`; the value's encoding, length and bytes are the caller's to write.
   */
  protected outline(h: Handle, payloadBytes: number, block: number): Handle {
    const { memory, records } = this.internals;
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

  /** Puts a packed value, up to its length or `room`, where it has that much room. */
  #movePacked(h: Handle, room: number): Handle {
    assert(room <= PACKED_BYTES_MAX, () => `a packed value of ${room} bytes is within ${PACKED_BYTES_MAX}`);
    const { memory, records } = this.internals;
    const isExternal = room > INLINE_BYTES_MAX;
    const block = isExternal ? memory.allocate(room) : 0;
    const next = isExternal && records.isExternal(h) ? h : this.outline(h, isExternal ? 4 : room, block);
    records.locate(h);
    const source = records.valueWords;
    const from = records.valueAt >>> 2;
    if (isExternal) records.locateExternal(block, false);
    else records.locateInline(next);
    copyWords(source, from, records.valueWords, records.valueAt >>> 2, (Math.min(records.length(h), room) + 3) >>> 2);
    if (next === h) {
      memory.free(records.external(h));
      records.setExternal(h, block);
    } else {
      this.supplant(h, next);
      records.free(h);
    }
    return next;
  }

  /** Puts `next`, of the same key and volatility, where `h` stands; `h` is still to be freed. */
  protected supplant(h: Handle, next: Handle): void {
    const { dictionary, handles, records } = this.internals;
    dictionary.replace(this.keys, 0, h, next);
    if (records.isVolatile(next)) handles.set(this.volatile, 0, records.volatilePosition(next), next);
  }

  /** Removes a key from dictionary, orders and digest; the record stays. */
  #takeOut(h: Handle): void {
    const { dictionary, records, versions } = this.internals;
    this.subtract(h);
    if (records.isVolatile(h)) this.removeVolatile(records.volatilePosition(h));
    else versions.stampAbsent(records.hash(h), this.#number);
    dictionary.remove(this.keys, 0, h);
  }

  /** Adds a whole record as the last of the order. */
  #bringIn(h: Handle): void {
    const { dictionary, records, versions } = this.internals;
    dictionary.insert(this.keys, 0, h);
    if (records.isVolatile(h)) this.addVolatile(h);
    else versions.stampAbsent(records.hash(h), this.#number);
    this.add(h);
    this.stamp(h);
    this.internals.freeSomeDiscarded();
  }

  protected addVolatile(h: Handle): void {
    const { handles, records } = this.internals;
    records.setVolatilePosition(h, this.volatileSize);
    handles.push(this.volatile, 0, h);
  }

  protected removeVolatile(position: number): void {
    const { handles, records } = this.internals;
    const last = handles.pop(this.volatile, 0);
    if (position === this.volatileSize) return;
    handles.set(this.volatile, 0, position, last);
    records.setVolatilePosition(last, position);
  }

  protected stamp(h: Handle): void {
    const { records, versions } = this.internals;
    records.setVersion(h, versions.index, versions.record);
    if (records.isVolatile(h)) versions.stampAbsent(records.hash(h), this.#number);
  }

  protected add(h: Handle): void {
    this.internals.records.digests.of(h);
    this.addSum();
  }

  protected subtract(h: Handle): void {
    this.internals.records.digests.of(h);
    this.#subtractSum();
  }

  protected addPart(h: Handle, from: number, to: number): void {
    this.internals.records.digests.part(h, from, to);
    this.addSum();
  }

  protected subtractPart(h: Handle, from: number, to: number): void {
    this.internals.records.digests.part(h, from, to);
    this.#subtractSum();
  }

  /** Adds what was digested last. */
  protected addSum(): void {
    const { sum } = this.internals.records.digests;
    this.#digestLow = (this.#digestLow + sum.low) | 0;
    this.#digestHigh = (this.#digestHigh + sum.high) | 0;
  }

  #subtractSum(): void {
    const { sum } = this.internals.records.digests;
    this.#digestLow = (this.#digestLow - sum.low) | 0;
    this.#digestHigh = (this.#digestHigh - sum.high) | 0;
  }
}

export function assertKey(start: number, end: number): void {
  assert(end - start <= KEY_BYTES_MAX, () => `a key of ${end - start} bytes is within ${KEY_BYTES_MAX}`);
}

export function assertExpiry(expiryMs: number): void {
  assert(expiryMs === NO_EXPIRY || (expiryMs >= 0 && expiryMs <= Number.MAX_SAFE_INTEGER), () => `deadline ${expiryMs} is a time`);
}
