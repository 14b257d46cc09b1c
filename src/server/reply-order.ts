// The order of one connection's replies. Owns the numbers of its writes and everything that waits for its turn.
//
// Writes are numbered 1, 2, 3… as they go to the log, and are answered in that order; so the writes under way are just
// the range (#answered, #sent]. Anything else that cannot run at once waits in #later behind the write that came before
// it. What must hold:
// - A reply is written only when all replies before it have been.
// - Each write is answered once: by apply, or by one error.
import { Errors } from '../commands/errors.ts';
import { fullSequence } from '../machine/record-codec.ts';
import { NullReply } from '../resp/null-reply.ts';
import type { Reply } from '../resp/reply.ts';
import type { ReplyWriter } from '../resp/reply-writer.ts';
import { PendingStats } from './pending-stats.ts';
import type { CommandStat } from './stats.ts';

/** Something that waits behind the write numbered `after`. */
export interface Later {
  readonly after: number;
  /** Runs it if it may run now; false leaves it first in the queue. */
  readonly run: () => boolean;
  /** Answers in its place with an error, where it can wait no longer. */
  readonly giveUp: (error: string) => void;
}

export interface ReplyOrderHost {
  readonly writer: ReplyWriter;
  readonly closing: boolean;
  monotonicMs(): number;
  /** Something was answered: there may be something to send, and what stalled may go on. */
  progressed(): void;
}

const nullReply = new NullReply();

export class ReplyOrder {
  readonly #host: ReplyOrderHost;
  /** Writes sent to the log, and writes answered. */
  #sent = 0;
  #answered = 0;
  /** Writes behind the first unanswered one that are known to have failed. */
  #failures: Map<number, string> | undefined;
  /** Writes whose replies the client does not want (CLIENT REPLY). */
  #silent: Set<number> | undefined;
  readonly #later: Later[] = [];
  readonly #pendingStats = new PendingStats();
  /** Of the write that is being applied: when it began, or -1 if it is not timed, and the error replies before it. */
  #applyStartMs = -1;
  #errorsBefore = 0;
  #advancing = false;

  constructor(host: ReplyOrderHost) {
    this.#host = host;
  }

  /** Nothing is under way: what comes next may be answered at once. */
  get idle(): boolean {
    return this.#answered === this.#sent && this.#later.length === 0;
  }

  /** Number of the last write sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Writes on their way to the log or through it. */
  get pendingWrites(): number {
    return this.#sent - this.#answered;
  }

  get laterCount(): number {
    return this.#later.length;
  }

  /** Numbers a write that goes to the log. It is counted in `stat` once it is answered. */
  next(stat: CommandStat | undefined, silent: boolean): number {
    const sequence = ++this.#sent;
    this.#pendingStats.push(stat);
    if (silent) (this.#silent ??= new Set()).add(sequence);
    return sequence;
  }

  /** Lets `later` wait for its turn. */
  wait(later: Later): void {
    this.#later.push(later);
  }

  /** Runs `action` now if nothing is pending, else after it. */
  whenIdle(action: () => void): void {
    if (this.idle) {
      action();
      return;
    }
    this.#later.push({
      after: this.#sent,
      run: () => {
        action();
        return true;
      },
      giveUp: action,
    });
  }

  /** The writer for the reply of write `sequence32`, which is being applied; undefined if it was answered already. */
  begin(sequence32: number): Reply | undefined {
    const sequence = fullSequence(this.#answered + 1, sequence32);
    if (sequence <= this.#answered) return undefined;
    this.#answerBefore(sequence);
    const stat = this.#pendingStats.of(sequence);
    this.#applyStartMs = stat?.timesNext === true ? this.#host.monotonicMs() : -1;
    this.#errorsBefore = this.#host.writer.errors;
    return this.#writerOf(sequence);
  }

  /** The reply of write `sequence32` is written. False if it was not its turn. */
  end(sequence32: number): boolean {
    const sequence = fullSequence(this.#answered + 1, sequence32);
    if (sequence !== this.#answered + 1) return false;
    const startMs = this.#applyStartMs;
    const failed = this.#host.writer.errors > this.#errorsBefore;
    this.#pendingStats.of(sequence)?.count(startMs < 0 ? -1 : this.#host.monotonicMs() - startMs, failed);
    this.#answerUpTo(sequence);
    if (this.#later.length > 0 || this.#failures !== undefined) this.advance();
    return true;
  }

  /** Write `sequence32` gets this error and no other answer; nothing happens if it has had one. */
  fail(sequence32: number, error: string): void {
    const sequence = fullSequence(this.#answered + 1, sequence32);
    if (sequence <= this.#answered) return;
    (this.#failures ??= new Map()).set(sequence, error);
    this.advance();
    this.#host.progressed();
  }

  /** Runs everything whose turn has come. */
  advance(): void {
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      while (!this.#host.closing) {
        const later = this.#later[0];
        if (later !== undefined && later.after <= this.#answered) {
          if (!later.run()) break;
          this.#remove(later);
          continue;
        }
        const error = this.#failures?.get(this.#answered + 1);
        if (error === undefined) break;
        this.#answerFailed(error);
      }
    } finally {
      this.#advancing = false;
    }
  }

  /** Answers everything that stands before write `sequence`, whose reply is about to be written. */
  #answerBefore(sequence: number): void {
    for (;;) {
      const later = this.#later[0];
      if (later !== undefined && later.after <= this.#answered) {
        // It has its index and what it waits for is applied, or this write had not been sent; to be safe, it is not waited for.
        if (!later.run()) later.giveUp(Errors.clusterDown);
        this.#remove(later);
      } else if (this.#answered + 1 < sequence) {
        // A forwarded batch before this one was lost on its way: its outcome is unknown.
        this.#answerFailed(this.#failures?.get(this.#answered + 1) ?? Errors.uncertain);
      } else {
        return;
      }
    }
  }

  #answerFailed(error: string): void {
    const sequence = this.#answered + 1;
    this.#failures?.delete(sequence);
    if (this.#failures?.size === 0) this.#failures = undefined;
    this.#pendingStats.of(sequence)?.count(-1, true);
    this.#writerOf(sequence).error(error);
    this.#answerUpTo(sequence);
  }

  #answerUpTo(sequence: number): void {
    this.#answered = sequence;
    this.#pendingStats.answered(sequence);
  }

  #writerOf(sequence: number): Reply {
    const silent = this.#silent?.delete(sequence) === true;
    return silent || this.#host.closing ? nullReply : this.#host.writer;
  }

  #remove(later: Later): void {
    const at = this.#later.indexOf(later);
    if (at >= 0) this.#later.splice(at, 1);
  }
}
