// The state of one Raft node, shared by the files that hold its rules (election, follower, replication, reads). Only
// src/raft touches it; the world sees RaftNode. This file owns what is common to all roles: terms, timers, the outbox,
// stepping down.
//
// What must hold:
// - term never goes back; vote changes at most once in a term, from none to somebody.
// - leadership is present exactly while role is leader.
// - A node that has heard a leader gives no vote, its own included, for electionTicks ticks (the promise behind the
//   lease), unless that leader consented (transfer). ticksSinceLeader says so whatever became of term and leader since.
import { assert } from '../base/assert.ts';
import type { LogBase } from '../base/log-base.ts';
import { ConfigurationHistory } from './configuration.ts';
import type { Leadership } from './leadership.ts';
import { RaftLog } from './log.ts';
import { makeMessage } from './message.ts';
import type { MessageFields } from './message.ts';
import type { Quorum } from './quorum.ts';
import { ForwardedReads } from './read-only.ts';
import type { Entry, Message, NodeId, RaftConfig, ReadState, Role, SnapshotOffer } from './types.ts';
import { MessageType } from './types.ts';

/**
 * What promises something that must survive a crash. Requests for votes are among them (etcd sends them at once): a
 * candidate that crashed before its term was on disk could campaign in the same term again with a shorter log, and
 * count votes that were given for the longer one.
 */
const AFTER_PERSIST: ReadonlySet<MessageType> = new Set([
  MessageType.appendResponse,
  MessageType.vote,
  MessageType.voteResponse,
]);

export class RaftCore {
  readonly config: RaftConfig;
  readonly id: NodeId;
  readonly log: RaftLog;
  /** Of the log as it is, tail included. */
  readonly configurations: ConfigurationHistory;
  configurationsToHand = false;
  /** Every member but this node, learners included. */
  others: readonly NodeId[] = [];
  readonly muted = new Set<NodeId>();
  readonly forwarded: ForwardedReads;

  term: number;
  vote: NodeId;
  role: Role = 'follower';
  leader: NodeId = 0;
  leadership: Leadership | undefined;
  /** Answers to this node's candidacy, the first of each voter. */
  readonly votes = new Map<NodeId, boolean>();
  rejoining: boolean;
  /** The state that the log begins behind is still being loaded: a leader without it could serve nobody. */
  loading: boolean;

  /** Ticks since the role began, the leader was heard or a vote was given; on a leader, since the last check of the quorum. */
  electionElapsed = 0;
  /** Drawn anew whenever the role or term changes, from [electionTicks, 2 × electionTicks). */
  electionTimeout = 0;
  heartbeatElapsed = 0;
  ticksSinceLeader: number;
  /** Ticks for which no vote is given and none sought, because a promise given before a restart is forgotten. */
  voteBlockedTicks: number;
  /** Latest time seen. */
  nowMs = -Infinity;
  /**
   * Up to here this node's log is known to agree with this term's leader, while a heartbeat can't be trusted to know:
   * to a member that lost its log the leader may speak of what the lost log held. Infinity on members with a whole log.
   */
  heartbeatCommitMax: number;

  /** What a follower that is too far behind is told of while this node leads. */
  offer: SnapshotOffer | undefined;
  /** The snapshot that the driver restores, and who asked for that last. */
  restoring: { readonly index: number; readonly from: NodeId; readonly term: number; readonly context: number } | undefined;
  restoreToHand: SnapshotOffer | undefined;
  resetToHand: LogBase | undefined;

  messages: Message[] = [];
  messagesAfterPersist: Message[] = [];
  readStates: ReadState[] = [];
  readFailures: number[] = [];
  ignoredMessages = 0;

