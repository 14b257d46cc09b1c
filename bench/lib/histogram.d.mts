// Types of histogram.mjs, for the tests.
export class Histogram {
  readonly count: number;
  readonly maxMs: number;
  record(ms: number): void;
  add(other: Histogram): void;
  percentile(share: number): number;
  summary(): { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number };
}
