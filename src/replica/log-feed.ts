// The committed log for observers (the snapshotter), served beside everything else that consensus does. Owns the fetches that
// wait, and nothing of the log.
//
// What must hold:
// - An observer gets committed entries only, at most FEED_ANSWER_BYTES_MAX an answer unless one entry alone is larger.
// - One answer is read at a time, whoever asks, and the reads of all observers together take a share of this thread that is
//   fixed (FEED_SHARE). Nothing of Raft ever waits for an observer.
// - Entries are an observer's until it asks again, which it cannot before the kernel has all of its answer.
// - What an observer that does not read costs is its one answer; its connection is the transport's to end.
import { errorText } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { ConsensusLink } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { PieceAnswer } from '../ports/snapshot-pieces.ts';
import type { ObserverTransport } from '../ports/observers.ts';
import type { Entry } from '../raft/types.ts';
import type { Loan } from './cached-log.ts';
import { PieceServer } from './piece-server.ts';

export const FEED_ANSWER_BYTES_MAX = 1 * MiB;
/** Of this thread's time, for all observers together. */
export const FEED_SHARE = 0.25;
/** After an answer that reached the end of what is committed the next entries gather for so long. */
export const FEED_GATHER_MS = 20;
/** A fetch that finds nothing is answered after this, so that the observer knows how this node stands. */
export const FEED_WAIT_MS = 1000;

/** The part of the log that this reads. */
export interface FeedLog {
  readonly firstIndex: number;
  lend(from: number, to: number, bytesMax: number): Loan;
}

export interface LogFeedOptions {
  readonly log: FeedLog;
  readonly observers: ObserverTransport;
  /** To the engine, which has the other thing that observers ask for: pieces of snapshots. */
  readonly link: ConsensusLink;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly commit: () => number;
  readonly leadership: () => { readonly leads: boolean; readonly hasLeader: boolean };
  /** Nothing is read or sent any more. */
  readonly isHalted: () => boolean;
}

interface Fetch {
  readonly from: number;
  readonly askedMs: number;
  readonly notBeforeMs: number;
}

export class LogFeedServer {
  readonly #options: LogFeedOptions;
  readonly #pieces: PieceServer;
  /** The fetches not answered yet; who was answered longest ago comes first. */
  readonly #fetches = new Map<number, Fetch>();
  /** What each observer was answered last, unless it has asked again since. */
  readonly #loans = new Map<number, Loan>();
  /** When each observer's next answer may be, if its last reached the end. */
  readonly #notBeforeMs = new Map<number, number>();
  /** The least commit index that has an answer for a fetch that had none when it was looked at. */
  #awaitedIndex = Infinity;
  #restUntilMs = 0;
  #timer: Timer | undefined;
  #timerAtMs = Infinity;

  constructor(options: LogFeedOptions) {
    this.#options = options;
    this.#pieces = new PieceServer(options);
  }

  /** Before the transport starts. */
  start(): void {
    this.#options.observers.observe({
      admit: () => (this.#options.isHalted() ? 'this node is stopping' : undefined),
      fetch: (observer, from) => {
        this.#endLoan(observer);
        this.#fetches.set(observer, { from, askedMs: this.#now(), notBeforeMs: this.#notBeforeMs.get(observer) ?? 0 });
        this.#schedule();
      },
      piece: (observer, request) => {
        this.#endLoan(observer);
        this.#pieces.ask(observer, request);
      },
      gone: (observer) => {
        this.#pieces.gone(observer);
        this.#fetches.delete(observer);
        this.#notBeforeMs.delete(observer);
        // It does not end: nobody knows what became of the answer.
        this.#loans.delete(observer);
      },
    });
  }

  /** The engine's answer to a request for a piece of a snapshot. */
  pieceRead(observer: number, answer: PieceAnswer): void {
    this.#pieces.answered(observer, answer);
  }

  /** Called whenever the commit index may have risen: often, so it does nothing most of the time. */
  committed(): void {
    if (this.#options.commit() >= this.#awaitedIndex) this.#schedule();
  }

  #endLoan(observer: number): void {
    this.#loans.get(observer)?.end();
    this.#loans.delete(observer);
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  /** Sets the timer for the fetch that is due first. */
  #schedule(): void {
    const commit = this.#options.commit();
    let dueMs = Infinity;
    this.#awaitedIndex = Infinity;
    for (const fetch of this.#fetches.values()) {
      dueMs = Math.min(dueMs, this.#dueMs(fetch, commit));
      if (fetch.from > commit) this.#awaitedIndex = Math.min(this.#awaitedIndex, fetch.from);
    }
    dueMs = Math.max(dueMs, this.#restUntilMs);
    if (dueMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = dueMs;
    this.#timer = this.#options.clock.after(Math.max(0, dueMs - this.#now()), () => {
      this.#timerAtMs = Infinity;
      this.#answerOne();
    });
  }

  #dueMs({ from, askedMs, notBeforeMs }: Fetch, commit: number): number {
    if (from < this.#options.log.firstIndex) return askedMs;
    return from <= commit ? Math.max(askedMs, notBeforeMs) : askedMs + FEED_WAIT_MS;
  }

  #answerOne(): void {
    if (this.#options.isHalted()) return;
    const startedMs = this.#now();
    // A fetch that comes while one is answered sets no timer yet.
    this.#restUntilMs = Infinity;
    const commit = this.#options.commit();
    for (const [observer, fetch] of this.#fetches) {
      if (this.#dueMs(fetch, commit) > startedMs) continue;
      this.#fetches.delete(observer);
      this.#answer(observer, fetch, commit);
      break;
    }
    const endedMs = this.#now();
    this.#restUntilMs = endedMs + (endedMs - startedMs) * (1 / FEED_SHARE - 1);
    this.#schedule();
  }

  #answer(observer: number, { from }: Fetch, commit: number): void {
    const { log, observers, logger } = this.#options;
    let entries: readonly Entry[] = [];
    if (from >= log.firstIndex && from <= commit) {
      try {
        const loan = log.lend(from, commit, FEED_ANSWER_BYTES_MAX);
        this.#loans.set(observer, loan);
        entries = loan.entries;
      } catch (thrown) {
        // Damage on disk is the log's own affair, and shows there; an observer is no reason to end.
        logger.warn({ from, error: errorText(thrown) }, 'the log cannot be read for an observer; it is sent away');
        observers.dropObserver(observer, 'the log cannot be read here');
        return;
      }
    }
    const last = entries.at(-1)?.index ?? from - 1;
    if (last >= commit) this.#notBeforeMs.set(observer, this.#now() + FEED_GATHER_MS);
    else this.#notBeforeMs.delete(observer);
    observers.answer(observer, {
      entries: entries.map((entry) => entry.bytes),
      firstIndex: log.firstIndex,
      commitIndex: commit,
      ...this.#options.leadership(),
    });
  }
}
