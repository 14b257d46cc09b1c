// The checksums of a stream of bytes, added up as it passes. Real: src/adapters/byte-sums.ts, on the caller's thread, and
// src/adapters/sums-thread.ts, on one of their own.

export interface Sums {
  readonly bytes: number;
  /** Of all bytes, in hex. */
  readonly sha256: string;
  /** CRC-64 of all but the last eight bytes, which in an RDB file are this number: 16 hexadecimal digits. */
  readonly crc64: string;
}

export interface ByteSums {
  /** Takes the next bytes, which are the caller's again once it resolves. One call at a time. */
  add(chunk: Uint8Array): Promise<void>;
  /** Nothing was added after this. */
  finish(): Promise<Sums>;
  /** Lets go of what it holds, finished or not; may be called again. */
  close(): void;
}
