// When the next snapshot is due: a function of what was written since the last one, of its age, and of what was asked for.
import type { SnapshotterOrders } from '../ports/publisher.ts';

export interface ScheduleRules {
  /** Bytes of log since the last snapshot. */
  readonly logBytes: number;
  /** Since the last snapshot, if anything has changed. */
  readonly intervalMs: number;
}

export class SnapshotSchedule {
  readonly #rules: ScheduleRules;
  /** Of the last snapshot; 0 if there is none. */
  #index = 0;
  /** Wall clock at which it was made, or at which the log began; undefined: neither is known. */
  #sinceMs: number | undefined;
  /** What the data were like then. */
  #data = '';
  #orders: SnapshotterOrders = { snapshotIndexMin: 0 };
  /** Bytes of the entries applied since. */
  logBytes = 0;
  /** Wall clock before which a failed attempt is not repeated. */
  notBeforeMs = 0;

  constructor(rules: ScheduleRules) {
    this.#rules = rules;
  }

  get index(): number {
    return this.#index;
  }

  /** There is this snapshot. `data`: a text of it that differs where the data do; `logBytes`: what is applied behind it. */
  begin(index: number, madeMs: number | undefined, data: string, logBytes: number): void {
    this.#index = index;
    this.#sinceMs = madeMs;
    this.#data = data;
    this.logBytes = logBytes;
  }

  /** The log begins, at this time: the first snapshot's age counts from there. */
  logBegan(ms: number): void {
    this.#sinceMs ??= ms;
  }

  order(orders: SnapshotterOrders): void {
    this.#orders = orders;
  }

  /** The entry up to which the archive is wanted at once; 0: none. */
  get wantedIndex(): number {
    return this.#isRequested() ? this.#orders.snapshotIndexMin : 0;
  }

  /** Behind the archive it pays to catch up first, unless that is far. */
  isDue(nowMs: number, appliedIndex: number, isCaughtUp: boolean, data: () => string): boolean {
    if (nowMs < this.notBeforeMs || appliedIndex <= this.#index) return false;
    if (this.#isRequested() && appliedIndex >= this.#orders.snapshotIndexMin && isCaughtUp) return true;
    const { logBytes, intervalMs } = this.#rules;
    if (this.logBytes >= (isCaughtUp ? logBytes : 2 * logBytes)) return true;
    return isCaughtUp && this.#sinceMs !== undefined && nowMs - this.#sinceMs >= intervalMs && data() !== this.#data;
  }

  #isRequested(): boolean {
    return this.#orders.snapshotIndexMin > this.#index;
  }
}
