// Packed values out of an RDB file, and the pairs of large ones, into a keyspace. Owns nothing but scratch.
//
// A listpack that is as Holdfast itself would have written it is taken over as it is; one that is sound but not so (numbers as text,
// members out of order), and every older packed form, is put together again from its elements. What is not sound is
// refused: lengths, pairs, duplicates and scores are all checked before anything is made of them, as Redis does with
// `sanitize-dump-payload yes`.
// The form that a value takes: with `exact` the one that it has in the file; else what the thresholds say, as in Redis.
import type { ReplicatedSettings } from '../commands/replicated-settings.ts';
import { MEMBER_BYTES_MAX } from '../commands/zset-values.ts';
import type { Database, Handle } from '../keyspace/database.ts';
import { FIELD_AND_VALUE_BYTES_MAX } from '../keyspace/field-table.ts';
import type { Keyspace } from '../keyspace/keyspace.ts';
import { Encoding, ValueType } from '../keyspace/types.ts';
import { PACKED_BYTES_MAX } from '../keyspace/value-kinds.ts';
import { readScore, ScoreText } from '../keyspace/zset-score.ts';
import { compareBytes } from '../keyspace/zset-view.ts';
import { copyBytes } from '../base/bytes.ts';
import { isListpack, Listpack, LISTPACK_ENTRY_EXTRA_BYTES_MAX } from '../memory/listpack.ts';
import type { StringSpan } from './rdb-input.ts';
import { readZipmap } from './zipmap.ts';
import { type EntryVisitor, ZiplistReader } from './ziplist.ts';

/** A fault in the file: the reader adds where. */
export class ValueFault extends Error {}

export type PackedForm = 'listpack' | 'ziplist' | 'zipmap';

/** Up to so many members duplicates are looked for one by one, beyond that with a set. */
const QUADRATIC_MEMBERS_MAX = 8;
const NUMBER = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)$/i;

