// Changing a sorted set: one key at a time, by one editor of the keyspace. `open` on a key, `set` and `remove` members, `close`.
// The key comes into being with its first member and goes with its last. A packed set becomes a tree where Redis's
// zsetAdd makes it one: before a member that is too long, or one too many; it never goes back.
//
// What must hold: between open and close nothing else is found or changed in any database. Members given are not in the value itself.
import { assert } from '../base/assert.ts';
import { LISTPACK_EMPTY_BYTES, LISTPACK_ENTRY_EXTRA_BYTES_MAX, writeEmptyListpack } from '../memory/listpack.ts';
import type { Database } from './database.ts';
import type { Internals } from './internals.ts';
import { PackedValue } from './packed.ts';
import { Encoding, type Handle, ValueType } from './types.ts';
import { PACKED_BYTES_MAX } from './value-kinds.ts';
import { compareBytes } from './zset-view.ts';
import { readScore, SCORE_TEXT_BYTES_MAX, ScoreText } from './zset-score.ts';
import type { ZsetTree } from './zset-tree.ts';

export interface ZsetLimits {
  /** A packed set with more members than this … */
  readonly entriesMax: number;
  /** … or with a longer one becomes a tree. */
  readonly valueBytesMax: number;
}

const NO_KEY = new Uint8Array(0);

export class ZsetEditor {
  readonly #internals: Internals;
  readonly #form: ZsetTree;
  readonly #packed: PackedValue;
  readonly #text = new ScoreText();
  #db: Database | undefined;
  #handle: Handle = 0;
  #limits: ZsetLimits = { entriesMax: 0, valueBytesMax: 0 };
  #key: Uint8Array = NO_KEY;
  #keyStart = 0;
  #keyEnd = 0;
  #begun = false;
  #isTree = false;
  #size = 0;
  /** What `find` came to: a record of the tree, or a position in the listpack; 0 if the member is new. */
  #found = 0;
  readonly #foundScore = new Float64Array(1);

  constructor(internals: Internals, form: ZsetTree) {
    this.#internals = internals;
    this.#form = form;
    this.#packed = new PackedValue(internals);
  }

