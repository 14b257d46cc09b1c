// Handing leadership over: for the operator, and for a graceful stop. Owns nothing; watches the Raft core until it is done.
import type { Clock } from '../ports/clock.ts';
import type { RaftNode } from '../raft/raft.ts';

/** How often the core is looked at while leadership moves, ms. */
const POLL_MS = 5;

export interface HandoverOptions {
  readonly id: number;
  readonly raft: RaftNode;
  readonly clock: Clock;
  /** How long a handover may take, ms. */
  readonly timeoutMs: number;
  readonly isConnected: (node: number) => boolean;
  readonly isHalted: () => boolean;
}

export class Handover {
  readonly #options: HandoverOptions;

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /** The connected peer that has most of the log, or 0. */
  bestTarget(): number {
    const { raft, id, isConnected } = this.#options;
    const peers = raft.status().peers.filter((peer) => peer.voter && isConnected(peer.id) && !peer.muted && peer.id !== id);
    peers.sort((a, b) => b.match - a.match);
    return peers[0]?.id ?? 0;
  }

  /** Hands leadership to `wanted`, or to the best target where that is 0; `done` hears why it did not come about. */
  transfer(wanted: number, done: (error: string | undefined) => void): void {
    const { raft } = this.#options;
    const target = wanted === 0 ? this.bestTarget() : wanted;
    const { role, term } = raft.status();
    if (role !== 'leader') {
      done('this node is not the leader');
    } else if (target === 0) {
      done('no other member is connected');
    } else if (!raft.transferLeadership(target)) {
      done('that member cannot take over: it leads already, does not vote, or is being replaced');
    } else {
      this.#await(
        () => raft.status().term > term || raft.status().role !== 'leader',
        (moved) => done(moved ? undefined : 'the target did not take over in time'),
      );
    }
  }

  #await(condition: () => boolean, then: (met: boolean) => void): void {
    const { clock, timeoutMs, isHalted } = this.#options;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    const check = (): void => {
      if (isHalted()) return;
      if (condition()) then(true);
      else if (clock.monotonicMs() >= deadlineMs) then(false);
      else clock.after(POLL_MS, check);
    };
    check();
  }
}
