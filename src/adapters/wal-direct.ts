// Writes behind the end of a file past the page cache (O_DIRECT with O_DSYNC): one copy in memory, and one request that is on disk
// when it returns, where a write and an fdatasync cost two of each. Owns a buffer aligned as the disk wants it, and a descriptor
// of its own for the file that it last wrote to. Reads of the file by any other descriptor see what was written.
//
// What must hold:
// - Whole blocks are written. The last one of a write is filled up with zeros; the next write gives its beginning once more as it
//   was, so that a torn one holds what was acknowledged either way, as with the page cache.
// - Where the system does not do this (`open` gives undefined, or `write` false) nothing was written: the caller writes as usual.
import * as fs from 'node:fs';
import { assert } from '../base/assert.ts';
import { KiB } from '../base/limits.ts';

/** A file offset and a length that every disk in use takes. */
export const DIRECT_BLOCK_BYTES = 4096;
/** What a longer write would save is little beside its transfer, and the buffer stays. */
const WRITE_BYTES_MAX = 512 * KiB;
/** Addresses of buffers are multiples of it. */
const ADDRESS_STEP_BYTES = 16;

const { O_DIRECT, O_DSYNC, O_RDONLY, O_RDWR } = fs.constants;

/** `bytes` of memory that O_DIRECT takes for this file, whose first block is there; undefined where none is. An address cannot be asked for: it is tried by reading. */
export function alignedFor(path: string, bytes: number): Uint8Array<ArrayBuffer> | undefined {
  if (O_DIRECT === undefined) return undefined;
  const memory = new ArrayBuffer(bytes + DIRECT_BLOCK_BYTES);
  let fd: number;
  try {
    fd = fs.openSync(path, O_RDONLY | O_DIRECT);
  } catch (thrown) {
    if (isRefusal(thrown)) return undefined;
    throw thrown;
  }
  try {
    for (let from = 0; from < DIRECT_BLOCK_BYTES; from += ADDRESS_STEP_BYTES) {
      try {
        fs.readSync(fd, new Uint8Array(memory, from, DIRECT_BLOCK_BYTES), 0, DIRECT_BLOCK_BYTES, 0);
      } catch (thrown) {
        if (isRefusal(thrown)) continue;
        throw thrown;
      }
      const aligned = new Uint8Array(memory, from, bytes);
      aligned.fill(0, 0, Math.min(bytes, DIRECT_BLOCK_BYTES));
      return aligned;
    }
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}

export class DirectWriter {
  readonly #buffer: Uint8Array;
  /** Open for the file at #path; -1 before the first. */
  #fd = -1;
  #path = '';
  /** Where the file's last write ended; the buffer begins with that block, up to there. -1: it does not. */
  #end = -1;

  /** `path`: a file with a block in it on the file system that will be written to. */
  static open(path: string): DirectWriter | undefined {
    const buffer = alignedFor(path, WRITE_BYTES_MAX);
    return buffer === undefined ? undefined : new DirectWriter(buffer);
  }

  private constructor(buffer: Uint8Array) {
    this.#buffer = buffer;
  }

  /**
   * Puts `parts` at `at` of the file, and zeros from there to `end` and on to the end of the block; on disk when it returns. Nothing else
   * writes to that block but what ends where the next write begins. False: they are too long, or the system refuses this kind of
   * write, and nothing was written.
   */
  write(path: string, parts: readonly Uint8Array[], at: number, end: number): boolean {
    const buffer = this.#buffer;
    const before = at % DIRECT_BLOCK_BYTES;
    const start = at - before;
    const total = Math.ceil((end - start) / DIRECT_BLOCK_BYTES) * DIRECT_BLOCK_BYTES;
    if (total > buffer.length || !this.#turnTo(path)) return false;
    if (before > 0 && this.#end !== at) readWhole(path, buffer.subarray(0, before), start);
    this.#end = -1;
    let to = before;
    for (const part of parts) {
      buffer.set(part, to);
      to += part.length;
    }
    assert(to <= end - start, () => `${to - before} bytes from ${at} on are to end at ${end}`);
    buffer.fill(0, to, total);
    let written: number;
    try {
      written = fs.writeSync(this.#fd, buffer, 0, total, start);
    } catch (thrown) {
      if (isRefusal(thrown)) return false;
      throw thrown;
    }
    if (written !== total) throw new Error(`${path}: ${written} of ${total} bytes were written at ${start}`);
    const lastBlock = end - start - (end % DIRECT_BLOCK_BYTES);
    buffer.copyWithin(0, lastBlock, end - start);
    this.#end = end;
    return true;
  }

  close(): void {
    if (this.#fd !== -1) fs.closeSync(this.#fd);
    this.#fd = -1;
    this.#path = '';
    this.#end = -1;
  }

  #turnTo(path: string): boolean {
    if (path === this.#path) return true;
    this.close();
    try {
      this.#fd = fs.openSync(path, O_RDWR | O_DIRECT | O_DSYNC);
    } catch (thrown) {
      if (isRefusal(thrown)) return false;
      throw thrown;
    }
    this.#path = path;
    return true;
  }
}

function readWhole(path: string, bytes: Uint8Array, at: number): void {
  const fd = fs.openSync(path, 'r');
  try {
    const read = fs.readSync(fd, bytes, 0, bytes.length, at);
    if (read !== bytes.length) throw new Error(`${path}: it ends at ${at + read}, within what was written`);
  } finally {
    fs.closeSync(fd);
  }
}

/** What file systems without it say, and disks that want memory to stand elsewhere. */
export function isRefusal(thrown: unknown): boolean {
  const code = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined;
  return code === 'EINVAL' || code === 'ENOTSUP' || code === 'ENOSYS';
}
