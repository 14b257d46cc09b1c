// What the engine asks consensus now and then, and waits for: status, handing leadership over, changing the members. Owns the
// callbacks.
import type { ConsensusMessage, EngineLink, MemberChange } from '../ports/link.ts';
import type { EngineHost } from './engine-options.ts';

export type ConsensusStatus = Extract<ConsensusMessage, { type: 'status' }>;

export class Requests {
  readonly #link: EngineLink;
  readonly #host: Pick<EngineHost, 'membersChanged'>;
  readonly #status = new Map<number, (status: ConsensusStatus) => void>();
  /** Of transfers and of changes. */
  readonly #ends = new Map<number, (error: string | undefined) => void>();
  #next = 1;

  constructor(link: EngineLink, host: Pick<EngineHost, 'membersChanged'>) {
    this.#link = link;
    this.#host = host;
  }

  status(done: (status: ConsensusStatus) => void): void {
    const id = this.#next++;
    this.#status.set(id, done);
    this.#link.send({ type: 'status', id });
  }

  /** The log on disk may have so many bytes from now on; 0: no limit. */
  limitLog(bytes: number): void {
    this.#link.send({ type: 'limit-log', bytes });
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

  told(message: Extract<ConsensusMessage, { type: 'status' | 'transferred' | 'members-changed' | 'members' }>): void {
    if (message.type === 'members') {
      this.#host.membersChanged(message.members);
    } else if (message.type === 'status') {
      const done = this.#status.get(message.id);
      this.#status.delete(message.id);
      done?.(message);
    } else {
      const done = this.#ends.get(message.id);
      this.#ends.delete(message.id);
      done?.(message.error);
    }
  }
}
