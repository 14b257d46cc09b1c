// The consensus side of a node: drives the Raft core with ticks, peers' messages, the engine's proposals and the log
// store's completions, and does what each Ready asks, in its order. Owns the order persist → send → publish.
//
// What must hold:
// - A Ready's `messagesAfterPersist` leave only after its entries and hard state, and all before them, are on disk.
// - The commit index stands in the shared cell before any message or reply carries it.
// - After the log store fails, nothing is sent, acknowledged or published as leader again.
import { must } from '../base/assert.ts';
import type { ConfigurationAt } from '../base/configuration.ts';
import { EntryKind, entryTimeMs } from '../base/entry.ts';
import { errorText } from '../base/errors.ts';
import { APPEND_MESSAGE_BYTES_MAX, APPLY_WINDOW_BYTES } from '../base/limits.ts';
import type { LogBase } from '../base/log-base.ts';
import type { CommittedEntry, EngineMessage } from '../ports/link.ts';
import type { PeerIdentity } from '../ports/transport.ts';
import { RaftNode } from '../raft/raft.ts';
import { MessageType, type Entry, type Message, type Ready } from '../raft/types.ts';
import { CachedLog } from './cached-log.ts';
import type { ConsensusOptions } from './consensus-options.ts';
import { CommitNews } from './commit-news.ts';
import { Handover } from './handover.ts';
import { LogFeedServer } from './log-feed.ts';
import { LogUpkeep } from './log-upkeep.ts';
import { Members } from './members.ts';
import { MembershipChanges } from './membership-changes.ts';
import { OwnProposals } from './own-proposals.ts';
import { raftConfig } from './raft-config.ts';
import { ReadRequests } from './read-requests.ts';
import { Roster } from './roster.ts';
import { StateNews } from './state-news.ts';
import { decodePeerMessage, encodeForward, encodeForwardRefused, encodeRaftHead, raftBody } from './peer-message.ts';

const NO_BYTES = new Uint8Array(0);
const NO_BODY: readonly Uint8Array[] = [];

export class Consensus {
  readonly #options: ConsensusOptions;
  readonly #raft: RaftNode;
  readonly #log: CachedLog;
  readonly #members: Members;
  readonly #handover: Handover;
  readonly #roster: Roster;
  readonly #changes: MembershipChanges;
  readonly #commitNews: CommitNews;
  readonly #stateNews: StateNews;
  readonly #feed: LogFeedServer | undefined;
  readonly #proposals: OwnProposals;
  readonly #reads: ReadRequests;
  readonly #upkeep: LogUpkeep;
  /** Highest index handed to the engine, and bytes of it that the engine has not applied. */
  #delivered: number;
  #unappliedBytes = 0;
  #commit = 0;
  /** Appends handed to the store and not completed; messages wait for the last of them. */
  #appendsInFlight = 0;
  #heldMessages: Message[] = [];
  #meta = new Map<string, Uint8Array>();
  #failed: string | undefined;
  #stopping = false;
  #draining = false;

