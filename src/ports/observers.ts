// Observers of a node: those that follow its committed log and are no members (src/ports/log-feed.ts has their side), and members
// that fetch a snapshot (src/ports/snapshot-pieces.ts), which are no members in that.
// Real: src/adapters/tcp-peers.ts, on the peer port. The replica's side is src/replica/log-feed.ts.
//
// What must hold:
// - An observer has proved the cluster secret. It is never counted in anything, and gets answers to its fetches only.
// - One question at a time: a second before the answer to the first is out ends its connection. Likewise all else that
//   it sends, and is neither a fetch of the log nor a request for a piece of a snapshot.
import type { PieceAnswer, PieceRequest } from './snapshot-pieces.ts';

export interface FeedAnswer {
  /** Sealed and committed, from the index that was asked for; empty if there is none yet, or the log begins after it. */
  readonly entries: readonly Uint8Array[];
  /** Of this node's log, and how far it knows it committed. */
  readonly firstIndex: number;
  readonly commitIndex: number;
  /** This node leads; a leader is known to it. */
  readonly leads: boolean;
  readonly hasLeader: boolean;
}

export interface ObserverEvents {
  /** Why no observer is let in at the moment, or undefined. */
  admit(): string | undefined;
  /** Asks for entries from `from` (≥ 1) on. */
  fetch(observer: number, from: number): void;
  /** Asks for a piece of a snapshot. */
  piece(observer: number, request: PieceRequest): void;
  gone(observer: number): void;
}

export interface ObserverTransport {
  /** Before start() of the transport. */
  observe(events: ObserverEvents): void;
  /** Answers the fetch of this observer. It has the next one only when the kernel has taken all of this. */
  answer(observer: number, answer: FeedAnswer): void;
  /** Answers its request for a piece, likewise. */
  answerPiece(observer: number, answer: PieceAnswer): void;
  /** Ends its connection: `gone` is called before this returns. */
  dropObserver(observer: number, reason: string): void;
}
