import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { SharedCellReader, SharedCellWriter, createSharedCell } from '../../src/adapters/shared-cell.ts';
import { importInWorker } from './worker-import.ts';

describe('the shared cell', () => {
  test('is empty before the first publication', () => {
    const reader = new SharedCellReader(createSharedCell());
    reader.load();
    expect(reader).toMatchObject({ leaseUntilMs: 0, term: 0, commit: 0, leaderId: 0, selfIsLeader: false });
  });

  test('gives what was published last, whatever its size', () => {
    const cell = createSharedCell();
    const writer = new SharedCellWriter(cell);
    const reader = new SharedCellReader(cell);
    for (const big of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER]) {
      writer.publish(big / 3, big, Number.MAX_SAFE_INTEGER - big, big % 2 ** 32, big % 2 === 1);
      reader.load();
      expect(reader).toMatchObject({
        leaseUntilMs: big / 3,
        term: big,
        commit: Number.MAX_SAFE_INTEGER - big,
        leaderId: big % 2 ** 32,
        selfIsLeader: big % 2 === 1,
      });
    }
  });

  test('shows the fields as of the last load, and loads again for itself only', () => {
    const cell = createSharedCell();
    const writer = new SharedCellWriter(cell);
    const reader = new SharedCellReader(cell);
    writer.publish(1, 2, 3, 4, true);
    expect(reader.term).toBe(0);
    reader.load();
    writer.publish(10, 20, 30, 40, false);
    expect(reader).toMatchObject({ leaseUntilMs: 1, term: 2, commit: 3, leaderId: 4, selfIsLeader: true });
  });

  test('survives the wrap of its version', () => {
    const cell = createSharedCell();
    new Int32Array(cell)[0] = 0x7fff_fffe;
    const writer = new SharedCellWriter(cell);
    const reader = new SharedCellReader(cell);
    for (let term = 1; term <= 4; term++) {
      writer.publish(term, term, term, term, true);
      reader.load();
      expect(reader.term).toBe(term);
    }
  });

  test('never mixes two publications under a writer that does not pause, and never goes back', async () => {
    const cell = createSharedCell();
    const worker = new Worker(
      `${importInWorker('src/adapters/shared-cell.ts')}.then(({ SharedCellWriter }) => {
        const { workerData, parentPort } = require('node:worker_threads');
        const writer = new SharedCellWriter(workerData);
        const untilMs = Date.now() + 1500;
        let n = 0;
        while (Date.now() < untilMs) {
          for (let i = 0; i < 1000; i++) {
            n++;
            writer.publish(n * 0.5, n * 5000000, n * 7000000, n % 1000003, n % 2 === 1);
          }
        }
        parentPort.postMessage(n);
      });`,
      { eval: true, workerData: cell },
    );
    const reader = new SharedCellReader(cell);
    let published: number | undefined;
    worker.once('message', (n: number) => (published = n));
    const exited = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    let last = 0;
    let distinct = 0;
    while (published === undefined) {
      for (let i = 0; i < 20_000; i++) {
        reader.load();
        const n = reader.leaseUntilMs * 2;
        const whole =
          reader.term === n * 5_000_000 &&
          reader.commit === n * 7_000_000 &&
          reader.leaderId === n % 1_000_003 &&
          reader.selfIsLeader === (n % 2 === 1);
        if (!whole || n < last) {
          expect.fail(`after ${last}: lease ${reader.leaseUntilMs}, term ${reader.term}, commit ${reader.commit}, leader ${reader.leaderId}`);
        }
        if (n > last) distinct++;
        last = n;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await exited;
    reader.load();
    expect(reader.term).toBe(published * 5_000_000);
    expect(distinct).toBeGreaterThan(100);
  });
});
