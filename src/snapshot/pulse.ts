// How the tasks of one process wait for one another, and for a store that fails. Every change fires the pulse, and whoever
// waits looks again whether what it waits for has come.
//
// What must hold: once stopped, every wait rejects with Stopped, those under way included; so no task outlives its run by more
// than the call that it is in.
import { OperationalError, errorText } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';

/** A run was stopped: no fault, only the way out. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}

const WAIT_MS_MAX = 60_000;

export class Pulse {
  readonly clock: Clock;
  #stopped = false;
  #waiters = new Set<() => void>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  fire(): void {
    const waiters = this.#waiters;
    this.#waiters = new Set();
    for (const wake of waiters) wake();
  }

  stop(): void {
    this.#stopped = true;
    this.fire();
  }

  /** Until the next `fire`, or so long. */
  async wait(timeoutMs: number = WAIT_MS_MAX): Promise<void> {
    this.check();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#waiters.delete(wake);
        resolve();
      };
      const timer = this.clock.after(Math.max(0, Math.min(timeoutMs, WAIT_MS_MAX)), wake);
      this.#waiters.add(wake);
    });
    this.check();
  }

  /** So long, whatever happens but a stop. */
  async sleep(ms: number): Promise<void> {
    const untilMs = this.clock.monotonicMs() + ms;
    for (let leftMs = ms; leftMs > 0; leftMs = untilMs - this.clock.monotonicMs()) await this.wait(leftMs);
  }

  /** Lets what else is ready run. */
  async turn(): Promise<void> {
    await new Promise<void>((resolve) => this.clock.endOfTurn(resolve));
    this.check();
  }

  check(): void {
    if (this.#stopped) throw new Stopped('stopped');
  }
}

const RETRYABLE: ReadonlySet<string> = new Set(['OBJECT_STORE_UNREACHABLE', 'OBJECT_STORE_REFUSED', 'OBJECT_STORE_FULL']);

/** A store that fails now may do later: its network is back, its rights or its room were given. */
export function isStoreTrouble(thrown: unknown): boolean {
  return thrown instanceof OperationalError && RETRYABLE.has(thrown.code);
}

const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 30_000;

/** After so many failures in a row. */
export function backoffMs(failures: number): number {
  return Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures - 1, 10));
}

/** Repeats what a store in trouble fails at; says so once, and once more when it is over. */
export class Retries {
  readonly #pulse: Pulse;
  readonly #logger: Logger;
  readonly #faults = new Map<symbol, string>();

  constructor(pulse: Pulse, logger: Logger) {
    this.#pulse = pulse;
    this.#logger = logger;
  }

  /** The trouble that something is being repeated for; empty if there is none. */
  get fault(): string {
    return this.#faults.values().next().value ?? '';
  }

  /** `what`: "archiving log entries 1 to 7". Other failures than the store's come through. */
  async run<T>(what: string, f: () => Promise<T>): Promise<T> {
    const own = Symbol(what);
    const sinceMs = this.#pulse.clock.monotonicMs();
    try {
      for (let failures = 1; ; failures++) {
        try {
          const result = await f();
          if (failures > 1) this.#logger.info({ what, seconds: this.#secondsSince(sinceMs), failures: failures - 1 }, 'the object store works again');
          return result;
        } catch (thrown) {
          if (!isStoreTrouble(thrown)) throw thrown;
          const reason = errorText(thrown);
          if (this.#faults.get(own) !== reason) this.#logger.warn({ what, reason }, 'the object store fails; serving goes on, this is tried again until it works');
          this.#faults.set(own, reason);
          this.#pulse.fire();
          await this.#pulse.sleep(backoffMs(failures));
        }
      }
    } finally {
      this.#faults.delete(own);
    }
  }

  #secondsSince(ms: number): number {
    return Math.round((this.#pulse.clock.monotonicMs() - ms) / 1000);
  }
}
