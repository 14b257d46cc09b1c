import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { StallWatch, watchStalls } from '../../src/adapters/stall-watch.ts';

const STALL_MS = 120;
/** The watch may miss the part of a stall before its timer was due, and a machine under load makes any stall longer. */
const LEAST_MS = STALL_MS - 15;

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function stall(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** Waits until the timer that fires late has fired. */
async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 5000;
  while (!condition() && performance.now() < deadlineMs) await delay(5);
}

describe('the stall watch', () => {
  test('shows the longest stall, and none after a reset', async () => {
    const watch = new StallWatch(watchStalls(5), 5);
    expect(watch.stallMsMax).toBe(0);
    await delay(30);
    stall(STALL_MS);
    await until(() => watch.stallMsMax >= LEAST_MS);
    expect(watch.stallMsMax).toBeGreaterThanOrEqual(LEAST_MS);
    stall(10);
    await delay(20);
    expect(watch.stallMsMax).toBeGreaterThanOrEqual(LEAST_MS);
    watch.reset();
    expect(watch.stallMsMax).toBeLessThan(LEAST_MS);
  });

  test("reads and resets another thread's", async () => {
    // The same call as watchStalls: a worker cannot import TypeScript here.
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads');
       globalThis.kept = require('node:perf_hooks').monitorEventLoopDelay({ resolution: 5 });
       kept.enable();
       parentPort.postMessage(kept);
       parentPort.on('message', (ms) => {
         const until = performance.now() + ms;
         while (performance.now() < until);
       });`,
      { eval: true },
    );
    try {
      const watch = new StallWatch(await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)), 5);
      await delay(30);
      worker.postMessage(STALL_MS);
      await until(() => watch.stallMsMax >= LEAST_MS);
      expect(watch.stallMsMax).toBeGreaterThanOrEqual(LEAST_MS);
      watch.reset();
      expect(watch.stallMsMax).toBeLessThan(LEAST_MS);
      // A stall that begins before the timer has fired once after a reset is not seen.
      await delay(30);
      worker.postMessage(STALL_MS);
      await until(() => watch.stallMsMax >= LEAST_MS);
      expect(watch.stallMsMax).toBeGreaterThanOrEqual(LEAST_MS);
    } finally {
      await worker.terminate();
    }
  });
});
