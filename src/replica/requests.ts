// What the engine asks consensus now and then, and waits for: status, and handing leadership over. Owns the callbacks.
import type { ConsensusMessage, EngineLink } from '../ports/link.ts';

export type ConsensusStatus = Extract<ConsensusMessage, { type: 'status' }>;

export class Requests {
  readonly #link: EngineLink;
  readonly #status = new Map<number, (status: ConsensusStatus) => void>();
  readonly #transfers = new Map<number, (error: string | undefined) => void>();
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
    this.#transfers.set(id, done);
    this.#link.send({ type: 'transfer', id, target });
  }

  onStatus(status: ConsensusStatus): void {
    const done = this.#status.get(status.id);
    this.#status.delete(status.id);
    done?.(status);
  }

  onTransferred(id: number, error: string | undefined): void {
    const done = this.#transfers.get(id);
    this.#transfers.delete(id);
    done?.(error);
  }
}
