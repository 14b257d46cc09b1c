// Pieces of snapshots for observers: passes each request to the engine, which reads, and the answer back. Owns the pace.
//
// What must hold: all who ask together get PIECE_BYTES_PER_SECOND_MAX, and each has one request under way, so that neither disk nor
// network nor either thread is taken up by it. Nothing of Raft waits for it: it stands on connections of its own.
import type { Clock } from '../ports/clock.ts';
import type { ConsensusLink } from '../ports/link.ts';
import type { ObserverTransport } from '../ports/observers.ts';
import type { PieceAnswer, PieceRequest } from '../ports/snapshot-pieces.ts';
import { MiB } from '../base/limits.ts';

export const PIECE_BYTES_PER_SECOND_MAX = 64 * MiB;

export interface PieceServerOptions {
  readonly observers: ObserverTransport;
  readonly link: ConsensusLink;
  readonly clock: Clock;
  readonly isHalted: () => boolean;
}

export class PieceServer {
  readonly #options: PieceServerOptions;
  /** Observers that wait for an answer. */
  readonly #asking = new Set<number>();
  /** When what was given out so far is paid for. */
  #paidMs = 0;

  constructor(options: PieceServerOptions) {
    this.#options = options;
  }

  ask(observer: number, request: PieceRequest): void {
    const { clock, link, isHalted } = this.#options;
    this.#asking.add(observer);
    const now = clock.monotonicMs();
    const startMs = Math.max(now, this.#paidMs);
    // Paid for in advance, at the most that it may be: many who ask at once are served one after another.
    this.#paidMs = startMs + (1000 * request.bytesMax) / PIECE_BYTES_PER_SECOND_MAX;
    clock.after(startMs - now, () => {
      if (this.#asking.has(observer) && !isHalted()) link.send({ type: 'piece-asked', id: observer, request });
    });
  }

  /** The engine's answer. */
  answered(observer: number, answer: PieceAnswer): void {
    if (this.#asking.delete(observer)) this.#options.observers.answerPiece(observer, answer);
  }

  gone(observer: number): void {
    this.#asking.delete(observer);
  }
}