/** A score's text as the number it is; throws where Redis's writers would not have written it. */
export function scoreFrom(text: string): number {
  if (!NUMBER.test(text)) throw new ValueFault(`a score that is no number (${JSON.stringify(text.slice(0, 40))})`);
  if (/inf/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return Number(text);
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
}

export class ValueLoader {
  readonly #keyspace: Keyspace;
  readonly #settings: ReplicatedSettings;
  readonly #exact: boolean;
  readonly #list = new Listpack();
  readonly #other = new Listpack();
  readonly #ziplist = new ZiplistReader();
  readonly #scoreText = new ScoreText();
  // The value that takes its elements one by one.
  #db: Database | undefined;
  #handle: Handle = 0;

  constructor(keyspace: Keyspace, settings: ReplicatedSettings, exact: boolean) {
    this.#keyspace = keyspace;
    this.#settings = settings;
    this.#exact = exact;
  }

  // Large values: begin, each pair, end.

  beginHash(db: Database, key: StringSpan, count: number): void {
    const { hashes } = this.#keyspace;
    this.#db = db;
    this.#handle = hashes.create(db, key.bytes, key.start, key.end, 0);
    if (this.#exact || count > this.#settings['hash-max-listpack-entries']) this.#handle = hashes.unpack(db, this.#handle);
  }

  field(field: { bytes: Uint8Array; start: number; end: number }, value: { bytes: Uint8Array; start: number; end: number }): void {
    const { hashes } = this.#keyspace;
    const db = this.#db!;
    const fieldBytes = field.end - field.start;
    const valueBytes = value.end - value.start;
    if (fieldBytes + valueBytes > FIELD_AND_VALUE_BYTES_MAX) {
      throw new ValueFault(`a field and value of ${fieldBytes + valueBytes} bytes; ${FIELD_AND_VALUE_BYTES_MAX} are the most`);
    }
    const entriesMax = this.#settings['hash-max-listpack-entries'];
    if (hashes.isPacked(this.#handle)) {
      const total = hashes.packedBytes(this.#handle) + fieldBytes + valueBytes + 2 * LISTPACK_ENTRY_EXTRA_BYTES_MAX;
      const fits = Math.max(fieldBytes, valueBytes) <= this.#settings['hash-max-listpack-value'] && total <= PACKED_BYTES_MAX;
      if (!fits) this.#handle = hashes.unpack(db, this.#handle);
    }
    this.#handle = hashes.set(db, this.#handle, field.bytes, field.start, field.end, value.bytes, value.start, value.end, entriesMax);
    if (!hashes.changed) throw new ValueFault('a hash that has a field twice');
  }

  endHash(): Handle {
    const db = this.#db!;
    this.#keyspace.hashes.end(db, this.#handle);
    // The end may have moved the record; a new key is the last of the order.
    return db.at(db.size - 1);
  }

  /** `key` is looked at until the end. */
  beginZset(db: Database, key: Uint8Array, count: number): void {
    const { editor } = this.#keyspace.zsets;
    const settings = this.#settings;
    editor.open(db, 0, key, 0, key.length, {
      entriesMax: settings['zset-max-listpack-entries'],
      valueBytesMax: settings['zset-max-listpack-value'],
    });
    if (this.#exact || count > settings['zset-max-listpack-entries']) editor.beginAsTree();
  }

  member(bytes: Uint8Array, start: number, end: number, score: number): void {
    const { editor } = this.#keyspace.zsets;
    if (end - start > MEMBER_BYTES_MAX) throw new ValueFault(`a member of ${end - start} bytes; ${MEMBER_BYTES_MAX} are the most`);
    if (Number.isNaN(score)) throw new ValueFault('a score that is no number');
    if (!Number.isNaN(editor.find(bytes, start, end))) throw new ValueFault('a sorted set that has a member twice');
    editor.set(score, bytes, start, end);
  }

  endZset(): Handle {
    return this.#keyspace.zsets.editor.close();
  }

  // Packed values, in one go. 0 if the value is empty: then there is no key.

  hash(db: Database, key: StringSpan, form: PackedForm, blob: StringSpan): Handle {
    const count = this.#check(form, blob, 'hash');
    if (count === 0) return 0;
    const entriesMax = this.#exact ? Infinity : this.#settings['hash-max-listpack-entries'];
    if (form === 'listpack' && count <= entriesMax && blob.length <= PACKED_BYTES_MAX && this.#isCanonical()) {
      this.#expectNoDuplicates(count, 'hash');
      return db.createPacked(key.bytes, key.start, key.end, ValueType.hash, Encoding.listpack, blob.bytes, blob.start, blob.end);
    }
    this.beginHash(db, key, count);
    let field: { bytes: Uint8Array; start: number; end: number } | undefined;
    this.#forEach(form, blob, (bytes, start, end) => {
      if (field === undefined) {
        // The text of a number is overwritten by that of the next one.
        field = { bytes: copyBytes(bytes, start, end), start: 0, end: end - start };
        return;
      }
      this.field(field, { bytes, start, end });
      field = undefined;
    });
    return this.endHash();
  }

  zset(db: Database, key: StringSpan, form: PackedForm, blob: StringSpan): Handle {
    const count = this.#check(form, blob, 'sorted set');
    if (count === 0) return 0;
    const entriesMax = this.#exact ? Infinity : this.#settings['zset-max-listpack-entries'];
    if (form === 'listpack' && count <= entriesMax && blob.length <= PACKED_BYTES_MAX && this.#isCanonical() && this.#isOrdered()) {
      this.#expectNoDuplicates(count, 'sorted set');
      return db.createPacked(key.bytes, key.start, key.end, ValueType.zset, Encoding.listpack, blob.bytes, blob.start, blob.end);
    }
    this.beginZset(db, copyBytes(key.bytes, key.start, key.end), count);
    let member: Uint8Array | undefined;
    this.#forEach(form, blob, (bytes, start, end) => {
      if (member === undefined) member = copyBytes(bytes, start, end);
      else {
        this.member(member, 0, member.length, scoreFrom(latin1(bytes, start, end)));
        member = undefined;
      }
    });
    return this.endZset();
  }

  /** Throws what is wrong with the packed value; returns the number of pairs. A listpack is open then. */
  #check(form: PackedForm, blob: StringSpan, what: string): number {
    const { bytes, start, end } = blob;
    let entries = 0;
    let fault: string | undefined;
    if (form === 'listpack') {
      if (!isListpack(bytes, start, end)) fault = 'a damaged listpack';
      else {
        this.#list.open(bytes, start, end - start);
        this.#other.open(bytes, start, end - start);
        entries = this.#list.count;
      }
    } else if (form === 'ziplist') {
      fault = this.#ziplist.fault(bytes, start, end);
      if (fault === undefined) this.#ziplist.forEach(bytes, start, end, () => void entries++);
    } else fault = readZipmap(bytes, start, end, () => void entries++);
    if (fault === undefined && entries % 2 === 1) fault = 'an odd number of entries';
    if (fault !== undefined) throw new ValueFault(`a ${what} in ${fault}`);
    return entries / 2;
  }

  #forEach(form: PackedForm, { bytes, start, end }: StringSpan, visit: EntryVisitor): void {
    if (form === 'ziplist') this.#ziplist.forEach(bytes, start, end, visit);
    else if (form === 'zipmap') readZipmap(bytes, start, end, visit);
    else {
      const list = this.#list;
      for (let p = list.first(); p !== 0; p = list.next(p)) {
        list.read(p);
        visit(list.valueBytes, list.valueStart, list.valueEnd);
      }
    }
  }

  /** True if every entry of the open listpack is in the one form that Holdfast writes: equal texts are equal bytes then. */
  #isCanonical(): boolean {
    const list = this.#list;
    for (let p = list.first(); p !== 0; p = list.next(p)) {
      list.read(p);
      if (list.entryBytes(list.valueBytes, list.valueStart, list.valueEnd) !== list.entryBytesAt(p)) return false;
    }
    return true;
  }

  /** True if the open listpack's members stand in order and its scores in the text that Holdfast writes. */
  #isOrdered(): boolean {
    const list = this.#list;
    const before = this.#other;
    let beforeScore = 0;
    let at = 0;
    for (let p = list.first(); p !== 0; ) {
      const scoreAt = list.next(p);
      const score = this.#score(scoreAt);
      if (Number.isNaN(score)) return false;
      list.read(p);
      if (at !== 0) {
        if (score < beforeScore) return false;
        before.read(at);
        const order =
          score > beforeScore ||
          compareBytes(before.valueBytes, before.valueStart, before.valueEnd, list.valueBytes, list.valueStart, list.valueEnd) < 0;
        if (!order) return false;
      }
      at = p;
      beforeScore = score;
      p = list.next(scoreAt);
    }
    return true;
  }

  /** NaN if the score at `p` is not written as Holdfast writes it. */
  #score(p: number): number {
    const list = this.#list;
    list.read(p);
    const { valueBytes, valueStart, valueEnd } = list;
    const score = list.isInteger(p) ? readScore(list, p) : scoreFrom(latin1(valueBytes, valueStart, valueEnd));
    const text = this.#scoreText;
    text.write(score);
    return compareBytes(text.bytes, 0, text.end, valueBytes, valueStart, valueEnd) === 0 ? score : NaN;
  }

  #expectNoDuplicates(count: number, what: string): void {
    const list = this.#list;
    const fault = `a ${what} that has ${what === 'hash' ? 'a field' : 'a member'} twice`;
    if (count <= QUADRATIC_MEMBERS_MAX) {
      const other = this.#other;
      for (let p = list.first(); p !== 0; ) {
        const after = list.next(list.next(p));
        list.read(p);
        if (after !== 0 && other.find(after, list.valueBytes, list.valueStart, list.valueEnd, 1) !== 0) throw new ValueFault(fault);
        p = after;
      }
      return;
    }
    const seen = new Set<string>();
    for (let p = list.first(); p !== 0; p = list.next(list.next(p))) {
      list.read(p);
      seen.add(latin1(list.valueBytes, list.valueStart, list.valueEnd));
    }
    if (seen.size !== count) throw new ValueFault(fault);
  }
}
