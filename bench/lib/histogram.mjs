// Counts of waits in buckets that are 1/128 of their value wide: percentiles of any number of waits to better than 1 %, in
// a few kilobytes. The longest is kept as it was. Types in histogram.d.mts.
const SUBBUCKETS = 128;
const US_MAX = 2 ** 31 - 1;
const BUCKETS = 25 * SUBBUCKETS;

function bucketOf(us) {
  if (us < 2 * SUBBUCKETS) return us;
  const shift = 24 - Math.clz32(us);
  return shift * SUBBUCKETS + (us >>> shift);
}

/** The largest wait, µs, that the bucket counts. */
function topOf(bucket) {
  if (bucket < 2 * SUBBUCKETS) return bucket;
  const shift = Math.floor(bucket / SUBBUCKETS) - 1;
  return (bucket - shift * SUBBUCKETS + 1) * 2 ** shift - 1;
}

export class Histogram {
  #counts = new Float64Array(BUCKETS);
  count = 0;
  maxMs = 0;

  /** A wait that is none, because the clock was read in another order, counts as 0. */
  record(ms) {
    const us = Math.min(US_MAX, Math.max(0, Math.round(ms * 1000)));
    this.#counts[bucketOf(us)]++;
    this.count++;
    if (ms > this.maxMs) this.maxMs = ms;
  }

  add(other) {
    for (let i = 0; i < BUCKETS; i++) this.#counts[i] += other.#counts[i];
    this.count += other.count;
    this.maxMs = Math.max(this.maxMs, other.maxMs);
  }

  /** Milliseconds that this share of all waits is not above; 0 if there are none. */
  percentile(share) {
    const wanted = Math.ceil(this.count * share);
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.#counts[i];
      if (seen >= wanted && seen > 0) return Math.min(topOf(i) / 1000, this.maxMs);
    }
    return 0;
  }

  summary() {
    return { p50: this.percentile(0.5), p99: this.percentile(0.99), p999: this.percentile(0.999), max: this.maxMs };
  }
}
