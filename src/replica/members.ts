// The other members as this node meets them: who is let in, who is connected, whose voice counts, and what the leader has
// the log say of them. Owns the connections' state, the pins (membership.ts has the rules) and this node's own rejoining.
//
// What must hold: nothing that a peer says is used before its data directory is pinned on disk (`isPinning`).
import { INFLIGHT_BYTES_MAX } from '../base/limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { ConsensusMessage, LogState, MemberState } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { LogStore } from '../ports/log-store.ts';
import type { PeerIdentity, Transport } from '../ports/transport.ts';
import type { RaftNode } from '../raft/raft.ts';
import type { Entry } from '../raft/types.ts';
import { encodeMembership, Membership } from './membership.ts';
import { encodeMember } from './peer-message.ts';
import type { Roster } from './roster.ts';

export interface MembersOptions {
  readonly id: number;
  readonly incarnation: string;
  readonly rejoining: boolean;
  readonly store: LogStore;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** This node was taken in again under its incarnation: from now on it votes. Stores that beside the log. */
  readonly onRejoined: () => void;
}

export interface MembersHost {
  readonly raft: RaftNode;
  readonly roster: Roster;
  /** Writes these values beside the log; `then` runs when they are on disk. */
  persist(meta: ReadonlyMap<string, Uint8Array>, then: () => void): void;
  /** These values go to disk with the next write. */
  remember(meta: Iterable<readonly [string, Uint8Array]>): void;
}

/** Bytes on their way to the leader above which nothing is forwarded to it. */
const FORWARD_QUEUE_BYTES_MAX = INFLIGHT_BYTES_MAX;
const REFUSAL_QUIET_MS = 60_000;
const REFUSALS_KEPT_MAX = 64;
/** What peers are told of members is lost where it comes while they write down who tells it, or does not come at all: they are told again. */
const TICKS_BETWEEN_NEWS = 20;
const NO_BODY: readonly Uint8Array[] = [];

export class Members {
  readonly #options: MembersOptions;
  readonly #host: MembersHost;
  readonly #membership: Membership;
  #rejoining: boolean;
  readonly #connected = new Map<number, PeerIdentity>();
  /** The incarnation that each peer was last let in with, since the start. */
  readonly #welcomed = new Map<number, string>();
  /** Peers whose pin is on its way to disk: what they say is dropped until it is there. */
  readonly #pinning = new Set<number>();
  readonly #heardAtMs = new Map<number, number>();
  readonly #refusalsQuietUntilMs = new Map<string, number>();
  #ticks = 0;
  /** Nodes for which this leader has a membership entry under way in this term. */
  #changesProposed = new Set<number>();
  /** Index of the committed entry that names this node's data directory, as peers say. */
  #ownEntryAt = Infinity;

  constructor(options: MembersOptions, host: MembersHost) {
    this.#options = options;
    this.#host = host;
    this.#rejoining = options.rejoining;
    this.#membership = new Membership(options, host.roster.book, options.store);
  }

  isConnected(node: number): boolean {
    return this.#connected.has(node);
  }

  /** Why records are not forwarded to `to` as the leader of that term, or undefined. */
  forwardRefusal(to: number, inTerm: number): string | undefined {
    const { term, leader } = this.#host.raft;
    if (term !== inTerm || leader !== to || !this.isConnected(to)) return 'the leader changed or is not connected';
    // Beyond that the transport drops it without a word, and its clients would be told UNCERTAIN.
    return this.#options.transport.queuedBytes(to) > FORWARD_QUEUE_BYTES_MAX ? 'too much is on its way to the leader' : undefined;
  }

  isPinning(node: number): boolean {
    return this.#pinning.has(node);
  }

  heard(node: number): void {
    this.#heardAtMs.set(node, this.#now());
  }

