// Time that stands still until the test moves it.
import type { Clock, Timer } from '../../src/ports/clock.ts';

export class StepClock implements Clock {
  nowMs = 0;
  timers: { atMs: number; callback: () => void }[] = [];
  wallMs(): number {
    return this.nowMs;
  }
  monotonicMs(): number {
    return this.nowMs;
  }
  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.nowMs + delayMs, callback };
    this.timers.push(timer);
    return { cancel: () => (this.timers = this.timers.filter((one) => one !== timer)) };
  }
  endOfTurn(): void {
    throw new Error('not used');
  }
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      this.timers.sort((a, b) => a.atMs - b.atMs);
      const next = this.timers[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.timers.shift();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.callback();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }
}
