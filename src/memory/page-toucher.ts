// Has the operating system back memory before it is used, so that who uses it does not wait for that. Real:
// src/adapters/zero-reader.ts. Simulations do without: what is replicated never follows from where memory lies.

export interface PageToucher {
  /**
   * Bytes [start, start + length) of `bytes`, which are zeros and nobody else's until `done`, may be written zeros to meanwhile, and
   * are backed then unless that failed. `done` comes in a later turn of the event loop.
   */
  touch(bytes: Uint8Array, start: number, length: number, done: () => void): void;
}
