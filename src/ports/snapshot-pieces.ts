// Snapshots by pieces, from the peers of this node: for one that finds no snapshot of the cluster in an object store of its own
// (docs/decisions/0010-snapshot-from-a-peer.md). Real: src/adapters/peer-pieces.ts asks, src/replica/piece-server.ts answers.
//
// What must hold:
// - A request names a part of a snapshot by the reference of its manifest, never a place.
// - The bytes of a piece are as they left the other side. Whether they are the snapshot's is for the reader to find out: by the
//   SHA-256 of the reference and of the manifest.
import { KiB } from '../base/limits.ts';

/** The most that one piece may have. */
export const PIECE_BYTES_MAX = 512 * KiB;

/** Their places are what the wire says. */
export const PIECE_PARTS = ['manifest', 'state', 'data'] as const;
export type PiecePart = (typeof PIECE_PARTS)[number];

export interface PieceRequest {
  readonly manifestKey: string;
  /** 64 hex digits. */
  readonly manifestSha256: string;
  readonly part: PiecePart;
  readonly from: number;
  /** From 1 to PIECE_BYTES_MAX. */
  readonly bytesMax: number;
}

export interface Piece {
  /** At least one, unless the part is empty. */
  readonly bytes: Uint8Array;
  /** Of the whole part. */
  readonly totalBytes: number;
}

/** The piece, or why this node does not have it. */
export type PieceAnswer = Piece | { readonly absent: string };

export interface PieceReader {
  /** There is somebody to ask. */
  readonly hasPeers: boolean;
  /** Throws OperationalError: OBJECT_NOT_FOUND where every peer has said that it does not have it, PEER where not all could be asked. */
  read(request: PieceRequest): Promise<Piece>;
  /** What the peer gave that was read from last does not hold: it is not asked again before `close`. */
  distrust(): void;
  /** Lets the connection go, until the next read. */
  close(): void;
}
