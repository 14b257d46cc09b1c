import { describe, expect, test } from 'vitest';
import { WriteTimings } from '../../src/replica/write-timings.ts';

const figure = (timings: WriteTimings, step: string) => {
  const found = timings.figures().find((one) => one.step === step);
  if (found === undefined) throw new Error(`no step ${step}`);
  return found;
};

/** Batch 1 ms, to the log 0.1, fsync 2, peers 0.5 more, back 0.2, apply 0.3, reply 0.4. */
function add(timings: WriteTimings, persistedMs = 1003.1, committedMs = 1003.6): void {
  timings.applied(1000, 1001, { takenMs: 1001.1, persistedMs, committedMs }, 1003.8, 1004.1);
  timings.sent(1004.5);
}

describe('the timings of writes', () => {
  test('give each step its time, and shares that add up', () => {
    const timings = new WriteTimings();
    for (let i = 0; i < 10; i++) add(timings);
    const means = ['batch', 'to_log', 'fsync', 'peers', 'to_apply', 'apply', 'reply', 'total'].map((step) => Math.round(figure(timings, step).meanUs));
    expect(means).toEqual([1000, 100, 2000, 500, 200, 300, 400, 4500]);
    const shares = timings.figures().filter(({ step }) => step !== 'total').map(({ share }) => share);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(figure(timings, 'fsync').p50Us / 2000).toBeCloseTo(1, 1);
    expect(figure(timings, 'total').entries).toBe(10);
  });

  test('where the peers were a majority first, the own disk was not waited for', () => {
    const timings = new WriteTimings();
    add(timings, Infinity, 1003.6);
    expect(Math.round(figure(timings, 'fsync').meanUs)).toBe(2500);
    expect(figure(timings, 'peers').meanUs).toBe(0);
  });

  test('tell the tail from the middle', () => {
    const timings = new WriteTimings();
    for (let i = 0; i < 97; i++) add(timings);
    for (let i = 0; i < 3; i++) {
      timings.applied(0, 50, { takenMs: 50, persistedMs: 50, committedMs: 50 }, 50, 50);
      timings.sent(50);
    }
    expect(figure(timings, 'batch').p50Us).toBeLessThan(1100);
    expect(figure(timings, 'batch').p99Us).toBeGreaterThan(45_000);
  });

  test('a turn without an entry of ours adds nothing, and reset forgets', () => {
    const timings = new WriteTimings();
    timings.sent(5);
    expect(figure(timings, 'total').entries).toBe(0);
    add(timings);
    timings.sent(2000);
    expect(figure(timings, 'total').entries).toBe(1);
    timings.reset();
    expect(figure(timings, 'total')).toMatchObject({ entries: 0, meanUs: 0, p50Us: 0, share: 0 });
  });
});
