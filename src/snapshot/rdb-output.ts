// The bytes of an RDB file on their way out: filled into chunks, each counted into the CRC once it is full. A chunk that was handed
// out is the taker's. Hot: indexes typed arrays directly.
import { Crc64 } from '../base/crc64.ts';
import { copyBytes } from '../memory/bytes.ts';
import { CHECKSUM_BYTES, CHUNK_BYTES, PIECE_BYTES, StringForm } from './rdb-format.ts';

const LENGTH_BYTES_MAX = 9;

export class RdbOutput {
  /** Chunks that are full. */
  readonly ready: Uint8Array[] = [];
  /** Bytes put so far, those in `ready` and taken from it included. */
  written = 0;
  readonly #crc = new Crc64();
  #chunk = new Uint8Array(CHUNK_BYTES);
  #at = 0;

  byte(value: number): void {
    this.#reserve(1);
    this.#chunk[this.#at++] = value;
  }

  /** Below 2^32. */
  length(value: number): void {
    this.#reserve(LENGTH_BYTES_MAX);
    const chunk = this.#chunk;
    if (value < 0x40) chunk[this.#at++] = value;
    else if (value < 0x4000) {
      chunk[this.#at++] = 0x40 | (value >>> 8);
      chunk[this.#at++] = value;
    } else {
      chunk[this.#at++] = 0x80;
      for (let shift = 24; shift >= 0; shift -= 8) chunk[this.#at++] = value >>> shift;
    }
  }

  /** Bytes as they are, PIECE_BYTES at the most. */
  bytes(source: Uint8Array, start: number, end: number): void {
    this.#reserve(end - start);
    copyBytes(source, start, end, this.#chunk, this.#at);
    this.#at += end - start;
  }

  /** A string of any length. */
  string(source: Uint8Array, start: number, end: number): void {
    this.length(end - start);
    for (let at = start; at < end; at += PIECE_BYTES) this.bytes(source, at, Math.min(end, at + PIECE_BYTES));
  }

  text(value: string): void {
    const bytes = Buffer.from(value, 'latin1');
    this.string(bytes, 0, bytes.length);
  }

  /** A string that is an integer of 32 bits. */
  integer(value: number): void {
    this.#reserve(5);
    const chunk = this.#chunk;
    const size = value >= -128 && value <= 127 ? 1 : value >= -32768 && value <= 32767 ? 2 : 4;
    chunk[this.#at++] = 0xc0 | (size === 1 ? StringForm.int8 : size === 2 ? StringForm.int16 : StringForm.int32);
    for (let i = 0; i < size; i++) chunk[this.#at++] = value >>> (8 * i);
  }

  /** A whole number from 0 to 2^53, in eight bytes, little-endian. */
  uint64(value: number): void {
    this.#reserve(8);
    const high = Math.floor(value / 0x1_0000_0000);
    for (let shift = 0; shift < 32; shift += 8) this.#chunk[this.#at++] = value >>> shift;
    for (let shift = 0; shift < 32; shift += 8) this.#chunk[this.#at++] = high >>> shift;
  }

  double(value: number): void {
    this.#reserve(8);
    SCRATCH_DOUBLE[0] = value;
    for (let i = 0; i < 8; i++) this.#chunk[this.#at++] = SCRATCH_BYTES[i]!;
  }

  /** Ends the file with its CRC. */
  end(): void {
    this.#reserve(CHECKSUM_BYTES);
    this.#crc.update(this.#chunk, 0, this.#at);
    this.#crc.write(this.#chunk, this.#at);
    this.#at += CHECKSUM_BYTES;
    this.#hand();
  }

  get checksum(): string {
    return this.#crc.text();
  }

  /** Every put fits in a whole chunk. */
  #reserve(size: number): void {
    if (this.#at + size <= CHUNK_BYTES) return;
    this.#crc.update(this.#chunk, 0, this.#at);
    this.#hand();
    this.#chunk = new Uint8Array(CHUNK_BYTES);
    this.#at = 0;
  }

  #hand(): void {
    this.written += this.#at;
    this.ready.push(this.#chunk.subarray(0, this.#at));
  }
}

const SCRATCH_DOUBLE = new Float64Array(1);
const SCRATCH_BYTES = new Uint8Array(SCRATCH_DOUBLE.buffer);