  constructor(options: ConsensusOptions) {
    this.#options = options;
    this.#log = new CachedLog(options.store, () => this.#raft, options.discard);
    this.#delivered = options.store.base.index;
    this.#raft = new RaftNode(raftConfig(options, this.#log));
    this.#roster = new Roster({ localAddress: (member) => member, ...options, raft: this.#raft });
    this.#members = new Members(options, {
      raft: this.#raft,
      roster: this.#roster,
      persist: (meta, then) => this.#append([], undefined, meta, then),
      remember: (meta) => {
        for (const [name, value] of meta) this.#meta.set(name, value);
      },
    });
    const { id, observers, link, clock, logger } = options;
    const isConnected = (node: number): boolean => this.#members.isConnected(node);
    this.#proposals = new OwnProposals(link);
    this.#reads = new ReadRequests(this.#raft, link, () => this.#logTimeMs());
    const memberName = (node: number): string => this.#members.name(node);
    this.#upkeep = new LogUpkeep(options, { log: this.#log, raft: this.#raft, isConnected, memberName });
    this.#changes = new MembershipChanges({
      id, raft: this.#raft, clock, logger, isConnected, unreachable: options.unreachable,
      electionMs: options.electionTicks * options.tickMs,
      isPinned: (node) => this.#members.isPinned(node),
      done: (request, error) => link.send({ type: 'members-changed', id: request, error }),
    });
    this.#stateNews = new StateNews({ id, raft: this.#raft, link, isConnected });
    this.#commitNews = new CommitNews(this.#raft, clock, (input) => this.#guard(input));
    this.#feed = observers === undefined ? undefined : new LogFeedServer({
      log: this.#log, observers, link, clock, logger,
      commit: () => this.#commit,
      leadership: () => ({ leads: this.#raft.role === 'leader', hasLeader: this.#raft.leader !== 0 }),
      isHalted: () => this.#halted,
    });
    this.#handover = new Handover({
      id, raft: this.#raft, clock,
      timeoutMs: 2 * options.electionTicks * options.tickMs,
      isConnected,
      isHalted: () => this.#halted,
    });
  }

  start(): void {
    const { link, transport } = this.#options;
    link.onMessage((message) => {
      // A node whose log has failed does nothing any more, but it can be stopped.
      if (this.#failed !== undefined && message.type === 'shutdown') this.#stop('');
      else this.#guard(() => this.#fromEngine(message));
    });
    this.#feed?.start();
    transport.start({
      admit: (peer) => this.#admit(peer),
      connected: (peer) => this.#connections(() => this.#members.connected(peer)),
      disconnected: (nodeId) => this.#connections(() => this.#members.disconnected(nodeId)),
      message: (from, head, body) => this.#guard(() => this.#fromPeer(from, head, body)),
      refused: (nodeId, reason) => this.#guard(() => this.#members.refused(nodeId, reason)),
    });
    this.#roster.start();
    this.#publish();
    this.#drain();
    // A single voter has nobody to wait for.
    if (this.#raft.isSingleVoter) this.#guard(() => this.#raft.campaign());
    this.#scheduleTick();
  }

  /** For tests and simulation: the Raft core, to be looked at only. */
  get raft(): RaftNode {
    return this.#raft;
  }

  #scheduleTick(): void {
    this.#options.clock.after(this.#options.tickMs, () => {
      if (this.#halted) return;
      this.#guard(() => {
        this.#raft.tick(this.#now());
        this.#members.tick();
        this.#roster.tick();
        this.#changes.tick();
        this.#upkeep.tick();
      });
      this.#scheduleTick();
    });
  }

  get #halted(): boolean {
    return this.#failed !== undefined || this.#stopped;
  }

  #stopped = false;

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  /** Runs one input through the core and then everything that follows from it. */
  #guard(input: () => void): void {
    if (this.#halted) return;
    input();
    this.#drain();
  }

  // --- inputs

  #connections(change: () => void): void {
    this.#guard(() => {
      change();
      this.#stateNews.tell();
    });
  }

  #fromEngine(message: EngineMessage): void {
    const { link, transport } = this.#options;
    switch (message.type) {
      case 'propose': {
        // Built for another term, it may hold what peers forwarded to the leader of that one, and count as lost in this.
        if (this.#raft.status().term !== message.term) {
          link.send({ type: 'refused', id: message.id, reason: 'the term is over' });
          return;
        }
        const takenMs = this.#now();
        const result = this.#raft.propose(message.entry, takenMs);
        if (!result.ok) {
          link.send({ type: 'refused', id: message.id, reason: result.reason });
          return;
        }
        this.#proposals.add(result.index, result.term, message.id, takenMs);
        return;
      }
      case 'forward': {
        const reason = this.#members.forwardRefusal(message.leader, message.term);
        if (reason !== undefined) link.send({ type: 'forward-failed', id: message.id, reason });
        else transport.send(message.leader, encodeForward(message.id, message.term, message.count), [message.records]);
        return;
      }
      case 'forward-refused':
        transport.send(message.to, encodeForwardRefused(message.id, message.term, message.reason), NO_BODY);
        return;
      case 'read-index':
        this.#reads.ask(message.id, this.#now());
        return;
      case 'published':
        this.#upkeep.published(message.snapshot);
        return;
      case 'piece':
        this.#feed?.pieceRead(message.id, message.answer);
        return;
      case 'limit-log':
        this.#upkeep.limit(message.bytes);
        return;
      case 'restored':
        this.#restored(message.base, message.configuration);
        return;
      case 'restore-failed':
        this.#raft.restoreFailed(message.index);
        return;
      case 'applied':
        this.#unappliedBytes -= message.bytes;
        this.#deliver();
        return;
      case 'transfer':
        this.#handover.transfer(message.target, (error) => link.send({ type: 'transferred', id: message.id, error }));
        return;
      case 'change-members':
        this.#changes.request(message.id, message.change);
        return;
      case 'status':
        link.send(this.#members.status(message.id, this.#commit, this.#upkeep.state()));
        return;
      case 'shutdown':
        this.#shutdown();
        return;
    }
  }

  #fromPeer(from: number, head: Uint8Array, body: readonly Uint8Array[]): void {
    if (this.#members.isPinning(from)) return;
    const { id, link, logger } = this.#options;
    const decoded = decodePeerMessage(from, id, head, body);
    if (typeof decoded === 'string') {
      logger.warn({ peer: this.#members.name(from), fault: decoded }, 'a peer sent a message that cannot be read; it is ignored');
      return;
    }
    this.#members.heard(from);
    switch (decoded.kind) {
      case 'raft':
        this.#raft.step(decoded.message, this.#now());
        if (decoded.message.type === MessageType.preVote) this.#members.tellMembers(from);
        return;
      case 'forward':
        this.#commitNews.forwarded(from);
        link.send({
          type: 'forwarded', from, id: decoded.id, term: decoded.term, count: decoded.count, records: decoded.records,
        });
        return;
      case 'forward-refused':
        link.send({ type: 'forward-failed', id: decoded.id, reason: decoded.reason });
        return;
      case 'configuration':
        this.#roster.told(decoded.at);
        return;
      case 'member':
        this.#members.attested(decoded.node, decoded.incarnation, decoded.index);
        return;
    }
  }

  #admit(peer: PeerIdentity): string | undefined {
    if (this.#halted) return 'this node is stopping';
    const refusal = this.#members.refusal(peer);
    if (refusal === undefined) this.#guard(() => this.#members.welcome(peer));
    return refusal;
  }

  // --- outputs

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      while (!this.#halted && this.#raft.hasReady()) this.#handleReady(this.#raft.ready());
      if (!this.#halted && this.#meta.size > 0) this.#append([], undefined, undefined, undefined);
      if (!this.#halted) this.#publish();
      if (this.#raft.holdsCommit && !this.#halted && this.#commitNews.held()) {
        while (!this.#halted && this.#raft.hasReady()) this.#handleReady(this.#raft.ready());
      }
      this.#feed?.committed();
      this.#membersMoved();
    } finally {
      this.#draining = false;
    }
  }

  /** What follows for members from what is committed; a node that is none any more stops when all it had to say is said. */
  #membersMoved(): void {
    if (this.#halted) return;
    this.#roster.committed();
    this.#changes.settle();
    const { removal } = this.#roster;
    if (removal === undefined || this.#stopping) return;
    this.#stopping = true;
    this.#options.logger.warn({ reason: removal }, 'this node was removed from the cluster and stops; its directory is of no use any more');
    this.#stop(removal);
  }

  #handleReady(ready: Ready): void {
    // Role first: a lease given up must be out of the cell before anything else happens.
    if (ready.softState !== undefined) this.#roleChanged(ready.softState);
    if (ready.commit > this.#commit) this.#commit = ready.commit;
    if (ready.configurations !== undefined) this.#meta.set(...this.#roster.changed(ready.configurations));
    this.#publish();
    for (const message of ready.messages) this.#send(message);
    if (ready.restore !== undefined) this.#options.link.send({ type: 'restore', snapshot: ready.restore });
    if (ready.reset !== undefined) {
      this.#appendsInFlight++;
      this.#log.reset(ready.reset, must(ready.hardState), (error) => this.#written(error, () => undefined), new Map(this.#meta));
    }
    if (ready.hardState !== undefined || ready.entries.length > 0 || this.#meta.size > 0) {
      const after = ready.messagesAfterPersist;
      const last = ready.entries.at(-1);
      this.#append(ready.entries, ready.hardState, undefined, () => {
        if (last !== undefined) {
          this.#proposals.persisted(ready.entries, this.#now());
          this.#raft.persisted(last.term, last.index);
        }
        for (const message of after) this.#send(message);
      });
    } else if (this.#appendsInFlight > 0) {
      this.#heldMessages.push(...ready.messagesAfterPersist);
    } else {
      for (const message of ready.messagesAfterPersist) this.#send(message);
    }
    for (const state of ready.readStates) this.#reads.answer(state.context, state.index, state.timeMs);
    for (const context of ready.readFailures) this.#reads.fail(context);
    this.#deliver();
  }

  #append(
    entries: readonly Entry[],
    hardState: Ready['hardState'],
    meta: ReadonlyMap<string, Uint8Array> | undefined,
    then: (() => void) | undefined,
  ): void {
    const all = this.#meta;
    this.#meta = new Map();
    if (meta !== undefined) for (const [name, value] of meta) all.set(name, value);
    for (const entry of entries) {
      if (entry.kind !== EntryKind.membership) continue;
      for (const [name, value] of this.#members.appended(entry)) all.set(name, value);
    }
    const held = this.#heldMessages;
    this.#heldMessages = [];
    this.#appendsInFlight++;
    this.#log.append(
      {
        entries: entries.map((entry) => entry.bytes),
        ...(hardState === undefined ? {} : { hardState }),
        ...(all.size === 0 ? {} : { meta: all }),
      },
      entries,
      (error) => {
        this.#written(error, () => {
          then?.();
          for (const message of held) this.#send(message);
        });
      },
    );
  }

  /** A write has ended. */
  #written(error: Error | undefined, then: () => void): void {
    if (this.#halted) return;
    if (error !== undefined) {
      this.#logFailed(errorText(error));
      return;
    }
    this.#guard(() => {
      this.#appendsInFlight--;
      then();
      if (this.#appendsInFlight > 0) return;
      const waiting = this.#heldMessages;
      this.#heldMessages = [];
      for (const message of waiting) this.#send(message);
    });
  }

  /** The engine has the state up to `base`: it goes on from there, unless it has got further by the log meanwhile. */
  #restored(base: LogBase, configuration: ConfigurationAt | undefined): void {
    const wasLoading = this.#raft.loading;
    const accepted = base.index > this.#delivered || (wasLoading && base.index === this.#delivered);
    this.#raft.restored(base, configuration);
    this.#members.caughtUp(base.index);
    if (base.index > this.#commit) this.#commit = base.index;
    this.#publish();
    if (accepted) {
      this.#delivered = base.index;
      this.#proposals.forget(base.index);
    }
    this.#options.link.send({ type: 'installed', index: base.index, accepted });
    // A node alone hears of nothing else that would have it deliver.
    this.#deliver();
    if (wasLoading && this.#raft.isSingleVoter) this.#raft.campaign();
  }

  #send(message: Message): void {
    if (message.to === this.#options.id) {
      this.#raft.step(message, this.#now());
      return;
    }
    // What membership entries say that are in the snapshot, and not in the log that follows.
    if (message.type === MessageType.snapshot) this.#members.tellMembers(message.to);
    // The read waits for the index to be applied there.
    if (message.type === MessageType.readIndexResponse) this.#raft.tellCommit(message.to);
    const filled =
      message.type === MessageType.readIndexResponse ? { ...message, timeMs: this.#logTimeMs() } : message;
    this.#options.transport.send(message.to, encodeRaftHead(filled), raftBody(filled));
  }

  /** The leader's time for judging expiry: never behind the log. */
  #logTimeMs(): number {
    return Math.max(this.#options.clock.wallMs(), this.#raft.status().lastTimeMs);
  }

  #publish(): void {
    const status = this.#raft.status();
    const leading = status.role === 'leader';
    const lease = leading && !this.#halted && !this.#stopping ? this.#raft.leaseUntilMs() : 0;
    this.#options.cell.publish(
      Number.isFinite(lease) && lease > 0 ? lease : 0,
      status.term,
      this.#commit,
      status.leader,
      leading && !this.#halted,
    );
  }

  #roleChanged(state: { role: 'follower' | 'precandidate' | 'candidate' | 'leader'; leader: number; term: number }): void {
    this.#publish();
    this.#members.roleChanged();
    this.#proposals.tellPlaces();
    this.#options.logger.info(
      { role: state.role, term: state.term, leader: state.leader === 0 ? 'none' : this.#members.name(state.leader) },
      'raft state changed',
    );
    this.#stateNews.tell();
    if (state.role === 'leader') this.#members.lead();
  }

  /** Hands committed entries to the engine, as far as its window allows. */
  #deliver(): void {
    while (!this.#raft.loading && this.#delivered < this.#commit && this.#unappliedBytes < APPLY_WINDOW_BYTES) {
      const from = this.#delivered + 1;
      const entries = this.#log.look(from, this.#commit, APPEND_MESSAGE_BYTES_MAX);
      const out: CommittedEntry[] = [];
      const committedMs = this.#proposals.isEmpty ? 0 : this.#now();
      for (const entry of entries) {
        this.#delivered = entry.index;
        this.#unappliedBytes += entry.bytes.length;
        const own = this.#proposals.committed(entry);
        const proposal = own?.id ?? 0;
        if (entry.kind === EntryKind.membership) this.#members.committed(entry);
        out.push({
          index: entry.index,
          term: entry.term,
          timeMs: entryTimeMs(entry.bytes),
          proposal,
          bytes: proposal === 0 ? entry.bytes : NO_BYTES,
          takenMs: own?.takenMs ?? 0,
          persistedMs: own?.persistedMs ?? 0,
          committedMs,
        });
      }
      this.#options.link.send({ type: 'committed', entries: out });
    }
  }

  #logFailed(reason: string): void {
    this.#failed = reason;
    this.#options.cell.publish(0, this.#raft.status().term, this.#commit, 0, false);
    this.#options.logger.error(
      { reason },
      'the log cannot be written: this node acknowledges nothing from now on, gives up leadership and leaves the cluster to the others; ' +
        'mend the disk (space, hardware), then restart it',
    );
    this.#options.link.send({ type: 'state', role: 'follower', leader: 0, term: this.#raft.status().term });
    this.#options.link.send({ type: 'log-failed', reason });
    this.#options.transport.close();
  }

  // --- operator

  /** Hands leadership over if there is somebody to take it, then stops. */
  #shutdown(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    const target = this.#raft.status().role === 'leader' ? this.#handover.bestTarget() : 0;
    if (target === 0) {
      this.#stop('');
      return;
    }
    this.#options.logger.info({ to: this.#members.name(target) }, 'handing leadership over before stopping');
    this.#handover.transfer(target, () => this.#stop(''));
  }

  #stop(reason: string): void {
    if (this.#stopped) return;
    // Let what is being persisted finish first: nothing is lost either way, but a clean log opens faster.
    if (this.#appendsInFlight > 0 && this.#failed === undefined) {
      this.#options.clock.after(1, () => this.#stop(reason));
      return;
    }
    this.#publish();
    this.#stopped = true;
    this.#options.transport.close();
    this.#options.store.close();
    this.#options.link.send({ type: 'stopped', reason });
  }
}