  /** `h` is the key's value, a sorted set, or 0 if there is no such key. */
  open(db: Database, h: Handle, key: Uint8Array, keyStart: number, keyEnd: number, limits: ZsetLimits): void {
    const { records } = this.#internals;
    this.#db = db;
    this.#handle = h;
    this.#limits = limits;
    this.#key = key;
    this.#keyStart = keyStart;
    this.#keyEnd = keyEnd;
    this.#begun = false;
    this.#size = 0;
    this.#isTree = h !== 0 && records.kind(h) !== undefined;
    if (this.#isTree) this.#size = records.rootCount(h);
    else if (h !== 0) this.#size = this.#packed.open(h).count >>> 1;
    this.#load();
  }

  /** A key that comes into being does so as a tree. It need not be one by the limits, but must come to be. */
  beginAsTree(): void {
    assert(this.#handle === 0, 'only a new key has a choice');
    this.#isTree = true;
  }

  get size(): number {
    return this.#size;
  }

  /** The member's score, or NaN if it is none. `set` and `remove` are about the member found last. */
  find(bytes: Uint8Array, start: number, end: number): number {
    this.#found = 0;
    this.#foundScore[0] = NaN;
    if (this.#size === 0) return NaN;
    if (this.#isTree) {
      const { records } = this.#internals;
      this.#found = this.#form.find(records.rootWords(this.#handle), records.rootAt(this.#handle), bytes, start, end);
      if (this.#found !== 0) this.#foundScore[0] = this.#form.members.score(this.#found);
    } else {
      const { list } = this.#packed;
      this.#found = list.find(list.first(), bytes, start, end, 1);
      if (this.#found !== 0) this.#foundScore[0] = readScore(list, list.next(this.#found));
    }
    return this.#foundScore[0];
  }

  /** Gives the member found last, which bytes[start, end) is, this score; adds it if it was none. */
  set(score: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#found !== 0 && this.#foundScore[0] === score) return;
    const isNew = this.#found === 0;
    if (!this.#isTree && !(isNew ? this.#fits(end - start) : this.#hasRoom(0))) {
      this.#toTree();
      // What was found stood in the listpack.
      if (!isNew) this.find(bytes, start, end);
    }
    this.#begin();
    if (this.#isTree) {
      const { records } = this.#internals;
      const words = records.rootWords(this.#handle);
      const root = records.rootAt(this.#handle);
      if (isNew) this.#form.add(words, root, score, bytes, start, end);
      else this.#form.setScore(words, root, this.#found, score);
    } else {
      if (!isNew) this.#packed.remove(this.#found, 2);
      this.#insertPacked(score, bytes, start, end);
    }
    if (isNew) this.#size++;
    this.#found = 0;
  }

  /** Takes the member found last out. */
  remove(): void {
    assert(this.#found !== 0, 'a member is found before it is removed');
    this.#begin();
    if (this.#isTree) {
      const { records } = this.#internals;
      this.#form.remove(records.rootWords(this.#handle), records.rootAt(this.#handle), this.#found);
    } else this.#packed.remove(this.#found, 2);
    this.#size--;
    this.#found = 0;
  }

  /** Takes `count` members out, from rank `rank` on. */
  removeRanks(rank: number, count: number): void {
    if (count === 0) return;
    this.#begin();
    if (this.#isTree) this.#removeTreeRanks(rank, count);
    else this.#packed.remove(this.#packed.list.seek(rank * 2), count * 2);
    this.#size -= count;
  }

  /** Ends the change. Returns the key's handle, 0 if it is gone or never was. */
  close(): Handle {
    const db = this.#db!;
    this.#db = undefined;
    this.#key = NO_KEY;
    let h = this.#handle;
    if (!this.#begun) return h;
    const { records } = this.#internals;
    if (this.#isTree) this.#form.save(records.rootWords(h), records.rootAt(h));
    else h = this.#packed.close(db, h);
    db.endChange(h);
    if (this.#size > 0) return h;
    db.remove(h);
    return 0;
  }

  /** True if a member of this many bytes more leaves the set packed. */
  #fits(bytes: number): boolean {
    const { entriesMax, valueBytesMax } = this.#limits;
    return this.#size + 1 <= entriesMax && bytes <= valueBytesMax && this.#hasRoom(bytes);
  }

  /** True if a packed set may take a score, and a member of this many bytes, more. */
  #hasRoom(bytes: number): boolean {
    const total = this.#handle === 0 ? LISTPACK_EMPTY_BYTES : this.#packed.list.totalBytes;
    return total + bytes + SCORE_TEXT_BYTES_MAX + 2 * LISTPACK_ENTRY_EXTRA_BYTES_MAX <= PACKED_BYTES_MAX;
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const db = this.#db!;
    if (this.#handle !== 0) {
      db.beginChange(this.#handle);
      return;
    }
    const encoding = this.#isTree ? Encoding.skiplist : Encoding.listpack;
    const bytes = this.#isTree ? 0 : LISTPACK_EMPTY_BYTES;
    this.#handle = db.create(this.#key, this.#keyStart, this.#keyEnd, ValueType.zset, encoding, bytes, bytes);
    if (this.#isTree) this.#load();
    else {
      const { records } = this.#internals;
      records.locate(this.#handle);
      writeEmptyListpack(records.valueBytes, records.valueAt);
      this.#packed.open(this.#handle);
    }
  }

  #toTree(): void {
    this.#isTree = true;
    if (this.#handle === 0) return;
    this.#begin();
    const { records } = this.#internals;
    const { list } = this.#packed;
    records.setLength(this.#handle, list.totalBytes);
    this.#handle = this.#db!.convert(this.#handle, Encoding.skiplist, (_, next) => {
      const words = records.rootWords(next);
      const root = records.rootAt(next);
      this.#form.open(words, root);
      for (let p = list.first(); p !== 0; ) {
        const scoreAt = list.next(p);
        const score = readScore(list, scoreAt);
        list.read(p);
        this.#form.add(words, root, score, list.valueBytes, list.valueStart, list.valueEnd);
        p = list.next(scoreAt);
      }
      this.#form.save(words, root);
    });
  }

  #load(): void {
    if (!this.#isTree || this.#handle === 0) return;
    const { records } = this.#internals;
    this.#form.open(records.rootWords(this.#handle), records.rootAt(this.#handle));
  }

  #insertPacked(score: number, bytes: Uint8Array, start: number, end: number): void {
    const packed = this.#packed;
    const { list } = packed;
    const db = this.#db!;
    let p = list.first();
    while (p !== 0) {
      const scoreAt = list.next(p);
      const other = readScore(list, scoreAt);
      if (other > score) break;
      if (other === score) {
        list.read(p);
        if (compareBytes(list.valueBytes, list.valueStart, list.valueEnd, bytes, start, end) > 0) break;
      }
      p = list.next(scoreAt);
    }
    this.#handle = packed.insert(db, this.#handle, p === 0 ? list.end : p, bytes, start, end);
    this.#text.write(score);
    this.#handle = packed.insert(db, this.#handle, list.after(packed.position), this.#text.bytes, 0, this.#text.end);
  }

  #removeTreeRanks(rank: number, count: number): void {
    const { records } = this.#internals;
    const words = records.rootWords(this.#handle);
    const root = records.rootAt(this.#handle);
    for (let i = 0; i < count; i++) this.#form.removeAt(words, root, rank);
  }
}
