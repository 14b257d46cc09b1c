// The link between a node's two threads: the engine (clients, keyspace, replies) and consensus (Raft, peers, log).
// They share no objects; everything crosses here, in order, each way. Real: a MessagePort (src/adapters/thread-link.ts).
// Simulated: test/simulation, where either side can stall alone.
//
// What must hold:
// - Messages arrive in the order sent, each exactly once, as long as both threads live.
// - A Uint8Array in a message is handed over: the sender does not touch it again.

import type { ConfigurationAt, MemberAddress } from '../base/configuration.ts';
import type { LogBase } from '../base/log-base.ts';
import type { PieceAnswer, PieceRequest } from './snapshot-pieces.ts';

/** A snapshot by reference: the state after the entry at `index`; where to find it is for whoever restores it to read. */
export interface SnapshotReference {
  readonly index: number;
  readonly term: number;
  readonly reference: Uint8Array;
}

/** Engine → consensus. */
export type EngineMessage =
  /** One batch as an entry with an open header (src/base/entry.ts), for this node as leader of `term` and no other. Answered by `committed` or `refused`; by `appended` as soon as the role or term changes before that. */
  | { readonly type: 'propose'; readonly id: number; readonly term: number; readonly entry: Uint8Array }
  /** Records for the leader of `term` (known to be `leader`), from this node's clients. Answered only if refused. */
  | {
      readonly type: 'forward';
      readonly id: number;
      readonly leader: number;
      readonly term: number;
      readonly count: number;
      readonly records: Uint8Array;
    }
  /** The leader's engine does not take a batch that a peer forwarded. */
  | { readonly type: 'forward-refused'; readonly to: number; readonly id: number; readonly term: number; readonly reason: string }
  /** Asks for a read index. Answered by `read-state` or `read-failed`. */
  | { readonly type: 'read-index'; readonly id: number }
  /** The engine has applied up to here, `bytes` since it last said so; releases the apply window. Not sent for every entry. */
  | { readonly type: 'applied'; readonly index: number; readonly bytes: number }
  | { readonly type: 'transfer'; readonly id: number; readonly target: number }
  /** A record was applied that publishes this snapshot: the log may be cut up to there. */
  | { readonly type: 'published'; readonly snapshot: SnapshotReference }
  /** The engine holds a machine of a snapshot: the one that `restore` asked for, or the one that this node starts from. Answered by `installed`. */
  | { readonly type: 'restored'; readonly base: LogBase; readonly configuration: ConfigurationAt | undefined }
  | { readonly type: 'restore-failed'; readonly index: number }
  | { readonly type: 'status'; readonly id: number }
  /** Answers `piece-asked`. */
  | { readonly type: 'piece'; readonly id: number; readonly answer: PieceAnswer }
  /** The log on this node's disk may have so many bytes from now on; 0: as many as there is room for. */
  | { readonly type: 'limit-log'; readonly bytes: number }
  /** A member comes or goes. Answered by `members-changed` when it is so, or is known not to have begun, or nobody can tell. */
  | { readonly type: 'change-members'; readonly id: number; readonly change: MemberChange }
  | { readonly type: 'shutdown' };

/** What an operator asks of the members. */
export type MemberChange =
  | { readonly kind: 'add'; readonly name: string; readonly host: string; readonly peerPort: number; readonly clientPort: number }
  | { readonly kind: 'remove'; readonly name: string };

/** A committed entry on its way to the engine: its bytes, or the number of the engine's own proposal that has them. */
export interface CommittedEntry {
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
  /** The engine's proposal, or 0. */
  readonly proposal: number;
  /** The sealed entry; empty when `proposal` names it. */
  readonly bytes: Uint8Array;
  /** Of an own proposal: when consensus took it up, had it on disk, and saw it committed; monotonic ms, else 0. */
  readonly takenMs: number;
  readonly persistedMs: number;
  readonly committedMs: number;
}