  constructor(config: RaftConfig) {
    const { electionTicks, heartbeatTicks, tickMs, leaseDriftMs, storage } = config;
    assert(config.id >= 1, 'a node has an id');
    assert(heartbeatTicks >= 1 && electionTicks > heartbeatTicks, 'an election timeout spans several heartbeats');
    assert(leaseDriftMs >= 0 && leaseDriftMs < (electionTicks - 1) * tickMs, 'the lease is longer than its drift bound');
    assert(config.inflightMessagesMax >= 1 && config.inflightBytesMax >= 1, 'an append may be on its way');
    this.config = config;
    this.id = config.id;
    this.configurations = new ConfigurationHistory(config.configurations);
    assert(this.configurations.current.index <= storage.lastIndex, 'a configuration is in the log');
    this.#countOthers();
    this.term = storage.hardState.term;
    this.vote = storage.hardState.vote;
    this.rejoining = config.rejoining;
    this.loading = config.loading === true;
    const { commit } = storage.hardState;
    this.log = new RaftLog(storage, config.rejoining ? Math.min(commit, storage.lastIndex) : commit);
    assert(this.log.lastTerm <= this.term || config.rejoining, 'no entry is of a term that the node has not seen');
    this.heartbeatCommitMax = config.rejoining ? 0 : Infinity;
    this.ticksSinceLeader = electionTicks;
    this.voteBlockedTicks = (config.restarted || config.rejoining) && !this.isSingleVoter ? electionTicks : 0;
    this.forwarded = new ForwardedReads(config.random);
    this.#restartTimers();
  }

  get quorum(): Quorum {
    return this.configurations.quorum;
  }

  get isSingleVoter(): boolean {
    return this.quorum.every((voters) => voters.length === 1 && voters[0] === this.id);
  }

  isVoter(id: NodeId): boolean {
    return this.configurations.isVoter(id);
  }

  /** Puts entries at the end of the log, replacing everything from the first of them on; a configuration is in force at once. */
  append(entries: readonly Entry[]): void {
    this.log.append(entries);
    if (this.configurations.append(entries, this.log.commit)) this.configurationChanged();
  }

  configurationChanged(): void {
    this.configurationsToHand = true;
    this.#countOthers();
    this.leadership?.follow(this.others, this.configurations.current.index, this.config);
  }

  #countOthers(): void {
    this.others = this.configurations.members.filter((id) => id !== this.id);
  }

  get keepsPromise(): boolean {
    return this.ticksSinceLeader < this.config.electionTicks;
  }

  send(type: MessageType, to: NodeId, fields: MessageFields = {}): void {
    const message = makeMessage(type, this.id, to, this.term, fields);
    if (AFTER_PERSIST.has(type)) this.messagesAfterPersist.push(message);
    else this.messages.push(message);
  }

  ignore(): void {
    this.ignoredMessages++;
  }

  /** A word from the leader of this term: the promise starts anew. */
  heardLeader(): void {
    this.electionElapsed = 0;
    this.ticksSinceLeader = 0;
  }

  setLeader(leader: NodeId): void {
    if (leader === this.leader) return;
    this.leader = leader;
    for (const context of this.forwarded.takeAll()) this.readFailures.push(context);
  }

  becomeFollower(term: number, leader: NodeId): void {
    const lost = this.leadership;
    this.leadership = undefined;
    // A leader's own lease ended with its leadership: there is nothing left to protect from its vote.
    if (lost !== undefined) this.ticksSinceLeader = this.config.electionTicks;
    this.role = 'follower';
    this.startTerm(term);
    this.setLeader(leader);
    if (lost === undefined) return;
    for (const read of lost.reads.takeAll()) this.failRead(read.from, read.context);
  }

  failRead(from: NodeId, context: number): void {
    if (from === this.id) this.readFailures.push(context);
    else this.send(MessageType.readIndexResponse, from, { context, reject: true });
  }

  /** Enters `term` (or starts over in it): timers and votes begin anew, and in a new term the node's own vote is free. */
  startTerm(term: number): void {
    assert(term >= this.term, () => `term ${this.term} can't go back to ${term}`);
    if (term !== this.term) {
      this.term = term;
      this.vote = 0;
      if (this.heartbeatCommitMax !== Infinity) this.heartbeatCommitMax = 0;
    }
    this.votes.clear();
    this.#restartTimers();
  }

  #restartTimers(): void {
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.electionTimeout = this.config.electionTicks + this.config.random(this.config.electionTicks);
  }
}
