// What the engine asks consensus now and then, and waits for: status, handing leadership over, changing the members. Owns the
// callbacks.
import type { ConsensusMessage, EngineLink, MemberChange } from '../ports/link.ts';

export type ConsensusStatus = Extract<ConsensusMessage, { type: 'status' }>;

export class Requests {
  readonly #link: EngineLink;
  readonly #status = new Map<number, (status: ConsensusStatus) => void>();
  /** Of transfers and of changes. */
  readonly #ends = new Map<number, (error: string | undefined) => void>();
  #next = 1;

  constructor(link: EngineLink) {
    this.#link = link;
  }

  status(done: (status: ConsensusStatus) => void): void {
    const id = this.#next++;
    this.#status.set(id, done);
    this.#link.send({ type: 'status', id });
  }

  transfer(target: number, done: (error: string | undefined) => void): void {
    const id = this.#next++;
    this.#ends.set(id, done);
    this.#link.send({ type: 'transfer', id, target });
  }

  changeMembers(change: MemberChange, done: (error: string | undefined) => void): void {
    const id = this.#next++;
    this.#ends.set(id, done);
    this.#link.send({ type: 'change-members', id, change });
  }

  onStatus(status: ConsensusStatus): void {
    const done = this.#status.get(status.id);
    this.#status.delete(status.id);
    done?.(status);
  }

  onEnd(id: number, error: string | undefined): void {
    const done = this.#ends.get(id);
    this.#ends.delete(id);
    done?.(error);
  }
}
