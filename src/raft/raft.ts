// The Raft core of one node: ticks, messages and proposals in, a Ready out. A function of its inputs: no sockets,
// files, timers, promises or clocks. The model is etcd-io/raft (asynchronous storage writes) and the Raft thesis
// (Ongaro, 2014). The rules are in the files beside this one: election, follower, replication, reads, transfer.
//
// Deviations from etcd/raft, all on the side of caution:
// - Requests for real votes leave after the candidate's own vote is on disk (core.ts says why).
// - The promise behind the lease has a counter of its own (core.ticksSinceLeader), so that a lost leader or a raised
//   term does not void it, and it binds the node's own vote as well: campaign() is refused while it lasts.
// - No vote for an election timeout after a restart, as the promise is not on disk; single-voter groups excepted.
// - The lease counts from the send time of the heartbeat round that a quorum answered, not from when answers came.
// - Appends carry an epoch that answers repeat, so that a replaced member never inherits acknowledgements.
// - A change of commit alone is not a change of HardState: it rides along with entries, term or vote.
// - A commit index without entries is sent at match, so that it may overtake entries; lost appends are found by silence.
// - Snapshots go by reference: a follower answers when it has fetched and restored one, however long that takes.
// - Round and read numbers take the place of etcd's opaque contexts.
// - A configuration is in force from its append on, as in the thesis (etcd: from its application), and a joint one is always left at once.
import { assert } from '../base/assert.ts';
import { ENTRY_HEADER_BYTES } from '../base/entry.ts';
import type { Configuration, ConfigurationAt } from '../base/configuration.ts';
import type { LogBase } from '../base/log-base.ts';
import { advanceChange, proposeChange } from './change.ts';
import { RaftCore } from './core.ts';
import { campaign, handleVoteRequest, handleVoteResponse, tickElection } from './election.ts';
import { acceptLeader, handleAppend, handleHeartbeat, handleTimeoutNow } from './follower.ts';
import { messageFault } from './message.ts';
import { committedInTerm, followerRead, handleReadIndexResponse, leaderRead, leaseUntilMs } from './reads.ts';
import { appendEntry, broadcastAppend, handleAppendResponse, handleHeartbeatResponse, hurry, maybeCommit, tellHeldCommit, tickLeader } from './replication.ts';
import { handleSnapshot, handleSnapshotResponse, offerSnapshot, restored, restoreFailed } from './snapshot.ts';
import { abortTransfer, beginTransfer } from './transfer.ts';
import type { ChangeResult, ConfigurationChange, Entry, HardState, Message, NodeId, ProposeResult, RaftConfig, RaftStatus, Ready, Role, SnapshotOffer } from './types.ts';
import { MessageType } from './types.ts';

export class RaftNode {
  readonly #core: RaftCore;
  /** As of the last Ready. */
  #readyHardState: HardState;
  #readySoftState: { readonly role: Role; readonly leader: NodeId; readonly term: number };
  #readyCommit = 0;

  constructor(config: RaftConfig) {
    this.#core = new RaftCore(config);
    this.#readyHardState = this.#hardState();
    this.#readySoftState = this.#softState();
  }

  get id(): NodeId {
    return this.#core.id;
  }

  get role(): Role {
    return this.#core.role;
  }

  get term(): number {
    return this.#core.term;
  }

  /** 0 when not known. */
  get leader(): NodeId {
    return this.#core.leader;
  }

  get commit(): number {
    return this.#core.log.commit;
  }

  /** The log begins behind it. */
  get base(): LogBase {
    return this.#core.log.base;
  }

  get lastIndex(): number {
    return this.#core.log.lastIndex;
  }

  /** Leader time of the last entry. */
  get lastTimeMs(): number {
    return this.#core.log.lastTimeMs;
  }

