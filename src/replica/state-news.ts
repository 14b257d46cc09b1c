// What the engine is told of who leads: each change once. What must hold: a leader that this node cannot reach is none to the
// engine, so what clients write then waits for one instead of being refused.
import type { ConsensusLink, RaftRole } from '../ports/link.ts';
import type { RaftNode } from '../raft/raft.ts';

export interface StateNewsOptions {
  readonly id: number;
  readonly raft: RaftNode;
  readonly link: ConsensusLink;
  readonly isConnected: (node: number) => boolean;
}

export class StateNews {
  readonly #options: StateNewsOptions;
  #told: { readonly role: RaftRole; readonly term: number; readonly leader: number } = { role: 'follower', term: 0, leader: 0 };

  constructor(options: StateNewsOptions) {
    this.#options = options;
  }

  /** After every change of role, term, leader or connections. */
  tell(): void {
    const { id, raft, link, isConnected } = this.#options;
    const { role, term, leader } = raft.status();
    const reachable = leader === id || isConnected(leader) ? leader : 0;
    const told = this.#told;
    if (told.role === role && told.term === term && told.leader === reachable) return;
    this.#told = { role, term, leader: reachable };
    link.send({ type: 'state', role, leader: reachable, term });
  }
}
