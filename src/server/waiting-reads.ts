// The reads of one connection that cannot run at once: they wait for a ticket, for the writes before them, or for the
// deletion of expired keys. Owns the count of reads whose place in the log is not known yet (`unresolved`): while there is
// one, the connection sends no write, so that none is applied before a read that stands in front of it.
import type { ReadConsistency } from '../commands/ports.ts';
import type { Engine } from '../replica/engine.ts';
import type { ReadTicket } from '../replica/reads.ts';
import type { Reply } from '../resp/reply.ts';
import type { ReplyOrder } from './reply-order.ts';

/** A ticket, or why it will never be good. */
export interface Ticket {
  readonly ticket: ReadTicket;
  error: string | undefined;
}

export interface WaitingReadsHost {
  readonly engine: Engine;
  /** Has the expired keys that the last read met deleted through the log. */
  deleteExpired(done: (error: string | undefined) => void): void;
  writerFor(silent: boolean): Reply;
  /** A read has been served from the state as it is. */
  sawState(): void;
  /** Something was answered, or may be now. */
  progressed(): void;
}

export class WaitingReads {
  readonly #host: WaitingReadsHost;
  readonly #order: ReplyOrder;
  #unresolved = 0;
  /** The time by which admitted reads are judged; -1 until one is admitted. */
  admittedMs = -1;

  constructor(host: WaitingReadsHost, order: ReplyOrder) {
    this.#host = host;
    this.#order = order;
  }

  get unresolved(): boolean {
    return this.#unresolved > 0;
  }

  /** A new run over the connection's input begins, or something in it may have changed what reads may see. */
  look(): void {
    this.admittedMs = -1;
  }

  /** True if a read may be served at once. One look at lease and commit covers all that had come by then: nothing is applied during a run. */
  admit(level: ReadConsistency): boolean {
    if (this.admittedMs >= 0) return true;
    const { reads } = this.#host.engine;
    if (!reads.admit(level)) return false;
    this.admittedMs = reads.timeMs;
    return true;
  }

  /** A ticket that counts as unresolved until its index is known. */
  take(level: ReadConsistency): Ticket {
    const { reads } = this.#host.engine;
    const state = { ticket: undefined as unknown as ReadTicket, error: undefined as string | undefined };
    state.ticket = reads.take(level, (error) => {
      if (unresolved) this.#unresolved--;
      state.error = error;
      this.#order.advance();
      this.#host.progressed();
    });
    // The index of a causal read is the client's word: it may be beyond the log.
    const unresolved = state.ticket.index < 0 || (level.kind === 'causal' && !reads.mayServe(state.ticket));
    if (unresolved) this.#unresolved++;
    return state;
  }

  /**
   * Queues `attempt` for when its ticket is good, or, given the time at which it was judged, for when the expired keys that
   * it met are deleted. It returns true if it met (more of) those: then it is tried again once they are gone, judged at the
   * same time. With writes behind it on their way it cannot wait for that, or they would be answered and seen before it:
   * then it is judged at the time of the log, by which nothing is expired that is not gone.
   */
  run(waiting: Ticket | number, silent: boolean, attempt: (reply: Reply, timeMs: number) => boolean): void {
    const host = this.#host;
    const order = this.#order;
    const after = order.sent;
    const judged = typeof waiting === 'number';
    let deleting = false;
    let failure: string | undefined;
    const giveUp = (error: string): void => host.writerFor(silent).error(error);
    const waitForDeletion = (): void => {
      deleting = true;
      this.#unresolved++;
      host.deleteExpired((error) => {
        this.#unresolved--;
        deleting = false;
        failure = error;
        order.advance();
        host.progressed();
      });
    };
    if (judged) waitForDeletion();
    const run = (): boolean => {
      if (deleting) return false;
      const error = failure ?? (judged ? undefined : waiting.error);
      if (error !== undefined) {
        giveUp(error);
        return true;
      }
      const { reads, machine } = host.engine;
      if (!judged && !reads.mayServe(waiting.ticket)) return false;
      const timeMs = order.sent > after ? machine.timeMs : judged ? waiting : waiting.ticket.timeMs;
      if (attempt(host.writerFor(silent), timeMs)) {
        waitForDeletion();
        return false;
      }
      host.sawState();
      return true;
    };
    order.wait({ after, run, giveUp });
  }
}
