import { describe, expect, test } from 'vitest';
import { Histogram } from '../../bench/lib/histogram.mjs';
import { Prng } from '../../src/base/prng.ts';

describe('the histogram of waits', () => {
  test('gives each percentile to better than 1 %, and the longest as it was', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const histogram = new Histogram();
    const waits: number[] = [];
    for (let i = 0; i < 20_000; i++) {
      // From a microsecond to some minutes, all sizes alike.
      const ms = 10 ** (-3 + (8 * prng.below(1_000_000)) / 1_000_000);
      waits.push(ms);
      histogram.record(ms);
    }
    waits.sort((a, b) => a - b);
    for (const share of [0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = waits[Math.ceil(waits.length * share) - 1]!;
      const got = histogram.percentile(share);
      expect(Math.abs(got - exact), `seed ${seed}: p${share * 100} is ${got}, exactly ${exact}`).toBeLessThanOrEqual(exact * 0.01 + 0.001);
    }
    expect(histogram.summary().max).toBe(waits.at(-1));
  });

  test('every size up to 300 ms is counted at or above itself, by less than 1/128', () => {
    for (let us = 0; us < 300_000; us += us < 2000 ? 1 : 17) {
      const histogram = new Histogram();
      histogram.record(us / 1000);
      histogram.record(1e9);
      const got = Math.round(histogram.percentile(0.5) * 1000);
      expect(got).toBeGreaterThanOrEqual(us);
      expect(got).toBeLessThanOrEqual(us + us / 128);
    }
  });

  test('two added are one of all', () => {
    const [first, second] = [new Histogram(), new Histogram()];
    for (let i = 1; i <= 99; i++) first.record(i / 100);
    second.record(50);
    first.add(second);
    expect(first.count).toBe(100);
    expect(first.percentile(0.99)).toBeCloseTo(0.99, 2);
    expect(first.percentile(1)).toBe(50);
    expect(new Histogram().percentile(0.5)).toBe(0);
  });
});
