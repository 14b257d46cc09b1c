// Ranges of indexes that follow one another, each up to where the next begins.

/** The range that `index` is in, or the first where all begin behind it; undefined without any. They rise in `from`. */
export function rangeAt<T extends { readonly from: number }>(ranges: readonly T[], index: number): T | undefined {
  let low = 0;
  let high = ranges.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (ranges[middle]!.from <= index) low = middle;
    else high = middle - 1;
  }
  return ranges[low];
}
