// Output buffers for reply writers: a few sizes, kept for the next use up to a limit. One pool serves all connections.
// A buffer is either free, or one writer's, or on its way to a socket; whoever has it gives it back once.
import { assert } from '../base/assert.ts';
import { KiB, MiB } from '../base/limits.ts';

/** Most replies fit the first; one that outgrows a size goes on in the next. */
const SIZES: readonly number[] = [4 * KiB, 16 * KiB, 64 * KiB];
export const REPLY_CHUNK_BYTES_MAX = 64 * KiB;
/** Free buffers kept of each size. */
const KEPT_BYTES_MAX = 8 * MiB;

export class ReplyPool {
  readonly #free: Buffer[][] = SIZES.map(() => []);

  /** A buffer with room for `bytesMin`. Its contents are arbitrary. */
  take(bytesMin: number): Buffer {
    for (let i = 0; i < SIZES.length; i++) {
      if (SIZES[i]! >= bytesMin) return this.#free[i]!.pop() ?? Buffer.allocUnsafeSlow(SIZES[i]!);
    }
    return Buffer.allocUnsafeSlow(bytesMin);
  }

  /** Takes a buffer back that is as `take` gave it. */
  giveBack(buffer: Buffer): void {
    this.#keep(buffer.length, buffer);
  }

  /** Takes a buffer, or any view of it, back. */
  give(view: Uint8Array): void {
    const memory = view.buffer;
    assert(memory instanceof ArrayBuffer, 'a reply buffer is plain memory');
    if (SIZES.includes(memory.byteLength)) this.#keep(memory.byteLength, Buffer.from(memory));
  }

  #keep(size: number, buffer: Buffer): void {
    const i = SIZES.indexOf(size);
    if (i < 0) return;
    const free = this.#free[i]!;
    if (free.length * size < KEPT_BYTES_MAX) free.push(buffer);
  }

  /** Bytes of free buffers, for INFO. */
  get freeBytes(): number {
    return this.#free.reduce((sum, free, i) => sum + free.length * SIZES[i]!, 0);
  }
}
