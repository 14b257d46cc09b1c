// Bytes of the log's segments through a window, so that one of hundreds of MiB is never in memory whole and entries that stand
// near each other are read together.
import * as fs from 'node:fs';
import type { Segment } from './wal-segment.ts';

export class SegmentReader {
  readonly #windowBytes: number;
  #segment: Segment | undefined;
  #at = 0;
  #window: Uint8Array = new Uint8Array(0);

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes;
  }

  /** A view of bytes [at, at + length) of `segment`, fewer at the end of the file; valid until the next call. */
  bytes(segment: Segment, at: number, length: number): Uint8Array {
    const view = this.#inWindow(segment, at, length);
    if (view !== undefined) return view;
    this.#window = read(segment, at, Math.max(length, this.#windowBytes));
    this.#segment = segment;
    this.#at = at;
    return this.#window.subarray(0, length);
  }

  /** The same for a few bytes, without moving the window. */
  peek(segment: Segment, at: number, length: number): Uint8Array {
    return this.#inWindow(segment, at, length) ?? read(segment, at, length);
  }

  #inWindow(segment: Segment, at: number, length: number): Uint8Array | undefined {
    const start = at - this.#at;
    return segment === this.#segment && start >= 0 && start + length <= this.#window.length ? this.#window.subarray(start, start + length) : undefined;
  }
}

function read(segment: Segment, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let got = 0;
  for (let n = 1; n > 0 && got < length; got += n) n = fs.readSync(segment.fd, bytes, got, length - got, at + got);
  return bytes.subarray(0, got);
}
