// Output buffers for reply writers: a few sizes, kept for the next use up to a limit. One pool serves all connections.
// A buffer is either free, or one writer's, or on its way to a socket; whoever has it gives it back once.
import { assert } from '../base/assert.ts';
import { KiB, MiB } from '../base/limits.ts';

/** A connection's first buffer, its second, and all further ones. */
const SIZES = [4 * KiB, 16 * KiB, 64 * KiB] as const;
export const REPLY_CHUNK_BYTES_MAX = 64 * KiB;
/** Free buffers kept of each size. */
const KEPT_BYTES_MAX = 8 * MiB;

export class ReplyPool {
  readonly #free: Buffer[][] = SIZES.map(() => []);

  /** A buffer with room for `bytesMin`; `ordinal` counts the ones that the reply has already filled. Its contents are arbitrary. */
  take(bytesMin: number, ordinal: number): Buffer {
    for (let i = Math.min(ordinal, SIZES.length - 1); i < SIZES.length; i++) {
      if (SIZES[i]! >= bytesMin) return this.#free[i]!.pop() ?? Buffer.allocUnsafeSlow(SIZES[i]!);
    }
    return Buffer.allocUnsafeSlow(bytesMin);
  }

  /** Takes a buffer, or any view of it, back. */
  give(view: Uint8Array): void {
    const memory = view.buffer;
    assert(memory instanceof ArrayBuffer, 'a reply buffer is plain memory');
    const i = SIZES.indexOf(memory.byteLength);
    if (i < 0) return;
    const free = this.#free[i]!;
    if (free.length * SIZES[i]! < KEPT_BYTES_MAX) free.push(Buffer.from(memory));
  }

  /** Bytes of free buffers, for INFO. */
  get freeBytes(): number {
    return this.#free.reduce((sum, free, i) => sum + free.length * SIZES[i]!, 0);
  }
}
