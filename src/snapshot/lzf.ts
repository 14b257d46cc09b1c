// LZF decompression (the format of Marc Lehmann's liblzf, which Redis compresses strings with). Indexes typed arrays directly.
//
// A run of items: 000lllll and l + 1 bytes as they are; or lll… ≠ 0: lllooooo [more length, if lll is 7] oooooooo, a copy of
// l + 2 bytes from o + 1 bytes back, which may overlap what it makes.

/** Fills `out` from bytes[start, end); false, with `out` in part written, if that is not exactly what they hold. */
export function decompressLzf(bytes: Uint8Array, start: number, end: number, out: Uint8Array, outLength: number): boolean {
  let i = start;
  let o = 0;
  while (i < end) {
    const control = bytes[i++]!;
    if (control < 32) {
      const length = control + 1;
      if (i + length > end || o + length > outLength) return false;
      for (const stop = i + length; i < stop; ) out[o++] = bytes[i++]!;
      continue;
    }
    let length = control >>> 5;
    if (length === 7) {
      if (i >= end) return false;
      length += bytes[i++]!;
    }
    if (i >= end) return false;
    let from = o - ((control & 0x1f) << 8) - bytes[i++]! - 1;
    length += 2;
    if (from < 0 || o + length > outLength) return false;
    for (const stop = o + length; o < stop; ) out[o++] = out[from++]!;
  }
  return o === outLength;
}
