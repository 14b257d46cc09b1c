// The engine's requests for a read index, on their way through the Raft core. What must hold: each is answered at most once.
import type { ConsensusLink } from '../ports/link.ts';
import type { RaftNode } from '../raft/raft.ts';

export class ReadRequests {
  readonly #raft: RaftNode;
  readonly #link: ConsensusLink;
  readonly #logTimeMs: () => number;
  /** The core's contexts → the engine's numbers. */
  readonly #waiting = new Map<number, number>();
  #next = 1;

  /** `logTimeMs`: the time to judge expiry by where this node leads. */
  constructor(raft: RaftNode, link: ConsensusLink, logTimeMs: () => number) {
    this.#raft = raft;
    this.#link = link;
    this.#logTimeMs = logTimeMs;
  }

  ask(id: number, nowMs: number): void {
    const context = this.#next++;
    this.#waiting.set(context, id);
    this.#raft.readIndex(context, nowMs);
  }

  /** `timeMs` is the leader's, 0 where this node is it. */
  answer(context: number, index: number, timeMs: number): void {
    const id = this.#take(context);
    if (id !== undefined) this.#link.send({ type: 'read-state', id, index, timeMs: timeMs === 0 ? this.#logTimeMs() : timeMs });
  }

  fail(context: number): void {
    const id = this.#take(context);
    if (id !== undefined) this.#link.send({ type: 'read-failed', id });
  }

  #take(context: number): number | undefined {
    const id = this.#waiting.get(context);
    this.#waiting.delete(context);
    return id;
  }
}