export interface MemberState extends MemberAddress {
  /** leaving: a voter until the change that is under way is over. */
  readonly role: 'voter' | 'learner' | 'leaving';
  /** The data directory that it is known by; empty if it was never met. */
  readonly incarnation: string;
  readonly match: number;
  readonly connected: boolean;
  /** Milliseconds since it was last heard from; -1 if never. */
  readonly silentMs: number;
}

/** This node's log on disk, and why it is not shorter. */
export interface LogState {
  readonly bytes: number;
  /** 0: no limit. */
  readonly bytesMax: number;
  /** It has reached that: as leader this node takes no more writes. */
  readonly isFull: boolean;
  /** Raft id of the follower that needs what is kept; 0: it is kept as no newer snapshot is known to hold it. */
  readonly heldBy: number;
  /** Up to there it could be cut, if nothing were kept as a margin; so many entries and bytes of it are behind. */
  readonly heldAt: number;
  readonly heldEntries: number;
  readonly heldBytes: number;
}

/** Consensus → engine. */
export type ConsensusMessage =
  | { readonly type: 'state'; readonly role: RaftRole; readonly leader: number; readonly term: number }
  /** Where a proposal stands in the log, which may yet lose it. Sent before `state` says that role or term changed. */
  | { readonly type: 'appended'; readonly id: number; readonly term: number; readonly index: number }
  | { readonly type: 'refused'; readonly id: number; readonly reason: string }
  | { readonly type: 'forward-failed'; readonly id: number; readonly reason: string }
  /** A peer's clients' records, for this node as leader of `term`. */
  | {
      readonly type: 'forwarded';
      readonly from: number;
      readonly id: number;
      readonly term: number;
      readonly count: number;
      readonly records: Uint8Array;
    }
  | { readonly type: 'committed'; readonly entries: readonly CommittedEntry[] }
  /** This node is too far behind for the log: a machine is to be made of this snapshot, beside the one that serves. Answered by `restored` or `restore-failed`. */
  | { readonly type: 'restore'; readonly snapshot: SnapshotReference }
  /** Somebody wants a piece of a snapshot that this node may have. Answered by `piece`. */
  | { readonly type: 'piece-asked'; readonly id: number; readonly request: PieceRequest }
  /** With `accepted` the machine that was restored takes over, and the next entry committed is the one behind `index`; else it is not needed any more. */
  | { readonly type: 'installed'; readonly index: number; readonly accepted: boolean }
  /** The log on this node's disk has reached its limit, or is below it again. */
  | { readonly type: 'log-room'; readonly isFull: boolean }
  | { readonly type: 'read-state'; readonly id: number; readonly index: number; readonly timeMs: number }
  | { readonly type: 'read-failed'; readonly id: number }
  | { readonly type: 'transferred'; readonly id: number; readonly error: string | undefined }
  | {
      readonly type: 'status';
      readonly id: number;
      /** Of this node's log: the first that is kept, and the last. */
      readonly firstIndex: number;
      readonly lastIndex: number;
      readonly commitIndex: number;
      readonly log: LogState;
      readonly members: readonly MemberState[];
      /** A change of members is under way, as far as this node knows. */
      readonly changing: boolean;
    }
  /** Who they are from now on; sent before anything else, and after every change. */
  | { readonly type: 'members'; readonly members: readonly MemberAddress[] }
  | { readonly type: 'members-changed'; readonly id: number; readonly error: string | undefined }
  /** Consensus has stopped accepting anything; the process ends with this text (empty: a clean stop). */
  | { readonly type: 'stopped'; readonly reason: string }
  /** The log store failed: nothing is acknowledged from here on. The node stays up for reads at the levels that allow it. */
  | { readonly type: 'log-failed'; readonly reason: string };

export type RaftRole = 'follower' | 'precandidate' | 'candidate' | 'leader';

export interface EngineLink {
  send(message: EngineMessage): void;
  /** Hands over at once what has arrived, in order, instead of when the event loop comes to it. */
  poll(): void;
  onMessage(handler: (message: ConsensusMessage) => void): void;
}

export interface ConsensusLink {
  send(message: ConsensusMessage): void;
  onMessage(handler: (message: EngineMessage) => void): void;
}
