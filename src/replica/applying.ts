// How much is applied in one turn of the event loop. A message may bring a megabyte of entries, and code that is cold, a garbage
// collection or a busy machine make the same records cost fifty times as much; clients of other connections would wait for all of
// it. So apply stops between two records once a turn has had its share, and goes on in the next. Owns what consensus has said and
// is not dealt with yet.
//
// What must hold:
// - All that consensus says is dealt with in the order in which it came, apply included: to everybody else this node is no more
//   than a little slower. Pace decides when a record is applied, never what it does.
// - Between turns an entry may be open: some of its records are applied, and appliedIndex does not count it. Whoever may see the
//   state then (reads at the levels that ask for no index, INFO, maintenance) sees the log up to a record; `Machine.seenIndex`
//   says so.
import { KiB } from '../base/limits.ts';
import type { ApplySink, Machine } from '../machine/machine.ts';
import type { Clock } from '../ports/clock.ts';
import type { CommittedEntry, ConsensusMessage } from '../ports/link.ts';

/** Asked again and again while records are applied. */
export interface ApplyPace {
  /** Records of so many bytes are applied between two looks at the clock, at most. */
  readonly stepBytes: number;
  /** True if apply, which has had `spentMs` of this turn, should leave the rest to the next. */
  isOver(spentMs: number): boolean;
}

/** A turn's share may be had twice between two looks at the sockets: once by what they brought, once at the end of the turn. */
const TURN_MS = 3;
/** A dozen records: looking at the clock after each costs 5 % of the time that a warm SET takes. */
const STEP_BYTES = 2 * KiB;
/** After a step that took longer only one record is applied before the next look: its code is cold, or it is a large one. */
const STEP_MS_MAX = 0.25;

const NODE_PACE: ApplyPace = { stepBytes: STEP_BYTES, isOver: (spentMs) => spentMs >= TURN_MS };

export type OtherMessage = Exclude<ConsensusMessage, { type: 'committed' }>;

/** The engine, which knows what an entry means. */
export interface ApplyHost extends ApplySink {
  heard(message: OtherMessage): void;
  /** These are about to be applied, one by one. */
  beginEntries(entries: readonly CommittedEntry[]): void;
  /** Returns the entry's bytes. */
  beginEntry(committed: CommittedEntry): Uint8Array;
  endEntry(committed: CommittedEntry): void;
  endEntries(): void;
  /** The rest comes in the next turn: what is written may leave. */
  paused(): void;
  /** Nothing is left from an earlier turn. */
  resumed(): void;
}

export class Applying {
  readonly #machine: Machine;
  readonly #clock: Clock;
  readonly #host: ApplyHost;
  readonly #pace: ApplyPace;
  /** Of the message under way, and how many of its entries are done. */
  #entries: readonly CommittedEntry[] | undefined;
  #done = 0;
  /** Came behind it. */
  readonly #waiting: ConsensusMessage[] = [];
  #isRunning = false;
  /** Until the next turn nothing is applied. */
  #isPaused = false;
  /** What earlier runs have had of this turn, and since when this one runs. */
  #spentMs = 0;
  #sinceMs = 0;
  #lookedMs = 0;
  #stepBytes = 1;
  #turnEnds = false;

  constructor(machine: Machine, clock: Clock, host: ApplyHost, pace: ApplyPace = NODE_PACE) {
    this.#machine = machine;
    this.#clock = clock;
    this.#host = host;
    this.#pace = pace;
  }

  /** This turn has had its share: what comes is for the next. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  told(message: ConsensusMessage): void {
    if (this.#isRunning || this.#isPaused) this.#waiting.push(message);
    else if (message.type === 'committed') {
      this.#begin(message.entries);
      this.#run();
    } else this.#host.heard(message);
  }

  #begin(entries: readonly CommittedEntry[]): void {
    this.#entries = entries;
    this.#done = 0;
    this.#host.beginEntries(entries);
  }

  #run(): void {
    this.#isPaused = false;
    this.#isRunning = true;
    this.#sinceMs = this.#clock.monotonicMs();
    this.#lookedMs = this.#sinceMs;
    const isDone = this.#proceed();
    this.#isRunning = false;
    this.#spentMs += this.#clock.monotonicMs() - this.#sinceMs;
    if (!isDone) this.#host.paused();
    this.#isPaused = !isDone || this.#pace.isOver(this.#spentMs);
    if (this.#turnEnds) return;
    this.#turnEnds = true;
    this.#clock.endOfTurn(this.#turnEnded);
  }

  readonly #turnEnded = (): void => {
    this.#turnEnds = false;
    this.#spentMs = 0;
    if (!this.#isPaused) return;
    if (this.#entries !== undefined || this.#waiting.length > 0) this.#run();
    else this.#isPaused = false;
    if (!this.#isPaused) this.#host.resumed();
  };

  /** Deals with all that has come, but at least with one record or message; false if the turn is over before. */
  #proceed(): boolean {
    for (;;) {
      if (this.#entries !== undefined) {
        if (!this.#apply(this.#entries)) return false;
        this.#entries = undefined;
        this.#host.endEntries();
      } else {
        const message = this.#waiting.shift();
        if (message === undefined) return true;
        if (message.type === 'committed') {
          this.#begin(message.entries);
          continue;
        }
        this.#host.heard(message);
      }
      if (this.#waiting.length > 0 && this.#isOver) return false;
    }
  }

  #apply(entries: readonly CommittedEntry[]): boolean {
    const machine = this.#machine;
    while (this.#done < entries.length) {
      const committed = entries[this.#done]!;
      if (!machine.isOpen) machine.begin(this.#host.beginEntry(committed), committed.index, committed.term, committed.timeMs);
      while (!machine.proceed(this.#host, this.#stepBytes)) if (this.#isOver) return false;
      this.#done++;
      this.#host.endEntry(committed);
      if (this.#done < entries.length && this.#isOver) return false;
    }
    return true;
  }

  get #isOver(): boolean {
    const nowMs = this.#clock.monotonicMs();
    this.#stepBytes = nowMs - this.#lookedMs > STEP_MS_MAX ? 1 : Math.min(2 * this.#stepBytes, this.#pace.stepBytes);
    this.#lookedMs = nowMs;
    return this.#pace.isOver(this.#spentMs + nowMs - this.#sinceMs);
  }
}
