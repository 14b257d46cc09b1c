// Access clocks of keys, 24 bits in each record: seconds of the last access (lru), or minutes of the last decay and a
// logarithmic counter (lfu), both as Redis keeps them. Local to the node: nothing replicated may read or follow them.
import { Prng } from '../base/prng.ts';

export type AccessPolicy = 'lru' | 'lfu';

const CLOCK_MASK = 0xff_ffff;
const LFU_COUNTER_INITIAL = 5;
const LFU_COUNTER_MAX = 255;

export class AccessClock {
  policy: AccessPolicy = 'lru';
  /** lfu-log-factor and lfu-decay-time. */
  lfuLogFactor = 10;
  lfuDecayMinutes = 1;
  readonly #clockMs: () => number;
  /** Only decides when a counter goes up; never seen by replicated code, so a fixed seed does. */
  readonly #random = new Prng(1);

  constructor(clockMs: () => number) {
    this.#clockMs = clockMs;
  }

  /** The clock of a new key. */
  initial(): number {
    return this.policy === 'lru' ? this.#seconds() : (this.#minutes() << 8) | LFU_COUNTER_INITIAL;
  }

  /** The clock after an access. */
  touched(clock: number): number {
    if (this.policy === 'lru') return this.#seconds();
    let counter = this.#decayed(clock);
    if (counter < LFU_COUNTER_MAX) {
      const base = Math.max(0, counter - LFU_COUNTER_INITIAL);
      if (this.#random.chance(1 / (base * this.lfuLogFactor + 1))) counter++;
    }
    return (this.#minutes() << 8) | counter;
  }

  idleMs(clock: number): number {
    return ((this.#seconds() - clock) & CLOCK_MASK) * 1000;
  }

  frequency(clock: number): number {
    return this.#decayed(clock);
  }

  /** A clock that says so: RESTORE's IDLETIME and FREQ. */
  fromIdleSeconds(seconds: number): number {
    return (this.#seconds() - seconds) & CLOCK_MASK;
  }

  fromFrequency(frequency: number): number {
    return (this.#minutes() << 8) | frequency;
  }

  #decayed(clock: number): number {
    const elapsed = (this.#minutes() - (clock >>> 8)) & 0xffff;
    const periods = this.lfuDecayMinutes > 0 ? Math.floor(elapsed / this.lfuDecayMinutes) : 0;
    return Math.max(0, (clock & 0xff) - periods);
  }

  #seconds(): number {
    return Math.floor(this.#clockMs() / 1000) & CLOCK_MASK;
  }

  #minutes(): number {
    return Math.floor(this.#clockMs() / 60_000) & 0xffff;
  }
}
