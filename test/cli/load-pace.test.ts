import { describe, expect, test } from 'vitest';
import { watchQueueing } from '../../src/adapters/queue-time.ts';
import { LoadPace } from '../../src/cli/load-pace.ts';
import type { Clock } from '../../src/ports/clock.ts';

class Bench {
  nowMs = 0;
  queuedMs = 0;
  readonly pauses: string[] = [];
  readonly clock: Clock = {
    wallMs: () => this.nowMs,
    monotonicMs: () => this.nowMs,
    after: (delayMs, callback) => {
      this.pauses.push(`${delayMs} ms`);
      this.nowMs += delayMs;
      callback();
      return { cancel: () => {} };
    },
    endOfTurn: (callback) => {
      this.pauses.push('turn');
      callback();
    },
  };

  async work(pace: LoadPace, ms: number, queuedMs: number): Promise<void> {
    this.nowMs += ms;
    this.queuedMs += queuedMs;
    await pace.breathe();
  }
}

describe('the pace of a load', () => {
  test('a pause after each slice: the end of the turn, or a rest where it had to queue for a CPU in it', async () => {
    const bench = new Bench();
    const pace = new LoadPace(bench.clock, () => bench.queuedMs);
    await bench.work(pace, 3, 1);
    expect(bench.pauses).toEqual([]);
    await bench.work(pace, 1, 0);
    await bench.work(pace, 4, 0.1);
    await bench.work(pace, 5, 0);
    await bench.work(pace, 4, 2);
    expect(bench.pauses).toEqual(['16 ms', 'turn', 'turn', '16 ms']);
  });

  test('no rest where nobody tells, or the load is waited for', async () => {
    const bench = new Bench();
    const pace = new LoadPace(bench.clock, undefined);
    for (let i = 0; i < 3; i++) await bench.work(pace, 4, 4);
    expect(bench.pauses).toEqual(['turn', 'turn', 'turn']);
  });

  test('the machine tells, or does not', () => {
    expect(watchQueueing('/nowhere/schedstat')).toBeUndefined();
    const queuedMs = watchQueueing();
    if (queuedMs === undefined) return;
    const before = queuedMs();
    expect(before).toBeGreaterThanOrEqual(0);
    expect(queuedMs()).toBeGreaterThanOrEqual(before);
  });
});
