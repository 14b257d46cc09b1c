// How much of the log this node keeps: told of each published snapshot, it offers that to followers that are too far behind,
// and cuts the log. Owns the decision, not the log.
//
// What must hold: nothing behind the newest published snapshot is cut, nor anything that is not on this node's disk.
import { MiB } from '../base/limits.ts';
import type { Logger } from '../ports/logger.ts';
import type { RaftNode } from '../raft/raft.ts';
import type { SnapshotOffer } from '../raft/types.ts';
import type { CachedLog } from './cached-log.ts';

export interface LogKeeperOptions {
  readonly log: CachedLog;
  readonly raft: RaftNode;
  readonly logger: Logger;
  readonly isConnected: (node: number) => boolean;
  /** Bytes of entries that are kept for slow followers, snapshot or not. */
  readonly keepBytes: number;
  /** As many at most, whatever a connected follower still needs. */
  readonly keepBytesMax: number;
}

export const LOG_KEEP_BYTES = 64 * MiB;
export const LOG_KEEP_BYTES_MAX = 1024 * MiB;
/** Followers move on: what may be cut is looked at again this often. */
const TICKS_BETWEEN_LOOKS = 20;

export class LogKeeper {
  readonly #options: LogKeeperOptions;
  #published: SnapshotOffer | undefined;
  #ticks = 0;
  #warnings = 0;

  constructor(options: LogKeeperOptions) {
    this.#options = options;
  }

  /** The record that published it is applied here. */
  published(offer: SnapshotOffer): void {
    if (offer.index <= (this.#published?.index ?? 0)) return;
    const { log, logger } = this.#options;
    const term = log.term(offer.index);
    if (term !== undefined && term !== offer.term) {
      logger.error({ index: offer.index, term: offer.term, own: term }, 'a snapshot is published that is not of this log: it is passed over');
      return;
    }
    this.#published = offer;
    this.#options.raft.offerSnapshot(offer);
    this.#cut();
  }

  tick(): void {
    this.#ticks++;
    if (this.#ticks % TICKS_BETWEEN_LOOKS !== 0) return;
    this.#cut();
    this.#warn();
  }

  /** A log that grows is told of at twice the most that followers may need of it, and each time that it has doubled. */
  #warn(): void {
    const { log, logger, keepBytesMax } = this.#options;
    const isBeyond = (bytes: number): boolean => log.cutKeeping(bytes) > log.base.index;
    while (this.#warnings > 0 && !isBeyond(keepBytesMax * 2 ** (this.#warnings - 1))) this.#warnings--;
    if (keepBytesMax === 0 || !isBeyond(keepBytesMax * 2 ** (this.#warnings + 1))) return;
    this.#warnings++;
    const megabytesMin = Math.floor((keepBytesMax * 2 ** this.#warnings) / MiB);
    logger.warn({ megabytesMin, firstIndex: log.firstIndex, lastIndex: log.lastIndex, snapshot: this.#published?.index ?? 'none' }, 'the log grows, as no newer snapshot is published that this node finds in the object store: see the snapshotter, or make room on this disk');
  }

  #cut(): void {
    const { log, logger } = this.#options;
    const to = this.#cutTo();
    if (to <= log.base.index) return;
    const entries = to - log.base.index;
    log.cut(to);
    logger.info({ to, entries, snapshot: this.#published?.index, lastIndex: log.lastIndex }, 'the log is cut: a published snapshot holds what was before');
  }

  #cutTo(): number {
    const { log, raft, keepBytes, keepBytesMax } = this.#options;
    if (this.#published === undefined || this.#published.index <= log.base.index) return 0;
    const wanted = Math.min(log.cutKeeping(keepBytes), this.#neededFrom() - 1);
    return Math.min(this.#published.index, raft.status().persistedIndex, Math.max(wanted, log.cutKeeping(keepBytesMax)));
  }

  /** The first entry that a connected follower may still ask this leader for. */
  #neededFrom(): number {
    const { raft, isConnected } = this.#options;
    let first = Infinity;
    for (const peer of raft.status().peers) {
      if (peer.state !== 'unknown' && isConnected(peer.id)) first = Math.min(first, Math.max(peer.match, peer.pendingSnapshot) + 1);
    }
    return first;
  }
}
