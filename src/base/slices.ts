// Stretches of bytes that are gathered first and copied afterwards. Gathering reads a few words of each, and none waits for another:
// where they lie scattered, the processor fetches many from memory at a time, not one after the other. Owns its lists. Hot: indexes
// typed arrays directly.
//
// What must hold: `bytes[k]` and `words[k]` view the same memory. A slice begins at a multiple of four, and the word in which it ends
// is all there. Good until the memory changes.

/** As many as fit. What is kept of them stays in the nearest cache. */
export const SLICES_MAX = 128;

export class Slices {
  bytes: readonly Uint8Array[] = [];
  words: readonly Uint32Array[] = [];
  count = 0;
  /** Slice i is bytes[where[i]] from starts[i] to ends[i]. */
  readonly where = new Uint16Array(SLICES_MAX);
  readonly starts = new Int32Array(SLICES_MAX);
  readonly ends = new Int32Array(SLICES_MAX);
}
