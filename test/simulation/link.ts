// The link between a node's threads, and the cell that they share. Messages take a while and keep their order; a
// publication is visible at once, as in shared memory.
import type { Prng } from '../../src/base/prng.ts';
import type { LeaseCellReader, LeaseCellWriter } from '../../src/ports/lease-cell.ts';
import type { ConsensusLink, ConsensusMessage, EngineLink, EngineMessage } from '../../src/ports/link.ts';
import type { SimThread } from './clock.ts';
import type { Scheduler } from './scheduler.ts';

class OneWay<M> {
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #to: SimThread;
  #lastArrivalMs = 0;
  #handler: ((message: M) => void) | undefined;
  /** As a MessagePort that nobody listens to yet. */
  #held: M[] = [];

  constructor(scheduler: Scheduler, prng: Prng, to: SimThread) {
    this.#scheduler = scheduler;
    this.#prng = prng;
    this.#to = to;
  }

  send(message: M): void {
    const prng = this.#prng;
    const delayMs = prng.chance(0.03) ? prng.unit() * 20 : prng.unit() * 0.2;
    const arrivalMs = Math.max(this.#lastArrivalMs, this.#scheduler.nowMs + delayMs);
    this.#lastArrivalMs = arrivalMs;
    this.#to.post(arrivalMs - this.#scheduler.nowMs, () => this.#arrive(message));
  }

  listen(handler: (message: M) => void): void {
    this.#handler = handler;
    for (const message of this.#held.splice(0)) this.#to.post(0, () => handler(message));
  }

  #arrive(message: M): void {
    if (this.#handler === undefined) this.#held.push(message);
    else this.#handler(message);
  }
}

export class SimLink {
  readonly engine: EngineLink;
  readonly consensus: ConsensusLink;

  constructor(scheduler: Scheduler, prng: Prng, engine: SimThread, consensus: SimThread) {
    const toConsensus = new OneWay<EngineMessage>(scheduler, prng, consensus);
    const toEngine = new OneWay<ConsensusMessage>(scheduler, prng, engine);
    this.engine = {
      send: (message) => toConsensus.send(message),
      onMessage: (handler) => toEngine.listen(handler),
      poll: () => undefined,
    };
    this.consensus = {
      send: (message) => toEngine.send(message),
      onMessage: (handler) => toConsensus.listen(handler),
    };
  }
}

export interface Publication {
  readonly leaseUntilMs: number;
  readonly term: number;
  readonly commit: number;
  readonly leaderId: number;
  readonly selfIsLeader: boolean;
}

export class SimCell implements LeaseCellWriter {
  current: Publication = { leaseUntilMs: 0, term: 0, commit: 0, leaderId: 0, selfIsLeader: false };
  readonly #onPublish: (publication: Publication) => void;

  constructor(onPublish: (publication: Publication) => void) {
    this.#onPublish = onPublish;
  }

  publish(leaseUntilMs: number, term: number, commit: number, leaderId: number, selfIsLeader: boolean): void {
    this.current = { leaseUntilMs, term, commit, leaderId, selfIsLeader };
    this.#onPublish(this.current);
  }

  reader(): LeaseCellReader {
    let seen = this.current;
    return {
      load: () => {
        seen = this.current;
      },
      get leaseUntilMs() {
        return seen.leaseUntilMs;
      },
      get term() {
        return seen.term;
      },
      get commit() {
        return seen.commit;
      },
      get leaderId() {
        return seen.leaderId;
      },
      get selfIsLeader() {
        return seen.selfIsLeader;
      },
    };
  }
}
