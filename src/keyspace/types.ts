// Names and numbers of value types and encodings, and the small shapes that keyspace and its users share. The numbers
// are part of the digest and of records: never change one. A new encoding takes the next free number.

/** A 32-bit unsigned handle of a key's record; 0 is none. It may change when the record is rewritten. */
export type Handle = number;

export const ValueType = { string: 0, list: 1, set: 2, zset: 3, hash: 4, stream: 5 } as const;
export type ValueType = (typeof ValueType)[keyof typeof ValueType];

/** 16 at most: a record has four bits for it. */
export const Encoding = {
  raw: 0,
  int: 1,
  embstr: 2,
  listpack: 3,
  intset: 4,
  hashtable: 5,
  quicklist: 6,
  skiplist: 7,
  stream: 8,
} as const;
export type Encoding = (typeof Encoding)[keyof typeof Encoding];

const ENCODING_NAMES = Object.keys(Encoding) as readonly (keyof typeof Encoding)[];

/** As OBJECT ENCODING says it. */
export function encodingName(encoding: Encoding): string {
  return ENCODING_NAMES[encoding] ?? 'unknown';
}

/** Bytes where they lie. Producers reuse one object: read it before the next call or mutation. */
export interface ByteSpan {
  bytes: Uint8Array;
  start: number;
  end: number;
}

/** 64 bits as two unsigned halves. */
export interface Digest {
  low: number;
  high: number;
}
