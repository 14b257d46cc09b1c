// Reads that wait for a read index (Raft thesis 6.4). LeaderReads is the leader's side: a read is confirmed once a
// quorum has answered a heartbeat round that started after the read came in. ForwardedReads is the follower's side:
// what it asked its leader and has no answer for. Every read leaves each of them exactly once.
import type { NodeId } from './types.ts';

/** Reads waiting on one node, above which further ones fail at once. */
export const READS_PENDING_MAX = 65_536;

export interface PendingRead {
  /** Who asked: this node's own id, or a follower. */
  readonly from: NodeId;
  readonly context: number;
}

export interface IndexedRead extends PendingRead {
  readonly index: number;
}

export class LeaderReads {
  /** Came before an entry of this term was committed: the leader can't know what is committed yet (thesis 6.4, step 1). */
  #beforeCommit: PendingRead[] = [];
  /** Their round has not started. */
  #queued: IndexedRead[] = [];
  /** Rounds in ascending order, each with the reads that it confirms. */
  #rounds: { readonly round: number; readonly reads: IndexedRead[] }[] = [];
  #count = 0;

  get full(): boolean {
    return this.#count >= READS_PENDING_MAX;
  }

  get hasQueued(): boolean {
    return this.#queued.length > 0;
  }

  get roundUnderWay(): boolean {
    return this.#rounds.length > 0;
  }

  holdUntilCommit(read: PendingRead): void {
    this.#beforeCommit.push(read);
    this.#count++;
  }

  takeHeld(): PendingRead[] {
    const held = this.#beforeCommit;
    this.#beforeCommit = [];
    this.#count -= held.length;
    return held;
  }

  queue(read: IndexedRead): void {
    this.#queued.push(read);
    this.#count++;
  }

  /** Every queued read is confirmed by `round`, which starts now. */
  roundStarts(round: number): void {
    if (this.#queued.length === 0) return;
    this.#rounds.push({ round, reads: this.#queued });
    this.#queued = [];
  }

  /** A quorum has answered `round`, and with it every round before. */
  confirmed(round: number): IndexedRead[] {
    const done: IndexedRead[] = [];
    let first = this.#rounds[0];
    while (first !== undefined && first.round <= round) {
      for (const read of first.reads) done.push(read);
      this.#rounds.shift();
      first = this.#rounds[0];
    }
    this.#count -= done.length;
    return done;
  }

  /** Leadership is lost: all that wait. */
  takeAll(): PendingRead[] {
    const all: PendingRead[] = [...this.#rounds.flatMap((round) => round.reads), ...this.#queued, ...this.#beforeCommit];
    this.#rounds = [];
    this.#queued = [];
    this.#beforeCommit = [];
    this.#count = 0;
    return all;
  }
}

/**
 * The number on the wire is not the asker's: it counts up from a random origin, so that the answer to a read from
 * before a restart (or a copy of an answer) is never taken for the answer to a later read.
 */
export class ForwardedReads {
  readonly #waiting = new Map<number, { readonly context: number; ticks: number }>();
  #next: number;

  constructor(random: (bound: number) => number) {
    this.#next = random(2 ** 21) * 2 ** 31 + 1;
  }

  get full(): boolean {
    return this.#waiting.size >= READS_PENDING_MAX;
  }

  /** Number to send the request under. */
  add(context: number): number {
    const number = this.#next++;
    this.#waiting.set(number, { context, ticks: 0 });
    return number;
  }

  /** The asker's context, or undefined if nothing waits under this number (any more). */
  take(number: number): number | undefined {
    const read = this.#waiting.get(number);
    this.#waiting.delete(number);
    return read?.context;
  }

  /** Contexts that have now waited for `ticksMax` ticks: request or answer was lost. */
  tick(ticksMax: number): number[] {
    const late: number[] = [];
    for (const [number, read] of this.#waiting) {
      read.ticks++;
      if (read.ticks < ticksMax) continue;
      late.push(read.context);
      this.#waiting.delete(number);
    }
    return late;
  }

  takeAll(): number[] {
    const all = [...this.#waiting.values()].map((read) => read.context);
    this.#waiting.clear();
    return all;
  }
}
