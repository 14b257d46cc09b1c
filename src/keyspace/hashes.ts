// Hashes, packed or rooted: what commands read and change of one by its key's handle. Owns no state but what `find`, `set`,
// `remove` and the walk leave to be read; all of that is good until the next call that changes a key.
//
// Packed: a listpack of field, value, field, value… in order of insertion. Rooted: field-table.ts. The order of the fields is
// replicated either way. A hash leaves its packed form for good, as in Redis: when it has more fields than entriesMax, or
// when a field or value longer than a limit comes (`unpack`).
import type { Database } from './database.ts';
import type { FieldTable } from './field-table.ts';
import type { Internals } from './internals.ts';
import { Listpack, LISTPACK_EMPTY_BYTES, writeEmptyListpack } from '../memory/listpack.ts';
import { PackedValue } from './packed.ts';
import { type ByteSpan, Encoding, type Handle, ValueType } from './types.ts';

export class Hashes {
  /** Whether the last `set` added the field, the last `remove` took it out. */
  changed = false;
  readonly #internals: Internals;
  readonly #fields: FieldTable;
  readonly #packed: PackedValue;
  /** A second look at the same listpack: reading one integer overwrites another. */
  readonly #values = new Listpack();
  readonly #span: ByteSpan = { bytes: new Uint8Array(0), start: 0, end: 0 };
  // The walk: where it stands. Packed: the field's position in the listpack. Rooted: the record and its place in the order.
  #walked: Handle = 0;
  #isPacked = false;
  #at = 0;
  #order = -1;

  constructor(internals: Internals, fields: FieldTable) {
    this.#internals = internals;
    this.#fields = fields;
    this.#packed = new PackedValue(internals);
  }

  /** Number of fields. */
  count(h: Handle): number {
    return this.isPacked(h) ? this.#packed.open(h).count / 2 : this.#internals.records.rootCount(h);
  }

  isPacked(h: Handle): boolean {
    return this.#internals.records.encoding(h) === Encoding.listpack;
  }

  /** The value of a field, or undefined. One object, used again. */
  find(h: Handle, field: Uint8Array, start: number, end: number): ByteSpan | undefined {
    const span = this.#span;
    if (this.isPacked(h)) {
      const list = this.#packed.open(h);
      const p = list.find(list.first(), field, start, end, 1);
      if (p === 0) return undefined;
      return this.#text(list, list.next(p));
    }
    const { records } = this.#internals;
    const record = this.#fields.find(records.rootWords(h), records.rootAt(h), field, start, end);
    if (record === 0) return undefined;
    this.#fields.valueSpan(record, span);
    return span;
  }

  // The walk over the fields, in their order.

