// Redis's RDB file, as far as Holdfast writes and reads it: numbers of opcodes, types and encodings (Redis 7.0 and 7.2, rdb.h).
//
//   "REDIS" and four digits, the version
//   (AUX name value)…  and at any place: FUNCTION2 code, MODULE_AUX …
//   (SELECTDB number  RESIZEDB keys volatile  ([EXPIRETIME_MS 8 bytes] [IDLE length | FREQ byte] type key value)…)…
//   EOF, CRC-64 of all before it, little-endian; 0 says that the writer left it out
//
// A length: 00xxxxxx; 01xxxxxx x; 0x80 and four bytes; 0x81 and eight bytes, big-endian all. 11xxxxxx is no length: a string
// follows that is an integer of 1, 2 or 4 bytes (little-endian) or compressed. A string: its length and its bytes; or that.
import { assert } from '../base/assert.ts';
import { KiB, RECORD_BYTES_MAX } from '../base/limits.ts';

export const RDB_MAGIC = 'REDIS';
export const RDB_HEADER_BYTES = 9;
/** What is written: Redis 7.0 and later load it. */
export const RDB_VERSION = 10;
/** What is read. Versions below RDB_CHECKSUM_VERSION end without a CRC. */
export const RDB_VERSION_MIN = 1;
export const RDB_CHECKSUM_VERSION = 5;
export const RDB_VERSION_MAX = 11;
export const CHECKSUM_BYTES = 8;

export const Opcode = {
  functionLibrary: 245,
  functionPrerelease: 246,
  moduleAux: 247,
  idle: 248,
  freq: 249,
  aux: 250,
  resizeDb: 251,
  expiryMs: 252,
  expirySeconds: 253,
  selectDb: 254,
  end: 255,
} as const;

export const RdbType = {
  string: 0,
  zsetAscii: 3,
  hash: 4,
  zset: 5,
  hashZipmap: 9,
  zsetZiplist: 12,
  hashZiplist: 13,
  hashListpack: 16,
  zsetListpack: 17,
} as const;

/** Types that Holdfast does not have, in words. */
export const MISSING_TYPES: Readonly<Record<number, string>> = {
  1: 'a list',
  2: 'a set',
  6: 'a value of a module',
  7: 'a value of a module',
  10: 'a list',
  11: 'a set',
  14: 'a list',
  15: 'a stream',
  18: 'a list',
  19: 'a stream',
  20: 'a set',
  21: 'a stream',
};

/** In place of a length: what follows is a string in another form. */
export const StringForm = { int8: 0, int16: 1, int32: 2, lzf: 3 } as const;

/** Items of a module's data. */
export const ModuleItem = { end: 0, signed: 1, unsigned: 2, float: 3, double: 4, string: 5 } as const;

/** A writer hands out chunks of about this size, the last one less. */
export const CHUNK_BYTES = 256 * KiB;
/** A long value is taken in pieces of this size. */
export const PIECE_BYTES = 64 * KiB;
/** The longest string that a file may hold: what one log record can. */
export const STRING_BYTES_MAX = RECORD_BYTES_MAX;
/** LZF makes 264 bytes of 3 at the most. */
export const LZF_RATIO_MAX = 88;

assert(PIECE_BYTES * 2 <= CHUNK_BYTES, 'chunks are not much shorter than they may be');