  /** Milliseconds since this member was last heard from; -1 if never. */
  silentMs(node: number): number {
    const heard = this.#heardAtMs.get(node);
    return heard === undefined ? -1 : Math.round(this.#now() - heard);
  }

  name(id: number): string {
    return this.#host.roster.name(id);
  }

  /** The group as this node knows it. */
  status(id: number, commitIndex: number, log: LogState): ConsensusMessage {
    const { store, id: self, incarnation } = this.#options;
    const { raft, roster } = this.#host;
    const { role, lastIndex, peers, configuration: { voters, learners } } = raft.status();
    const members = roster.members.map((member): MemberState => {
      const part = voters.includes(member.id) ? 'voter' : learners.includes(member.id) ? 'learner' : 'leaving';
      if (member.id === self) return { ...member, role: part, incarnation, match: lastIndex, connected: true, silentMs: 0 };
      const match = role === 'leader' ? (peers.find((peer) => peer.id === member.id)?.match ?? -1) : -1;
      return {
        ...member, role: part, incarnation: this.#membership.pin(member.id) ?? '',
        match, connected: this.isConnected(member.id), silentMs: this.silentMs(member.id),
      };
    });
    return { type: 'status', id, firstIndex: store.firstIndex, lastIndex, commitIndex, log, members, changing: !raft.configurationSettled };
  }

  /** The log names the data directory of this node that is connected: what it acknowledges stands for that. */
  isPinned(node: number): boolean {
    const peer = this.#connected.get(node);
    return peer !== undefined && !peer.rejoining && this.#membership.logged(node) === peer.incarnation;
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  /**
   * A proposal may have been refused (a transfer under way): a member that waits to be taken in, or to learn, is proposed again.
   * And what peers were told is told again now and then.
   */
  tick(): void {
    const { raft } = this.#host;
    const tells = ++this.#ticks % TICKS_BETWEEN_NEWS === 0;
    for (const peer of this.#connected.values()) {
      if (tells) this.#tell(peer.nodeId);
      if (!peer.rejoining && !raft.configuration.learners.includes(peer.nodeId)) continue;
      if (!this.#changesProposed.has(peer.nodeId)) this.#reconcile(peer);
      else if (peer.rejoining) this.#tellTakenIn(peer);
    }
    // It was alone when it became the leader.
    if (raft.configuration.learners.length > 0 && raft.role === 'leader') this.#pinSelf();
  }

  roleChanged(): void {
    this.#changesProposed = new Set();
  }

  /** As the new leader: has the log name every member's data directory. */
  lead(): void {
    for (const peer of this.#connected.values()) this.#reconcile(peer);
    this.#pinSelf();
  }

  /** What must go to disk with this membership entry. */
  appended(entry: Entry): Iterable<readonly [string, Uint8Array]> {
    return this.#membership.appended(entry.bytes) ?? [];
  }

  /** A peer says that `node` is known with this data directory by the committed entry `index`. */
  attested(node: number, incarnation: string, index: number): void {
    this.#host.remember(this.#membership.attested(node, incarnation, index) ?? []);
    if (node === this.#options.id && incarnation === this.#options.incarnation) this.#ownEntryAt = index;
    this.caughtUp(this.#host.raft.commit);
  }

  /** The log is known up to `index`, from a snapshot perhaps, so that this node may never see the entry that takes it in again. */
  caughtUp(index: number): void {
    if (this.#rejoining && this.#ownEntryAt <= index) this.#rejoined();
  }

  /** To a peer that may have missed how another was replaced, and refuse that one, its leader perhaps. */
  tellMembers(to: number): void {
    for (const member of this.#membership.known()) {
      this.#options.transport.send(to, encodeMember(member.node, member.incarnation, member.index), NO_BODY);
    }
  }

  /** Why this peer is refused; undefined lets it in, and `welcome` is next. */
  refusal(peer: PeerIdentity): string | undefined {
    const admission = this.#membership.admit(peer);
    if (admission.admit) return undefined;
    this.logRefusal(peer.nodeId, admission.reason, true);
    return admission.reason;
  }

  /** A peer refuses this node. */
  refused(nodeId: number, reason: string): void {
    this.#host.roster.refused(reason);
    this.logRefusal(nodeId, reason, false);
  }

  /** Peers try again many times a second; the operator hears of each reason once a minute. */
  logRefusal(nodeId: number, reason: string, byUs: boolean): void {
    const key = `${nodeId} ${byUs} ${reason}`;
    const nowMs = this.#now();
    if (nowMs < (this.#refusalsQuietUntilMs.get(key) ?? 0)) return;
    if (this.#refusalsQuietUntilMs.size >= REFUSALS_KEPT_MAX) this.#refusalsQuietUntilMs.clear();
    this.#refusalsQuietUntilMs.set(key, nowMs + REFUSAL_QUIET_MS);
    const peer = this.name(nodeId);
    if (byUs) this.#options.logger.error({ peer, reason }, 'a peer is refused');
    else this.#options.logger.warn({ peer, reason }, 'a peer refuses this node');
  }

  /** Before anything that this peer says: its data directory is pinned on disk, and its voice counts or does not. */
  welcome(peer: PeerIdentity): void {
    const meta = this.#membership.pinMeta(peer);
    if (meta !== undefined && this.#membership.pin(peer.nodeId) === undefined && !this.#pinning.has(peer.nodeId)) {
      this.#pinning.add(peer.nodeId);
      this.#membership.pinned(peer.nodeId, peer.incarnation);
      this.#host.persist(meta, () => this.#pinning.delete(peer.nodeId));
    }
    const before = this.#welcomed.get(peer.nodeId);
    this.#welcomed.set(peer.nodeId, peer.incarnation);
    // What another data directory has acknowledged must not count for this one.
    if (before !== undefined && before !== peer.incarnation) this.#host.raft.resetProgress(peer.nodeId);
    // Whatever our role: what a member that rejoins votes or acknowledges does not count, and what one says that is let in does.
    if (peer.rejoining) this.#host.raft.mute(peer.nodeId);
    else this.#host.raft.unmute(peer.nodeId);
  }

  connected(peer: PeerIdentity): void {
    this.#connected.set(peer.nodeId, peer);
    this.heard(peer.nodeId);
    this.#tell(peer.nodeId);
    this.#reconcile(peer);
  }

  /** Who the members are, and by which data directories. */
  #tell(to: number): void {
    this.#host.roster.meet(to);
    this.tellMembers(to);
  }

  disconnected(nodeId: number): void {
    this.#connected.delete(nodeId);
    this.#host.raft.unreachable(nodeId);
  }

  /**
   * This leader's own entry of this term takes the peer in again, and is committed. Where this node or the peer goes on from a
   * snapshot that stands for it, neither of them meets the entry.
   */
  #tellTakenIn({ nodeId, incarnation }: PeerIdentity): void {
    const { raft } = this.#host;
    const index = this.#membership.loggedAt(nodeId);
    if (raft.role !== 'leader' || this.#membership.logged(nodeId) !== incarnation || index === 0 || index > raft.commit) return;
    this.#host.remember(this.#membership.attested(nodeId, incarnation, index) ?? []);
    raft.unmute(nodeId);
    this.#options.transport.send(nodeId, encodeMember(nodeId, incarnation, index), NO_BODY);
  }

  /** As leader: mutes a peer that rejoins, and has the log name every peer's data directory. */
  #reconcile(peer: PeerIdentity): void {
    if (this.#host.raft.status().role !== 'leader') return;
    const logged = this.#membership.logged(peer.nodeId);
    if (peer.rejoining) {
      if (!this.#changesProposed.has(peer.nodeId) || logged !== peer.incarnation) {
        this.#host.raft.mute(peer.nodeId);
        this.#host.raft.resetProgress(peer.nodeId);
        this.#proposeMembership({ op: 'replace', node: peer.nodeId, incarnation: peer.incarnation });
      }
    } else if (logged === undefined && !this.#changesProposed.has(peer.nodeId)) {
      this.#proposeMembership({ op: 'pin', node: peer.nodeId, incarnation: peer.incarnation });
    }
  }

  #proposeMembership(change: { op: 'pin' | 'replace'; node: number; incarnation: string }): void {
    const result = this.#host.raft.propose(encodeMembership(change), this.#now());
    if (!result.ok) return;
    this.#changesProposed.add(change.node);
    if (change.op === 'replace') {
      this.#options.logger.warn(
        { peer: this.name(change.node), incarnation: change.incarnation },
        'a member asks to be taken in again with a new data directory; it counts once the others have agreed',
      );
    }
  }

  committed(entry: Entry): void {
    const result = this.#membership.committed(entry.bytes);
    if (result === undefined) return;
    const { change, meta, self } = result;
    this.#host.remember(meta);
    const peer = this.#connected.get(change.node);
    if (peer?.incarnation === change.incarnation) this.#host.raft.unmute(change.node);
    if (self && this.#rejoining) this.#rejoined();
  }

  #rejoined(): void {
    this.#rejoining = false;
    this.#options.onRejoined();
    this.#host.raft.setRejoining(false);
    this.#options.logger.warn({}, 'this node is a full member again: it votes and acknowledges from now on');
  }

  #pinSelf(): void {
    const { id, incarnation } = this.#options;
    if (this.#membership.logged(id) === incarnation || this.#changesProposed.has(id) || this.#host.raft.configuration.members.length === 1) return;
    this.#proposeMembership({ op: 'pin', node: id, incarnation });
  }
}
