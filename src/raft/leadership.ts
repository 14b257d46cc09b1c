// What a node holds only while it leads. Made anew for each term it wins and dropped when it steps down, so that no
// acknowledgement, round, lease or waiting read of one term can reach into another.
import { Progress } from './progress.ts';
import type { ProgressLimits } from './progress.ts';
import { LeaderReads } from './read-only.ts';
import type { NodeId } from './types.ts';

/** Rounds whose send time is kept. An answer to an older round confirms reads but renews no lease. */
const ROUND_TIMES_KEPT = 1024;

export class RoundTimes {
  readonly #rounds = new Float64Array(ROUND_TIMES_KEPT);
  readonly #sentMs = new Float64Array(ROUND_TIMES_KEPT);

  set(round: number, sentMs: number): void {
    this.#rounds[round % ROUND_TIMES_KEPT] = round;
    this.#sentMs[round % ROUND_TIMES_KEPT] = sentMs;
  }

  /** −Infinity when the round is forgotten. */
  sentMs(round: number): number {
    return this.#rounds[round % ROUND_TIMES_KEPT] === round ? this.#sentMs[round % ROUND_TIMES_KEPT]! : -Infinity;
  }
}

/** Bytes of this term's entries that are not committed. */
export class UncommittedBytes {
  #sizes: { readonly index: number; readonly bytes: number }[] = [];
  #head = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(index: number, bytes: number): void {
    this.#sizes.push({ index, bytes });
    this.#bytes += bytes;
  }

  committed(index: number): void {
    let size = this.#sizes[this.#head];
    while (size !== undefined && size.index <= index) {
      this.#bytes -= size.bytes;
      this.#head++;
      size = this.#sizes[this.#head];
    }
    if (this.#head > 1024 && this.#head * 2 > this.#sizes.length) {
      this.#sizes = this.#sizes.slice(this.#head);
      this.#head = 0;
    }
  }
}

export class Leadership {
  /** The no-op that opened the term: once it is committed, the leader knows everything that was committed before it. */
  readonly noopIndex: number;
  /** The other members. */
  readonly progress = new Map<NodeId, Progress>();
  readonly reads = new LeaderReads();
  readonly uncommitted = new UncommittedBytes();
  readonly roundTimes = new RoundTimes();
  /** Number of the newest heartbeat round, and when it started; rounds of a term count from 1. */
  round = 0;
  roundSentMs = -Infinity;
  /** Newest round that a tick started. */
  tickRound = 0;
  /** Who is to take over; 0 for nobody. While set, proposals are refused. */
  transferee: NodeId = 0;
  transferTicks = 0;
  /** Somebody may campaign with our consent, so followers' promises are void: no lease for the rest of the term. Never unset. */
  timeoutNowSent = false;
  /** Some follower could commit more than it was told, and the driver is to say when it is (RaftConfig.holdsCommit). */
  commitHeld = false;
  #epoch = 0;

  constructor(noopIndex: number, others: readonly NodeId[], limits: ProgressLimits) {
    this.noopIndex = noopIndex;
    for (const id of others) this.progress.set(id, new Progress(noopIndex, limits));
  }

  /** The members are now these: those that are new are sent the log from `next` on. */
  follow(others: readonly NodeId[], next: number, limits: ProgressLimits): void {
    for (const id of this.progress.keys()) if (!others.includes(id)) this.progress.delete(id);
    for (const id of others) {
      if (this.progress.has(id)) continue;
      const progress = new Progress(next, limits);
      progress.reset(next, this.nextEpoch(), this.round);
      this.progress.set(id, progress);
    }
    if (!this.progress.has(this.transferee)) this.transferee = 0;
  }

  nextEpoch(): number {
    return ++this.#epoch;
  }
}