  /** Begins before the field at `position`. */
  walk(h: Handle, position = 0): void {
    this.#walked = h;
    this.#isPacked = this.isPacked(h);
    this.#order = position - 1;
    if (this.#isPacked) this.#at = position === 0 ? 0 : this.#packed.open(h).seek(position * 2 - 2);
  }

  /** Goes to the next field; false at the end. */
  next(): boolean {
    const first = this.#order++ < 0;
    if (this.#isPacked) {
      const list = this.#packed.open(this.#walked);
      this.#at = first ? list.first() : list.next(list.next(this.#at));
      return this.#at !== 0;
    }
    const { records } = this.#internals;
    if (this.#order >= records.rootCount(this.#walked)) return false;
    this.#at = this.#fields.at(records.rootWords(this.#walked), records.rootAt(this.#walked), this.#order);
    return true;
  }

  /** Of the field where the walk stands. The same object as `value` gives. */
  field(): ByteSpan {
    if (this.#isPacked) return this.#text(this.#packed.list, this.#at);
    this.#fields.fieldSpan(this.#at, this.#span);
    return this.#span;
  }

  value(): ByteSpan {
    if (this.#isPacked) return this.#text(this.#packed.list, this.#packed.list.next(this.#at));
    this.#fields.valueSpan(this.#at, this.#span);
    return this.#span;
  }

  // Changes. Each returns the handle of the key's record, which may be another. `create` or `begin` comes first, `end` last.

  /** A new key, absent so far, with an empty hash that has room for entries of `roomBytes`. */
  create(db: Database, key: Uint8Array, start: number, end: number, roomBytes: number): Handle {
    const room = LISTPACK_EMPTY_BYTES + roomBytes;
    const h = db.create(key, start, end, ValueType.hash, Encoding.listpack, LISTPACK_EMPTY_BYTES, room);
    const { records } = this.#internals;
    records.locate(h);
    writeEmptyListpack(records.valueBytes, records.valueAt);
    return h;
  }

  begin(db: Database, h: Handle): Handle {
    db.beginChange(h);
    return h;
  }

  /** Ends the change; a hash without fields goes, and its key with it. */
  end(db: Database, h: Handle): void {
    const isPacked = this.isPacked(h);
    if (isPacked) this.#packed.open(h);
    const next = isPacked ? this.#packed.close(db, h) : h;
    db.endChange(next);
    if (this.count(next) === 0) db.remove(next);
  }

  /** Bytes that a field or a value takes in a listpack. */
  entryBytes(source: Uint8Array, start: number, end: number): number {
    return this.#packed.list.entryBytes(source, start, end);
  }

  /** Bytes of the packed form. */
  packedBytes(h: Handle): number {
    return this.#packed.open(h).totalBytes;
  }

  /** Gives up the packed form. */
  unpack(db: Database, h: Handle): Handle {
    if (!this.isPacked(h)) return h;
    return db.convert(h, Encoding.hashtable, this.#fill);
  }

  set(
    db: Database,
    h: Handle,
    field: Uint8Array,
    fStart: number,
    fEnd: number,
    value: Uint8Array,
    vStart: number,
    vEnd: number,
    entriesMax: number,
  ): Handle {
    if (!this.isPacked(h)) {
      const { records } = this.#internals;
      this.changed = this.#fields.set(records.rootWords(h), records.rootAt(h), field, fStart, fEnd, value, vStart, vEnd);
      return h;
    }
    const packed = this.#packed;
    const list = packed.open(h);
    const p = list.find(list.first(), field, fStart, fEnd, 1);
    this.changed = p === 0;
    if (p !== 0) return packed.replace(db, h, list.next(p), value, vStart, vEnd);
    const next = packed.reserve(db, h, list.entryBytes(field, fStart, fEnd) + list.entryBytes(value, vStart, vEnd));
    list.append(field, fStart, fEnd);
    list.append(value, vStart, vEnd);
    return list.count / 2 > entriesMax ? this.unpack(db, next) : next;
  }

  /** The field need not be there. */
  remove(h: Handle, field: Uint8Array, start: number, end: number): void {
    if (this.isPacked(h)) {
      const list = this.#packed.open(h);
      const p = list.find(list.first(), field, start, end, 1);
      this.changed = p !== 0;
      if (p !== 0) this.#packed.remove(p, 2);
      return;
    }
    const { records } = this.#internals;
    const words = records.rootWords(h);
    const root = records.rootAt(h);
    const record = this.#fields.find(words, root, field, start, end);
    this.changed = record !== 0;
    if (record !== 0) this.#fields.remove(words, root, record);
  }

  readonly #fill = (h: Handle, next: Handle): void => {
    const { records } = this.#internals;
    const words = records.rootWords(next);
    const root = records.rootAt(next);
    const list = this.#packed.open(h);
    const values = this.#values;
    values.open(list.bytes, list.start, list.room);
    for (let p = list.first(); p !== 0; ) {
      const v = list.next(p);
      list.read(p);
      values.read(v);
      this.#fields.set(words, root, list.valueBytes, list.valueStart, list.valueEnd, values.valueBytes, values.valueStart, values.valueEnd);
      p = list.next(v);
    }
  };

  #text(list: Listpack, p: number): ByteSpan {
    list.read(p);
    const span = this.#span;
    span.bytes = list.valueBytes;
    span.start = list.valueStart;
    span.end = list.valueEnd;
    return span;
  }
}