  /** This node leads and an entry of its term is committed: it knows everything that is committed. */
  get committedInTerm(): boolean {
    const { leadership } = this.#core;
    return leadership !== undefined && committedInTerm(this.#core, leadership);
  }

  /** Entries [from, to] of the log, unstable tail included; at least one, as many as fit `bytesMax`. */
  entries(from: number, to: number, bytesMax: number): readonly Entry[] {
    return this.#core.log.entries(from, to, bytesMax);
  }

  /** Term of the entry at `index`; undefined where there is none. */
  entryTerm(index: number): number | undefined {
    return this.#core.log.term(index);
  }

  /** One tick, no sooner than tickMs after the one before. `nowMs` is monotonic. */
  tick(nowMs: number): void {
    const core = this.#core;
    this.#observe(nowMs);
    for (const context of core.forwarded.tick(core.config.electionTicks)) core.readFailures.push(context);
    if (core.leadership === undefined) tickElection(core);
    else tickLeader(core, core.leadership);
    this.#advance();
  }

  /** A message from a peer, or one of this node's own from messagesAfterPersist. Never throws for what a peer may send. */
  step(m: Message, nowMs: number): void {
    this.#observe(nowMs);
    this.#step(m);
    this.#advance();
  }

  #step(m: Message): void {
    const core = this.#core;
    if (!isAddressedProperly(core, m) || messageFault(m) !== undefined) {
      core.ignore();
      return;
    }
    if (m.type === MessageType.vote || m.type === MessageType.preVote) {
      handleVoteRequest(core, m);
      return;
    }
    const isFromLeader = m.type === MessageType.append || m.type === MessageType.heartbeat || m.type === MessageType.snapshot;
    if (m.type === MessageType.preVoteResponse && !m.reject) {
      // It repeats the term that this node asked for, the next one.
      if (m.term === core.term + 1) handleVoteResponse(core, m);
      return;
    }
    if (m.term > core.term) {
      core.becomeFollower(m.term, isFromLeader ? m.from : 0);
    } else if (m.term < core.term) {
      // Tell a leader of an older term about ours: it would never hear otherwise from a node that can't win an election.
      if (isFromLeader) core.send(MessageType.heartbeatResponse, m.from);
      return;
    }
    dispatch(core, m);
  }

  /** Appends an unsealed entry, which is the core's from here on. The entry is sealed exactly once. */
  propose(entry: Uint8Array, nowMs: number): ProposeResult {
    const core = this.#core;
    assert(entry.length >= ENTRY_HEADER_BYTES, 'an entry begins with its header');
    this.#observe(nowMs);
    const { leadership } = core;
    if (leadership === undefined) return { ok: false, reason: 'not-leader' };
    if (leadership.transferee !== 0) return { ok: false, reason: 'transferring' };
    const uncommitted = leadership.uncommitted.bytes;
    if (uncommitted > 0 && uncommitted + entry.length > core.config.uncommittedBytesMax) {
      return { ok: false, reason: 'uncommitted-limit' };
    }
    const index = appendEntry(core, leadership, entry);
    broadcastAppend(core, leadership);
    return { ok: true, term: core.term, index };
  }

