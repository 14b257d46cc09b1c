// Where the time of a write goes on the leader, from the moment its batch opens until its reply is with the socket. Owns one
// histogram a step; a step's share is what it adds to the sum of all. Readings are of the monotonic clock that both threads share.
//
//   batch     the batch's first record is in → the batch leaves for consensus
//   to_log    → consensus takes it up
//   fsync     → it is on this node's disk
//   peers     → a majority has it (0 where the own fsync was the last of the majority; both run at the same time)
//   to_apply  → the engine takes it up
//   apply     → it is applied and its replies are written
//   reply     → the replies are with the sockets
//
// What must hold: a wrong reading (a clock that jumped) may spoil a figure, never a write. Histograms are exact to a sixteenth.

export const WRITE_STEPS = ['batch', 'to_log', 'fsync', 'peers', 'to_apply', 'apply', 'reply', 'total'] as const;
export type WriteStep = (typeof WRITE_STEPS)[number];

export interface StepFigures {
  readonly step: WriteStep;
  readonly entries: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of the mean total, 0 to 1. */
  readonly share: number;
}

/** When consensus took up one of the engine's proposals, had it on disk, and saw it committed; monotonic ms. */
export interface LogTimes {
  readonly takenMs: number;
  readonly persistedMs: number;
  readonly committedMs: number;
}

/** 16 buckets a power of two, from 1 µs to over an hour. */
const BUCKETS_A_DOUBLING = 16;
const BUCKETS = 32 * BUCKETS_A_DOUBLING;

class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  count = 0;
  sumUs = 0;

  add(us: number): void {
    const bucket = us <= 1 ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log2(us) * BUCKETS_A_DOUBLING));
    this.#counts[bucket]!++;
    this.count++;
    this.sumUs += us;
  }

  quantile(q: number): number {
    if (this.count === 0) return 0;
    let left = q * this.count;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#counts[bucket]!;
      if (left <= 0) return 2 ** ((bucket + 0.5) / BUCKETS_A_DOUBLING);
    }
    return 2 ** (BUCKETS / BUCKETS_A_DOUBLING);
  }

  reset(): void {
    this.#counts.fill(0);
    this.count = 0;
    this.sumUs = 0;
  }
}

export class WriteTimings {
  readonly #steps = WRITE_STEPS.map(() => new Histogram());
  /** The readings of the newest entry: a write that is applied but whose replies are not sent yet. */
  readonly #marks = new Float64Array(WRITE_STEPS.length);
  #open = false;

  /** An entry of this node's is applied; `sent` follows when its replies are with the sockets. */
  applied(openedMs: number, proposedMs: number, log: LogTimes, receivedMs: number, appliedMs: number): void {
    const marks = this.#marks;
    marks[0] = openedMs;
    marks[1] = proposedMs;
    marks[2] = log.takenMs;
    // Persisted after the others had it: the own disk was not waited for.
    marks[3] = Math.min(log.persistedMs, log.committedMs);
    marks[4] = log.committedMs;
    marks[5] = receivedMs;
    marks[6] = appliedMs;
    this.#open = true;
  }

  sent(nowMs: number): void {
    if (!this.#open) return;
    this.#open = false;
    const marks = this.#marks;
    marks[7] = nowMs;
    for (let i = 0; i < 7; i++) this.#steps[i]!.add(Math.max(0, marks[i + 1]! - marks[i]!) * 1000);
    this.#steps[7]!.add(Math.max(0, nowMs - marks[0]!) * 1000);
  }

  figures(): StepFigures[] {
    const total = this.#steps[7]!;
    return WRITE_STEPS.map((step, i) => {
      const histogram = this.#steps[i]!;
      return {
        step,
        entries: histogram.count,
        meanUs: histogram.count === 0 ? 0 : histogram.sumUs / histogram.count,
        p50Us: histogram.quantile(0.5),
        p99Us: histogram.quantile(0.99),
        share: total.sumUs === 0 ? 0 : histogram.sumUs / total.sumUs,
      };
    });
  }

  reset(): void {
    for (const histogram of this.#steps) histogram.reset();
    this.#open = false;
  }
}
