// Changes of the members, as the leader: what an operator asks for, one at a time, and the promotion of learners. Owns the
// request that waits for its change to be committed, and how far each learner has come.
//
// A learner votes as soon as it has caught up (Raft thesis 4.2.1): it has received, within one election timeout, everything
// that was in the log at the beginning of that time. So it lags no further than a follower may, and an entry that needs it
// waits no longer than for one.
import type { MemberAddress } from '../base/configuration.ts';
import type { Clock } from '../ports/clock.ts';
import type { MemberChange } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { RaftNode } from '../raft/raft.ts';
import type { ConfigurationChange, PeerStatus } from '../raft/types.ts';

/** More voters make each write wait for more disks, and the group no safer. */
export const MEMBERS_MAX = 9;

export interface ChangesOptions {
  readonly id: number;
  readonly raft: RaftNode;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly electionMs: number;
  /** Why no other node can reach this one, or undefined. */
  readonly unreachable: string | undefined;
  readonly isConnected: (node: number) => boolean;
  /** Its data directory is named in the log: an acknowledgement is of that one. */
  readonly isPinned: (node: number) => boolean;
  /** Answers the engine. */
  readonly done: (request: number, error: string | undefined) => void;
}

interface Pending {
  readonly request: number;
  readonly index: number;
  readonly term: number;
  readonly name: string;
}

interface Round {
  readonly targetIndex: number;
  readonly beganMs: number;
}

const UNCERTAIN = 'the leader changed while the change was under way: it may or may not come about; HOLDFAST MEMBERS shows who the members are';

export class MembershipChanges {
  readonly #options: ChangesOptions;
  #pending: Pending | undefined;
  readonly #rounds = new Map<number, Round>();

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  request(request: number, change: MemberChange): void {
    const { raft, clock, done } = this.#options;
    const wanted = change.kind === 'add' ? this.#adding(change) : this.#removing(change.name);
    if (typeof wanted === 'string') {
      done(request, wanted);
      return;
    }
    const result = raft.proposeChange(wanted, clock.monotonicMs());
    if (!result.ok) {
      done(request, result.reason === 'not-leader' ? 'this node is not the leader' : 'another change of members, or of the leader, is under way; try again when it is over');
      return;
    }
    this.#options.logger.warn({ change: change.kind, peer: change.name, index: result.index }, 'a change of members begins');
    this.#pending = { request, index: result.index, term: result.term, name: change.name };
  }

  /** What is wanted of Raft, or why not. */
  #adding({ name, host, peerPort, clientPort }: Extract<MemberChange, { kind: 'add' }>): ConfigurationChange | string {
    const { raft, unreachable } = this.#options;
    const { members, voters, learners, lastId } = raft.configuration;
    if (unreachable !== undefined) return unreachable;
    if (members.some((member) => member.name === name)) return `${name} is a member already`;
    const there = members.find((member) => member.host === host && member.peerPort === peerPort);
    if (there !== undefined) return `${host}:${peerPort} is the address of ${there.name}`;
    if (members.length >= MEMBERS_MAX) return `there are ${members.length} members, and no more than ${MEMBERS_MAX} are taken`;
    const [learner] = learners;
    if (learner !== undefined) return `${this.#name(learner)} still learns: wait until it votes, or remove it`;
    const added: MemberAddress = { id: lastId + 1, name, host, peerPort, clientPort };
    return { voters, learners: [added.id], added };
  }

  #removing(name: string): ConfigurationChange | string {
    const { raft, id } = this.#options;
    const { members, voters, learners } = raft.configuration;
    const member = members.find((one) => one.name === name);
    if (member === undefined) return `no member is named '${name}'; the members are ${members.map((one) => one.name).join(', ')}`;
    const without = (ids: readonly number[]): number[] => ids.filter((one) => one !== member.id);
    const change: ConfigurationChange = { voters: without(voters), learners: without(learners) };
    if (change.voters.length === 0) return `${name} is the only member that votes`;
    const { peers } = raft.status();
    const live = change.voters.filter((one) => one === id || peers.some((peer) => peer.id === one && this.#isLive(peer)));
    if (live.length * 2 <= change.voters.length && voters.includes(member.id)) {
      return `without ${name} there would be no majority: of the others only ${live.map((one) => this.#name(one)).join(', ') || 'none'} can be reached`;
    }
    return change;
  }

  #isLive(peer: PeerStatus): boolean {
    return this.#options.isConnected(peer.id) && !peer.muted && peer.state === 'replicate';
  }

  #name(id: number): string {
    return this.#options.raft.configuration.members.find((member) => member.id === id)?.name ?? String(id);
  }

  /** After everything that may have committed something or changed the role. */
  settle(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    const { raft, done, logger } = this.#options;
    const { index, configuration } = raft.committedConfiguration;
    // The leader that goes is none any more when it hears of it. The term of the entry says that it was this change.
    const over = index >= pending.index && configuration.outgoing.length === 0 && raft.entryTerm(pending.index) === pending.term;
    if (!over && raft.role === 'leader' && raft.term === pending.term) return;
    this.#pending = undefined;
    if (over) logger.warn({ peer: pending.name, index, voters: configuration.voters.map((id) => this.#name(id)).join(' ') }, 'the change of members is over');
    done(pending.request, over ? undefined : UNCERTAIN);
  }

  /** As leader: has those vote that have learned. */
  tick(): void {
    const { raft } = this.#options;
    const { learners } = raft.configuration;
    for (const id of this.#rounds.keys()) if (!learners.includes(id)) this.#rounds.delete(id);
    if (raft.role !== 'leader') {
      this.#rounds.clear();
      return;
    }
    if (learners.length === 0 || !raft.configurationSettled) return;
    const { peers } = raft.status();
    for (const peer of peers) {
      if (learners.includes(peer.id) && this.#hasCaughtUp(peer)) {
        this.#promote(peer.id);
        return;
      }
    }
  }

  #hasCaughtUp(peer: PeerStatus): boolean {
    const { raft, clock, electionMs, isPinned } = this.#options;
    if (!this.#isLive(peer) || !isPinned(peer.id)) {
      this.#rounds.delete(peer.id);
      return false;
    }
    const nowMs = clock.monotonicMs();
    const round = this.#rounds.get(peer.id);
    if (round !== undefined && peer.match < round.targetIndex) return false;
    if (round !== undefined && nowMs - round.beganMs <= electionMs) return true;
    this.#rounds.set(peer.id, { targetIndex: raft.lastIndex, beganMs: nowMs });
    return false;
  }

  #promote(id: number): void {
    const { raft, clock, logger } = this.#options;
    const { voters, learners } = raft.configuration;
    const result = raft.proposeChange({ voters: [...voters, id], learners: learners.filter((one) => one !== id) }, clock.monotonicMs());
    if (result.ok) logger.warn({ peer: this.#name(id), index: result.index }, 'a new member has caught up and is to vote');
  }
}
