// How a value that is not a string hangs on its key's record, and what a type must provide for it.
//
// A value has one of two forms, by the record's type and encoding:
// - packed: the value is a run of bytes, kept as a string's bytes are (inline in the record, or in a block of its own).
//   Strings, listpacks, intsets. Nothing has to be provided: copying, freeing, moving, accounting and the digest (over
//   the bytes) are those of strings. At most PACKED_BYTES_MAX bytes; edited through packed.ts.
// - rooted: the record's payload is a root of `rootBytes`, words inline in the record, from which blocks hang. The form
//   provides a ValueKind, registered for its type and encoding in the constructor of Internals (`records.kinds.register`);
//   the class that reads and changes the values of a type, packed and rooted, is a field of Keyspace (`keyspace.hashes`). Nothing may point at the root or at the
//   record: both move (EXPIRE, RENAME, defragmentation). The root's first words are the same in every kind:
//     0    number of elements
//     1–2  sum over the elements of their digests, low and high; kept by the kind as it adds and takes elements. An
//          element's digest must not depend on the key, on handles or on the layout of tables
//     3–4  bytes of all blocks that hang from the root, low and high; kept by Database.endChange: kinds just allocate
//   and the rest is the kind's. A new root is all zeros, and must mean an empty value.
//
// Changing a value, always in apply:
//   new key     h = db.create(key, kStart, kEnd, type, encoding, length, room)   the key must be absent; no endChange before
//                                                             the value is whole. Packed: write its `length` bytes
//   known key   db.beginChange(h)                             takes the key out of the digest
//   then        packed: h = db.reservePacked(h, room), edit the bytes, h = db.trimPacked(h, length); see PackedValue
//               rooted: change what hangs from the root, count and digest words included
//               packed to rooted: h = db.convert(h, encoding, fill)
//   last        db.endChange(h)                               digest, version, deadline's bookkeeping, accounting
//   emptied     db.endChange(h), then db.remove(h)
// A change that leaves all as it was must not begin. Between begin and end no other key may change, and no key may be found,
// made or removed: one change at a time. Words and byte views of segments stay good while blocks are allocated, but a root
// moves when its record does (create, reservePacked, trimPacked, convert say so by returning another handle).
//
// Freeing: db.remove takes the key out at once; a rooted value of more than FREED_AT_ONCE_MAX elements goes a few elements
// at a time, by later mutations and in idle time (`freeSome`).
import type { Lanes } from './digest.ts';
import type { Encoding, ValueType } from './types.ts';
import { BIG_BYTES } from '../memory/allocator.ts';

export const ROOT_COUNT = 0;
export const ROOT_DIGEST_LOW = 1;
export const ROOT_DIGEST_HIGH = 2;
export const ROOT_BYTES_LOW = 3;
export const ROOT_BYTES_HIGH = 4;
/** Words at the start of every root; a kind's own follow. */
export const ROOT_HEADER_WORDS = 5;

/** A packed value longer than this becomes rooted, whatever the settings say. */
export const PACKED_BYTES_MAX = BIG_BYTES;
/** Elements of a removed value that are freed on the spot. */
export const FREED_AT_ONCE_MAX = 64;
/** The cursor with which an evacuation begins. */
export const EVACUATE_FROM_START = -1;

/** `words` and `root`: the segment's view and the index of the root's first word in it. */
export interface ValueKind {
  readonly rootBytes: number;
  /** Adds the digest of every element to `sum`, from scratch: what the root's digest words must hold. */
  digestElements(words: Uint32Array, root: number, sum: Lanes): void;
  /** Makes the value at `root`, whose own words are zeros, a copy of the one at `source`: blocks and own words. The seam copies the header. */
  copy(sourceWords: Uint32Array, source: number, words: Uint32Array, root: number): void;
  /**
   * Frees blocks of about `budget` elements, leaving what can be freed further and nothing else; returns what is left of the
   * budget, at least 1 once no block hangs from the root any more. Header words need not be kept.
   */
  freeSome(words: Uint32Array, root: number, budget: number): number;
  /**
   * Moves blocks for which `memory.isEvacuating`, looking at about `budget` elements. `cursor` is EVACUATE_FROM_START or what
   * the last call returned; 0 is the end. The value may have changed between calls: to miss a block is no harm, so a kind
   * whose blocks cannot move yet returns 0 at once, and says so.
   */
  evacuate(words: Uint32Array, root: number, cursor: number, budget: number): number;
}

const KINDS = 128;

/** The kinds by type and encoding; packed forms have none. */
export class ValueKinds {
  readonly #kinds: (ValueKind | undefined)[] = new Array<ValueKind | undefined>(KINDS).fill(undefined);

  register(type: ValueType, encoding: Encoding, kind: ValueKind): void {
    this.#kinds[type | (encoding << 3)] = kind;
  }

  /** By bits 0–6 of a record's word 4. */
  of(typeAndEncoding: number): ValueKind | undefined {
    return this.#kinds[typeAndEncoding & (KINDS - 1)];
  }

  find(type: ValueType, encoding: Encoding): ValueKind | undefined {
    return this.of(type | (encoding << 3));
  }
}
