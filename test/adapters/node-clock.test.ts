import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { NodeClock } from '../../src/adapters/node-clock.ts';
import { NodeEntropy } from '../../src/adapters/node-entropy.ts';
import { importInWorker } from './worker-import.ts';

describe('the clock', () => {
  test('the last reading stays until the next', () => {
    const clock = new NodeClock();
    const firstMs = clock.monotonicMs();
    expect(clock.lastMonotonicMs).toBe(firstMs);
    let nextMs = firstMs;
    while (nextMs === firstMs) nextMs = clock.monotonicMs();
    expect(clock.lastMonotonicMs).toBe(nextMs);
  });

  test('is one clock for both threads', async () => {
    const clock = new NodeClock();
    const cell = new SharedArrayBuffer(16);
    const turn = new Int32Array(cell, 0, 1);
    const reading = new Float64Array(cell, 8, 1);
    const worker = new Worker(
      `${importInWorker('src/adapters/node-clock.ts')}.then(({ NodeClock }) => {
        const { workerData } = require('node:worker_threads');
        const turn = new Int32Array(workerData, 0, 1);
        const reading = new Float64Array(workerData, 8, 1);
        const clock = new NodeClock();
        for (let i = 0; i < 50; i++) {
          Atomics.wait(turn, 0, 0);
          reading[0] = clock.monotonicMs();
          Atomics.store(turn, 0, 0);
          Atomics.notify(turn, 0);
        }
      });`,
      { eval: true, workerData: cell },
    );
    const exited = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    await new Promise((resolve) => worker.once('online', resolve));
    // The worker's reading lies between our two; how far outside it falls is the disagreement.
    let worst = 0;
    for (let i = 0; i < 50; i++) {
      const beforeMs = clock.monotonicMs();
      Atomics.store(turn, 0, 1);
      Atomics.notify(turn, 0);
      Atomics.wait(turn, 0, 1);
      const afterMs = clock.monotonicMs();
      const theirs = reading[0] as number;
      worst = Math.max(worst, beforeMs - theirs, theirs - afterMs);
    }
    await exited;
    expect(worst).toBeLessThan(1);
  });

  test('goes with the system clock and with the wall', () => {
    const clock = new NodeClock();
    const [seconds, nanoseconds] = process.hrtime();
    expect(Math.abs(clock.monotonicMs() - (seconds * 1000 + nanoseconds / 1e6))).toBeLessThan(50);
    expect(Math.abs(clock.wallMs() - Date.now())).toBeLessThan(50);
    expect(Number.isInteger(clock.wallMs())).toBe(true);
  });

  test('runs a timer no sooner than asked, and not at all once cancelled', async () => {
    const clock = new NodeClock();
    let cancelledRan = false;
    const cancelled = clock.after(1, () => (cancelledRan = true));
    cancelled.cancel();
    for (let i = 0; i < 30; i++) {
      const delayMs = i * 0.37;
      const beforeMs = clock.monotonicMs();
      await new Promise<void>((resolve) => clock.after(delayMs, resolve));
      expect(clock.monotonicMs() - beforeMs).toBeGreaterThanOrEqual(delayMs);
    }
    expect(cancelledRan).toBe(false);
  });

  test('ends the turn after the microtasks of this turn', async () => {
    const clock = new NodeClock();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      clock.endOfTurn(() => {
        order.push('end');
        resolve();
      });
      void Promise.resolve().then(() => order.push('microtask'));
      order.push('turn');
    });
    expect(order).toEqual(['turn', 'microtask', 'end']);
  });
});

describe('entropy', () => {
  test('gives whole numbers of 32 bits, and no pool twice', () => {
    const entropy = new NodeEntropy();
    const seen = new Set<number>();
    let high = 0;
    for (let i = 0; i < 1024; i++) {
      const value = entropy.uint32();
      expect(Number.isInteger(value) && value >= 0 && value < 2 ** 32).toBe(true);
      seen.add(value);
      if (value >= 2 ** 31) high++;
    }
    expect(seen.size).toBeGreaterThan(1020);
    expect(high).toBeGreaterThan(400);
    expect(high).toBeLessThan(624);
  });
});
