// Bytes of the log's segments through a window, so that one of hundreds of MiB is never in memory whole and entries that stand
// near each other are read together.
import * as fs from 'node:fs';
import type { Segment } from './wal-segment.ts';

export class SegmentReader {
  readonly #windowBytes: number;
  #segment: Segment | undefined;
  #at = 0;
  #window = new Uint8Array(0);

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes;
  }

  /** A view of bytes [at, at + length) of `segment`, fewer at the end of the file; valid until the next call. */
  bytes(segment: Segment, at: number, length: number): Uint8Array {
    const start = at - this.#at;
    if (segment === this.#segment && start >= 0 && start + length <= this.#window.length) return this.#window.subarray(start, start + length);
    const window = new Uint8Array(Math.max(length, this.#windowBytes));
    let read = 0;
    for (let n = 1; n > 0 && read < window.length; read += n) n = fs.readSync(segment.fd, window, read, window.length - read, at + read);
    this.#segment = segment;
    this.#at = at;
    this.#window = window.subarray(0, read);
    return this.#window.subarray(0, length);
  }
}