  /** The voters and learners are to be these: as leader, and with no other change under way. Done when `configurationSettled`. */
  proposeChange(change: ConfigurationChange, nowMs: number): ChangeResult {
    this.#observe(nowMs);
    const { leadership } = this.#core;
    if (leadership === undefined) return { ok: false, reason: 'not-leader' };
    const result = proposeChange(this.#core, leadership, change);
    this.#advance();
    return result;
  }

  /** From the newest that is committed on, or from before it; ascending. */
  get configurations(): readonly ConfigurationAt[] {
    return this.#core.configurations.list;
  }

  /** In force, committed or not. */
  get configuration(): Configuration {
    return this.#core.configurations.current.configuration;
  }

  /** The newest that is known to be committed. */
  get committedConfiguration(): ConfigurationAt {
    return this.#core.configurations.committed(this.#core.log.commit);
  }

  /** No change of members is under way, as far as this node knows. */
  get configurationSettled(): boolean {
    return this.#core.configurations.isSettled(this.#core.log.commit);
  }

  get isSingleVoter(): boolean {
    return this.#core.isSingleVoter;
  }

  /** A snapshot that is committed, for followers whose next entry is cut from the log; the newest counts. */
  offerSnapshot(offer: SnapshotOffer): void {
    offerSnapshot(this.#core, offer);
  }

  /**
   * The driver has the state up to `base`: of the snapshot in Ready.restore, or of one that it found by itself, which it
   * knows to be committed. The log is reset behind it where it does not reach there; it never goes back. `configuration` is
   * the newest one up to there; without it the group had none but its first.
   */
  restored(base: LogBase, configuration?: ConfigurationAt): void {
    restored(this.#core, base, configuration);
  }

  /** The snapshot in Ready.restore can't be had; the leader will name one again. */
  restoreFailed(index: number): void {
    restoreFailed(this.#core, index);
  }

  /** Asks for an index at or above everything committed before now; the answer is in Ready.readStates or readFailures. */
  readIndex(context: number, nowMs: number): void {
    const core = this.#core;
    this.#observe(nowMs);
    if (core.leadership === undefined) followerRead(core, context);
    else leaderRead(core, core.leadership, core.id, context);
  }

  /** Until the first `restored`, where the node was made so. */
  get loading(): boolean {
    return this.#core.loading;
  }

  /** Seeks election now instead of at the timeout. False when this node may not. */
  campaign(): boolean {
    return campaign(this.#core, false);
  }

  /** Hands leadership to `to` once it has the whole log; given up after an election timeout. False when it can't begin. */
  transferLeadership(to: NodeId): boolean {
    const core = this.#core;
    const { leadership } = core;
    if (leadership === undefined || !beginTransfer(core, leadership, to)) return false;
    hurry(core, leadership, to);
    return true;
  }

  /** A voter that is being replaced: it counts in the size of quorums, but what it acknowledges and votes does not. Replication to it goes on. */
  mute(id: NodeId): void {
    const { leadership, muted } = this.#core;
    assert(id !== this.#core.id, 'a node does not mute itself');
    muted.add(id);
    if (leadership === undefined) return;
    leadership.progress.get(id)?.forgetRounds(leadership.round);
    if (leadership.transferee === id) abortTransfer(leadership);
  }

  unmute(id: NodeId): void {
    const core = this.#core;
    if (!core.muted.delete(id) || core.leadership === undefined) return;
    core.leadership.progress.get(id)?.forgetRounds(core.leadership.round);
    if (maybeCommit(core, core.leadership)) broadcastAppend(core, core.leadership);
    this.#advance();
  }

  /** The member has a new, empty log: forgets what it acknowledged and probes it from scratch. Its earlier answers, still on their way, don't count. */
  resetProgress(id: NodeId): void {
    const { leadership, log } = this.#core;
    const progress = leadership?.progress.get(id);
    if (leadership === undefined || progress === undefined) return;
    progress.reset(log.lastIndex + 1, leadership.nextEpoch(), leadership.round);
    if (leadership.transferee === id) abortTransfer(leadership);
  }

  /** The connection to this member broke: what was on its way may be lost, so it is probed. Optional; without it a heartbeat's answer finds out later. */
  unreachable(id: NodeId): void {
    const progress = this.#core.leadership?.progress.get(id);
    progress?.spoke();
    if (progress?.state === 'replicate') progress.becomeProbe();
  }

  /** With false: the group has taken this node in again. It may have voted in this term before it lost its log, so it does not vote in it. */
  setRejoining(rejoining: boolean): void {
    const core = this.#core;
    if (core.rejoining && !rejoining) {
      core.voteBlockedTicks = core.config.electionTicks;
      if (core.vote === 0) core.vote = core.leader === 0 ? core.id : core.leader;
    }
    core.rejoining = rejoining;
    if (rejoining && core.role !== 'follower') core.becomeFollower(core.term, 0);
  }

  /**
   * The write of a Ready whose last entry has this term and index is on disk, and so is every write before it. Called
   * for each Ready with entries, or for the last of several that were written together.
   */
  persisted(term: number, index: number): void {
    const core = this.#core;
    if (!core.log.persisted(term, index) || core.leadership === undefined) return;
    if (maybeCommit(core, core.leadership)) broadcastAppend(core, core.leadership);
    this.#advance();
  }

  /**
   * Until when (monotonic ms) this node, as leader, may serve reads without a round: −Infinity without a lease, which
   * includes readConsistency 'quorum'. To be published before the messages of the next Ready are sent.
   */
  leaseUntilMs(): number {
    const { leadership, config } = this.#core;
    if (leadership === undefined || config.readConsistency !== 'lease') return -Infinity;
    return leaseUntilMs(this.#core, leadership);
  }

  /** With holdsCommit: a follower may learn of a commit; tellCommit is due soon. */
  get holdsCommit(): boolean {
    return this.#core.leadership?.commitHeld === true;
  }

  /** Sends the commit index to a follower, or with 0 to all, unless entries have carried it. */
  tellCommit(to: NodeId = 0): void {
    const { leadership } = this.#core;
    if (leadership !== undefined) tellHeldCommit(this.#core, leadership, to);
  }

  hasReady(): boolean {
    const core = this.#core;
    return (
      core.messages.length > 0 ||
      core.messagesAfterPersist.length > 0 ||
      core.readStates.length > 0 ||
      core.readFailures.length > 0 ||
      core.restoreToHand !== undefined ||
      core.resetToHand !== undefined ||
      core.configurationsToHand ||
      core.log.hasEntriesToHand ||
      core.log.commit !== this.#readyCommit ||
      this.#voteChanged() ||
      this.#softStateChanged()
    );
  }

  /** Everything there is to do. Several may be under way at once; their writes must end in order. */
  ready(): Ready {
    const core = this.#core;
    const entries = core.log.handOver();
    const hardState = this.#hardState();
    const { resetToHand: reset, restoreToHand: restore } = core;
    const writesHardState =
      reset !== undefined || this.#voteChanged() || (entries.length > 0 && hardState.commit !== this.#readyHardState.commit);
    const softState = this.#softState();
    const ready: Ready = {
      ...(this.#softStateChanged() ? { softState } : {}),
      ...(writesHardState ? { hardState } : {}),
      ...(reset === undefined ? {} : { reset }),
      ...(restore === undefined ? {} : { restore }),
      ...(core.configurationsToHand ? { configurations: core.configurations.list } : {}),
      entries,
      messages: core.messages,
      messagesAfterPersist: core.messagesAfterPersist,
      commit: core.log.commit,
      readStates: core.readStates,
      readFailures: core.readFailures,
    };
    if (writesHardState) this.#readyHardState = hardState;
    this.#readySoftState = softState;
    this.#readyCommit = core.log.commit;
    core.resetToHand = undefined;
    core.configurationsToHand = false;
    core.restoreToHand = undefined;
    core.messages = [];
    core.messagesAfterPersist = [];
    core.readStates = [];
    core.readFailures = [];
    return ready;
  }

  status(): RaftStatus {
    const core = this.#core;
    const { leadership, log } = core;
    return {
      id: core.id,
      role: core.role,
      term: core.term,
      leader: core.leader,
      vote: core.vote,
      commit: log.commit,
      lastIndex: log.lastIndex,
      persistedIndex: log.persistedIndex,
      lastTimeMs: log.lastTimeMs,
      rejoining: core.rejoining,
      transferee: leadership?.transferee ?? 0,
      uncommittedBytes: leadership?.uncommitted.bytes ?? 0,
      ignoredMessages: core.ignoredMessages,
      configuration: this.configuration,
      configurationIndex: core.configurations.current.index,
      peers: core.others.map((id) => {
        const progress = leadership?.progress.get(id);
        return {
          id,
          voter: this.configuration.voters.includes(id),
          match: progress?.match ?? 0,
          next: progress?.next ?? 0,
          state: progress?.state ?? 'unknown',
          pendingSnapshot: progress?.pendingSnapshot ?? 0,
          muted: core.muted.has(id),
          recentActive: progress?.recentActive ?? false,
        };
      }),
    };
  }

  #advance(): void {
    const { leadership } = this.#core;
    if (leadership !== undefined) advanceChange(this.#core, leadership);
  }

  #observe(nowMs: number): void {
    if (nowMs > this.#core.nowMs) this.#core.nowMs = nowMs;
  }

  #hardState(): HardState {
    return { term: this.#core.term, vote: this.#core.vote, commit: this.#core.log.commit };
  }

  #voteChanged(): boolean {
    return this.#core.term !== this.#readyHardState.term || this.#core.vote !== this.#readyHardState.vote;
  }

  #softState(): { readonly role: Role; readonly leader: NodeId; readonly term: number } {
    return { role: this.#core.role, leader: this.#core.leader, term: this.#core.term };
  }

  #softStateChanged(): boolean {
    const { role, leader, term } = this.#readySoftState;
    return role !== this.#core.role || leader !== this.#core.leader || term !== this.#core.term;
  }
}

/**
 * To this node; from this node itself only its own vote. Not only from members: who that is the log says, and the sender's may
 * be ahead (thesis 4.1). Answers of others count in nothing.
 */
function isAddressedProperly(core: RaftCore, m: Message): boolean {
  return m.to === core.id && m.from >= 1 && (m.from !== core.id || m.type === MessageType.voteResponse);
}

/** A message of the current term. */
function dispatch(core: RaftCore, m: Message): void {
  switch (m.type) {
    case MessageType.append:
      if (acceptLeader(core, m)) handleAppend(core, m);
      return;
    case MessageType.heartbeat:
      if (acceptLeader(core, m)) handleHeartbeat(core, m);
      return;
    case MessageType.snapshot:
      if (acceptLeader(core, m)) handleSnapshot(core, m);
      return;
    case MessageType.snapshotResponse:
      if (core.leadership !== undefined) handleSnapshotResponse(core, core.leadership, m);
      return;
    case MessageType.appendResponse:
      if (core.leadership !== undefined) handleAppendResponse(core, core.leadership, m);
      return;
    case MessageType.heartbeatResponse:
      if (core.leadership !== undefined) handleHeartbeatResponse(core, core.leadership, m);
      return;
    case MessageType.preVoteResponse:
    case MessageType.voteResponse:
      handleVoteResponse(core, m);
      return;
    case MessageType.timeoutNow:
      handleTimeoutNow(core, m);
      return;
    case MessageType.readIndex:
      if (core.leadership === undefined) core.failRead(m.from, m.context);
      else leaderRead(core, core.leadership, m.from, m.context);
      return;
    case MessageType.readIndexResponse:
      handleReadIndexResponse(core, m);
      return;
    default:
      core.ignore();
  }
}
