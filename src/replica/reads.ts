// When a read may be served. Owns the tickets of reads that wait and the read-index rounds that answer them.
//
// What must hold (docs/consistency.md):
// - A linearizable ticket's index is at least the commit index of the cluster at the moment that the ticket was taken:
//   by the lease where this node holds it, else by a read-index round that began after the ticket was taken.
// - A ticket is served exactly once, when applied ≥ its index, or failed.
import type { Clock } from '../ports/clock.ts';
import type { EngineLink } from '../ports/link.ts';
import type { LeaseCellReader } from '../ports/lease-cell.ts';
import type { ReadConsistency } from '../commands/ports.ts';
import type { LogClock } from './log-clock.ts';

/** A read's right to be served once `index` is applied. `index` is −1 while a round is under way. */
export interface ReadTicket {
  index: number;
  /** Log time at which the read judges expiry, ms; the machine's own where that is later. */
  timeMs: number;
  readonly deadlineMs: number;
  readonly ready: (error: string | undefined) => void;
}

export interface ReadsState {
  readonly appliedIndex: number;
  readonly bootstrapped: boolean;
  readonly machineTimeMs: number;
}

const READ_RETRY_MS = 20;

export class Reads {
  readonly #cell: LeaseCellReader;
  readonly #link: EngineLink;
  readonly #clock: Clock;
  readonly #logClock: LogClock;
  readonly #state: ReadsState;
  readonly #timeoutMs: number;
  readonly #useLease: boolean;
  /** Tickets whose index is known and not yet applied. */
  #waiting: ReadTicket[] = [];
  /** Tickets that the round under way answers, and those that came after it began. */
  #inRound: ReadTicket[] = [];
  #nextRound: ReadTicket[] = [];
  #round = 0;
  #retryScheduled = false;
  /** What a finished round has proved: the state at `confirmedIndex` was current at `confirmedAtMs` (monotonic) or later. */
  #confirmedIndex = -1;
  #confirmedAtMs = -Infinity;
  #roundStartedMs = 0;
  /** Log time for the read that `admit` just allowed. */
  timeMs = 0;
  failureText: string;

  constructor(options: {
    cell: LeaseCellReader;
    link: EngineLink;
    clock: Clock;
    logClock: LogClock;
    state: ReadsState;
    timeoutMs: number;
    useLease: boolean;
    failureText: string;
  }) {
    this.#cell = options.cell;
    this.#link = options.link;
    this.#clock = options.clock;
    this.#logClock = options.logClock;
    this.#state = options.state;
    this.#timeoutMs = options.timeoutMs;
    this.#useLease = options.useLease;
    this.failureText = options.failureText;
  }

  /** True if a read at this level may be served from the state as it is now; sets `timeMs`. Allocates nothing. */
  admit(level: ReadConsistency): boolean {
    const state = this.#state;
    if (!state.bootstrapped) return false;
    switch (level.kind) {
      case 'linearizable': {
        if (!this.#useLease) return false;
        const cell = this.#cell;
        cell.load();
        if (!cell.selfIsLeader || this.#clock.monotonicMs() >= cell.leaseUntilMs || state.appliedIndex < cell.commit) {
          return false;
        }
        this.timeMs = this.#logClock.nowMs();
        return true;
      }
      case 'eventual':
        this.timeMs = state.machineTimeMs;
        return true;
      case 'causal':
        if (state.appliedIndex < level.index) return false;
        this.timeMs = state.machineTimeMs;
        return true;
      case 'bounded':
        if (
          this.#clock.monotonicMs() - this.#confirmedAtMs > level.stalenessMs ||
          state.appliedIndex < this.#confirmedIndex
        ) {
          return this.admit({ kind: 'linearizable' });
        }
        this.timeMs = state.machineTimeMs;
        return true;
    }
  }

  /** Takes a ticket for a read that cannot be served now. `ready` is called later, never from inside this call. */
  take(level: ReadConsistency, ready: (error: string | undefined) => void): ReadTicket {
    const now = this.#clock.monotonicMs();
    const ticket: ReadTicket = { index: -1, timeMs: 0, deadlineMs: now + this.#timeoutMs, ready };
    if (level.kind === 'causal') {
      ticket.index = level.index;
    } else if (level.kind === 'eventual') {
      ticket.index = 0;
    } else if (this.#useLease) {
      const cell = this.#cell;
      cell.load();
      if (cell.selfIsLeader && now < cell.leaseUntilMs) {
        ticket.index = cell.commit;
        ticket.timeMs = this.#logClock.nowMs();
      }
    }
    if (ticket.index >= 0) {
      this.#waiting.push(ticket);
    } else {
      this.#nextRound.push(ticket);
      this.#startRound();
    }
    return ticket;
  }

  /** True if this ticket may be served now. For tickets that stand behind something else of their connection. */
  mayServe(ticket: ReadTicket): boolean {
    return ticket.index >= 0 && this.#state.bootstrapped && this.#state.appliedIndex >= ticket.index;
  }

  #startRound(): void {
    if (this.#round !== 0 || this.#nextRound.length === 0 || this.#retryScheduled) return;
    this.#inRound = this.#nextRound;
    this.#nextRound = [];
    this.#round = this.#nextId++;
    this.#roundStartedMs = this.#clock.monotonicMs();
    this.#link.send({ type: 'read-index', id: this.#round });
  }

  #nextId = 1;

  onReadState(id: number, index: number, timeMs: number): void {
    if (id !== this.#round) return;
    this.#round = 0;
    this.#confirmedIndex = index;
    this.#confirmedAtMs = this.#roundStartedMs;
    for (const ticket of this.#inRound) {
      ticket.index = index;
      ticket.timeMs = timeMs;
      this.#waiting.push(ticket);
    }
    this.#inRound = [];
    this.#startRound();
    this.onApplied();
  }

  onReadFailed(id: number): void {
    if (id !== this.#round) return;
    this.#round = 0;
    this.#nextRound = [...this.#inRound, ...this.#nextRound];
    this.#inRound = [];
    this.#retryScheduled = true;
    this.#clock.after(READ_RETRY_MS, () => {
      this.#retryScheduled = false;
      this.#startRound();
    });
  }

  /** Serves the tickets whose index is now applied. Called after every entry, so that no read sees more than its place in its pipeline allows. */
  onApplied(): void {
    if (this.#waiting.length === 0 || !this.#state.bootstrapped) return;
    const applied = this.#state.appliedIndex;
    const due: ReadTicket[] = [];
    const rest: ReadTicket[] = [];
    for (const ticket of this.#waiting) (ticket.index <= applied ? due : rest).push(ticket);
    if (due.length === 0) return;
    this.#waiting = rest;
    for (const ticket of due) ticket.ready(undefined);
  }

  /** Fails the tickets whose time is up. A round that got no answer at all is given up with them. */
  expire(): void {
    const now = this.#clock.monotonicMs();
    if (this.#round !== 0 && now - this.#roundStartedMs > this.#timeoutMs / 4) this.onReadFailed(this.#round);
    this.#waiting = this.#failLate(this.#waiting, now);
    this.#inRound = this.#failLate(this.#inRound, now);
    this.#nextRound = this.#failLate(this.#nextRound, now);
  }

  #failLate(tickets: ReadTicket[], now: number): ReadTicket[] {
    if (!tickets.some((ticket) => ticket.deadlineMs <= now)) return tickets;
    const late = tickets.filter((ticket) => ticket.deadlineMs <= now);
    const rest = tickets.filter((ticket) => ticket.deadlineMs > now);
    for (const ticket of late) ticket.ready(this.failureText);
    return rest;
  }
}
