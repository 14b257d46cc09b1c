// A key's packed value opened as a listpack, and its editing in place: room is made before a change needs it, which may move
// the value, so positions are carried over. Owns nothing: the bytes are the record's. See value-kinds.ts for changes.
import { Listpack } from '../memory/listpack.ts';
import type { Database } from './database.ts';
import type { Internals } from './internals.ts';
import type { Handle } from './types.ts';

export class PackedValue {
  /** The listpack that was opened last. */
  readonly list = new Listpack();
  /** Where the entry stands that was inserted or replaced last, or what follows the removed ones. */
  position = 0;
  readonly #internals: Internals;

  constructor(internals: Internals) {
    this.#internals = internals;
  }

  /** The value of `h`, to read or to edit; good until any key changes. */
  open(h: Handle): Listpack {
    const { records } = this.#internals;
    records.locate(h);
    this.list.open(records.valueBytes, records.valueAt, records.capacity(h));
    return this.list;
  }

  /** In a change, as all that follow; the value is open. Room for `more` bytes. Returns the record's handle, which may be another. */
  reserve(db: Database, h: Handle, more: number): Handle {
    return this.#makeRoom(db, h, this.list.end, more);
  }

  insert(db: Database, h: Handle, p: number, source: Uint8Array, start: number, end: number): Handle {
    const next = this.#makeRoom(db, h, p, this.list.entryBytes(source, start, end));
    this.list.insert(this.position, source, start, end);
    return next;
  }

  append(db: Database, h: Handle, source: Uint8Array, start: number, end: number): Handle {
    return this.insert(db, h, this.list.end, source, start, end);
  }

  replace(db: Database, h: Handle, p: number, source: Uint8Array, start: number, end: number): Handle {
    const next = this.#makeRoom(db, h, p, this.list.entryBytes(source, start, end) - this.list.entryBytesAt(p));
    this.list.replace(this.position, source, start, end);
    return next;
  }

  remove(p: number, count = 1): void {
    this.list.remove(p, count);
    this.position = p;
  }

  /** Ends the editing: the record's length is the listpack's. The value must be opened again to be looked at. */
  close(db: Database, h: Handle): Handle {
    return db.trimPacked(h, this.list.totalBytes);
  }

  /** Carries `p` over in `position`. */
  #makeRoom(db: Database, h: Handle, p: number, more: number): Handle {
    const { list } = this;
    const total = list.totalBytes;
    this.position = p;
    if (total + more <= list.room) return h;
    const offset = p - list.start;
    // What was edited since the record's length was written must be moved too.
    this.#internals.records.setLength(h, total);
    const next = db.reservePacked(h, total + more);
    this.open(next);
    this.position = list.start + offset;
    return next;
  }
}
