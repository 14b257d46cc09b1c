// The types of the Raft core: what goes in, what comes out. The core is a function of its inputs: no sockets, files,
// timers, promises or clocks; time and randomness are arguments. The model is etcd-io/raft; deviations are listed in raft.ts.
import type { Configuration, ConfigurationAt, MemberAddress } from '../base/configuration.ts';
import type { LogBase } from '../base/log-base.ts';

/** Raft id of a member, ≥ 1; 0 means none. */
export type NodeId = number;

export type Role = 'follower' | 'precandidate' | 'candidate' | 'leader';

/** An entry in the log. `bytes` is the whole sealed entry (src/base/entry.ts); term, index and kind repeat its header. */
export interface Entry {
  readonly term: number;
  readonly index: number;
  readonly kind: number;
  readonly bytes: Uint8Array;
}

export interface HardState {
  readonly term: number;
  readonly vote: NodeId;
  readonly commit: number;
}

export const MessageType = {
  append: 1,
  appendResponse: 2,
  heartbeat: 3,
  heartbeatResponse: 4,
  preVote: 5,
  preVoteResponse: 6,
  vote: 7,
  voteResponse: 8,
  timeoutNow: 9,
  readIndex: 10,
  readIndexResponse: 11,
  snapshot: 12,
  snapshotResponse: 13,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

export interface Message {
  readonly type: MessageType;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: number;
  /** append: index before the first entry. appendResponse: last index matched, or the one refused. votes: last index of the candidate. readIndexResponse: the read index. snapshot: the last index in it. snapshotResponse: of the one that the follower is at, or, refused, could not use. */
  readonly index: number;
  /** append: term at `index`. votes: term of the candidate's last entry. appendResponse when refused: term at `hint`. snapshot: term at `index`. */
  readonly logTerm: number;
  readonly entries: readonly Entry[];
  readonly commit: number;
  readonly reject: boolean;
  /** appendResponse when refused: where the follower's log may agree. */
  readonly hint: number;
  /**
   * heartbeat and its response: number of the round, which renews the lease and confirms read indexes. readIndex and its
   * response: the request's number. append, snapshot and their responses: the epoch of the leader's progress. A response repeats what
   * it answers, so the driver carries this field in every type.
   */
  readonly context: number;
  /** vote: true when the election is a leadership transfer, which overrides a follower's lease on its leader. */
  readonly transfer: boolean;
  /** readIndexResponse: the leader's log time in ms, for judging expiry; filled in by the driver. */
  readonly timeMs: number;
  /** snapshot: where to find it and how to check it; opaque to the core. */
  readonly reference: Uint8Array;
}

/** A snapshot by reference: the state after the entry at `index`. */
export interface SnapshotOffer {
  readonly index: number;
  readonly term: number;
  readonly reference: Uint8Array;
}

/**
 * What the core wants done. Taken whole, handled in this order, never held back. Several may be under way; their writes
 * end in the order of the Readies. leaseUntilMs() is published before any message leaves, for it may have been revoked.
 */
export interface Ready {
  /** Present when leader, role or term changed since the last Ready. */
  readonly softState?: { readonly role: Role; readonly leader: NodeId; readonly term: number };
  /** Persist before `messagesAfterPersist` are sent. Present when term or vote changed; a commit that advanced rides along with these or with entries. */
  readonly hardState?: HardState;
  /** Persist before `entries`, in one with `hardState`, which is then present: the log is empty and begins behind this, where a snapshot ends that was restored. */
  readonly reset?: LogBase;
  /** Persist in one with `entries` (or with `reset`): the configurations of the log as it then is. Present when they changed. */
  readonly configurations?: readonly ConfigurationAt[];
  /** Restore this snapshot, and say how that went (RaftNode.restored, restoreFailed). One at a time. */
  readonly restore?: SnapshotOffer;
  /** Persist, replacing everything from entries[0].index on. */
  readonly entries: readonly Entry[];
  /** May be sent at once, before or while `hardState` and `entries` are persisted (the leader's appends, heartbeats). */
  readonly messages: readonly Message[];
  /** PERSIST BEFORE SEND: `hardState` and `entries` of this Ready, and of all before it, are on disk before any of these leaves (votes, append responses). One addressed to this node itself goes back into step(). */
  readonly messagesAfterPersist: readonly Message[];
  /** Committed up to here; never goes back. The entries are in the log (storage or the core's unstable tail). */
  readonly commit: number;
  /** Read indexes that are now confirmed: serve the read once applied ≥ index. */
  readonly readStates: readonly ReadState[];
  /** Requests for a read index that can't be answered (no leader, or leadership lost); the asker tries again or fails. */
  readonly readFailures: readonly number[];
}

export interface ReadState {
  readonly context: number;
  readonly index: number;
  /** From the leader, ms; 0 when this node is the leader itself. */
  readonly timeMs: number;
}

/** What the core reads of the persisted (or handed-over) log. Synchronous. */
export interface RaftStorage {
  readonly hardState: HardState;
  /** The log begins behind it. It may move up at any time, not beyond what is committed and reported persisted. */
  readonly base: LogBase;
  readonly lastIndex: number;
  /** The base's included; undefined before it and behind the end. */
  term(index: number): number | undefined;
  /** Entries [from, to], at least one, as many as fit `bytesMax`. */
  entries(from: number, to: number, bytesMax: number): readonly Entry[];
}

export interface RaftConfig {
  readonly id: NodeId;
  /** As last persisted (Ready.configurations); what the node was made with, at index 0, if there are none. */
  readonly configurations: readonly ConfigurationAt[];
  readonly storage: RaftStorage;
  /** Ticks without word from a leader before an election, at least; each election draws from [electionTicks, 2 × electionTicks). */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Milliseconds of one tick; the driver never ticks sooner than this after the tick before. */
  readonly tickMs: number;
  /** Subtracted from the lease for clocks that run at different speeds. */
  readonly leaseDriftMs: number;
  readonly appendBytesMax: number;
  readonly inflightBytesMax: number;
  readonly inflightMessagesMax: number;
  readonly uncommittedBytesMax: number;
  /** How the leader confirms read indexes: by lease where it holds one, or always by a quorum round. */
  readonly readConsistency: 'lease' | 'quorum';
  /**
   * A commit index that no entries carry waits for RaftNode.tellCommit, and goes with the next entries if those come first:
   * under load that halves the messages. Without it, it is sent at once.
   */
  readonly holdsCommit?: boolean;
  /** True when this node has run before: it gives no vote for one election timeout (a single voter excepted). */
  readonly restarted: boolean;
  /** True while this node's log is not trusted (replaced member): it never campaigns and never votes until told otherwise. */
  readonly rejoining: boolean;
  /** The driver still loads the snapshot that the log begins behind: this node votes and keeps the log, and seeks no election before RaftNode.restored. */
  readonly loading?: boolean;
  /** A whole number in [0, bound). */
  readonly random: (bound: number) => number;
}

export type ProposeResult =
  | { readonly ok: true; readonly term: number; readonly index: number }
  | { readonly ok: false; readonly reason: 'not-leader' | 'transferring' | 'uncommitted-limit' };

/** Who is to vote and who to learn; `added` is the one of them who is no member yet. */
export interface ConfigurationChange {
  readonly voters: readonly NodeId[];
  readonly learners: readonly NodeId[];
  readonly added?: MemberAddress;
}

export type ChangeResult =
  | { readonly ok: true; readonly term: number; readonly index: number }
  /** 'change-under-way': another one, or none can begin until an entry of this term is committed. */
  | { readonly ok: false; readonly reason: 'not-leader' | 'transferring' | 'change-under-way' };

export interface PeerStatus {
  readonly id: NodeId;
  /** Of the current configuration, not an outgoing one. */
  readonly voter: boolean;
  readonly match: number;
  readonly next: number;
  /** 'unknown' unless this node leads. 'snapshot': it needs entries that are cut from this node's log. */
  readonly state: 'probe' | 'replicate' | 'snapshot' | 'unknown';
  /** Index of the snapshot that it starts from, or 0. */
  readonly pendingSnapshot: number;
  readonly muted: boolean;
  readonly recentActive: boolean;
}

export interface RaftStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: number;
  /** 0 when not known. */
  readonly leader: NodeId;
  readonly vote: NodeId;
  readonly commit: number;
  readonly lastIndex: number;
  /** The log up to here is on this node's disk. */
  readonly persistedIndex: number;
  readonly lastTimeMs: number;
  readonly rejoining: boolean;
  /** 0 when no transfer is under way. */
  readonly transferee: NodeId;
  readonly uncommittedBytes: number;
  /** Messages that no correct peer sends. */
  readonly ignoredMessages: number;
  /** In force, committed or not. */
  readonly configuration: Configuration;
  readonly configurationIndex: number;
  readonly peers: readonly PeerStatus[];
}
