// How much of the log this node keeps: told of each published snapshot, it offers that to followers that are too far behind,
// and cuts the log. Owns the decision, not the log.
//
// What must hold:
// - Nothing behind the newest published snapshot is cut, nor anything that is not on this node's disk.
// - For a connected follower that starts from a snapshot, and until it has come within keepBytesMax of the end, what it will ask
//   for next is kept up to startKeepBytes: else it would be told of the next snapshot when it has loaded this one, and so on.
// - Nothing is kept for followers that would leave a log at its limit on disk there once a snapshot is published: writes would not come back.
import { LOG_DISK_BYTES_MIN, MiB } from '../base/limits.ts';
import type { LogState } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';
import type { RaftNode } from '../raft/raft.ts';
import type { PeerStatus, SnapshotOffer } from '../raft/types.ts';
import type { CachedLog } from './cached-log.ts';

export interface LogKeeperOptions {
  readonly log: CachedLog;
  readonly raft: RaftNode;
  readonly logger: Logger;
  readonly isConnected: (node: number) => boolean;
  readonly memberName: (node: number) => string;
  /** Bytes of entries that are kept for slow followers, snapshot or not. */
  readonly keepBytes: number;
  /** As many at most, whatever a connected follower still needs. */
  readonly keepBytesMax: number;
  /** The limit of the log on disk, 0 for none. */
  readonly diskBytesMax: () => number;
}

export const LOG_KEEP_BYTES = 64 * MiB;
export const LOG_KEEP_BYTES_MAX = 1024 * MiB;
/** Kept at most for followers: this share of the limit of the log on disk, beside what its segments need. */
const KEEP_SHARE = 0.5;
/** Kept at most for one that starts from a snapshot: the same, or where there is no limit so many times keepBytesMax. */
const START_KEEP_TIMES = 8;
/** Followers move on: what may be cut is looked at again this often. */
const TICKS_BETWEEN_LOOKS = 20;

interface Need {
  /** The follower that needs the first entry; 0: none. */
  readonly id: number;
  /** It has what is before, or a snapshot of it. */
  readonly has: number;
}

const NO_NEED: Need = { id: 0, has: Infinity };

export class LogKeeper {
  readonly #options: LogKeeperOptions;
  #published: SnapshotOffer | undefined;
  /** Followers that were seen at a snapshot, and have not been near the log's end since. */
  readonly #starting = new Set<number>();
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

  /** What the log waits for before more of it may go. */
  held(): Pick<LogState, 'heldBy' | 'heldAt' | 'heldEntries' | 'heldBytes'> {
    const { log } = this.#options;
    const snapshot = Math.max(this.#published?.index ?? 0, log.base.index);
    const { id, has } = this.#need(this.#followers());
    const heldAt = Math.max(Math.min(snapshot, has), log.base.index);
    return { heldBy: has < snapshot ? id : 0, heldAt, heldEntries: log.lastIndex - heldAt, heldBytes: log.behind(heldAt) };
  }

  /** A log that grows is told of at twice the most that followers may need of it, and each time that it has doubled. */
  #warn(): void {
    const { log, logger, memberName, keepBytesMax } = this.#options;
    const isBeyond = (bytes: number): boolean => log.cutKeeping(bytes) > log.base.index;
    while (this.#warnings > 0 && !isBeyond(keepBytesMax * 2 ** (this.#warnings - 1))) this.#warnings--;
    if (keepBytesMax === 0 || !isBeyond(keepBytesMax * 2 ** (this.#warnings + 1))) return;
    this.#warnings++;
    const megabytesMin = Math.floor((keepBytesMax * 2 ** this.#warnings) / MiB);
    const { id, has } = this.#need(this.#followers());
    const fields = { megabytesMin, firstIndex: log.firstIndex, lastIndex: log.lastIndex, snapshot: this.#published?.index ?? 'none' };
    if (this.#starting.has(id) && has < (this.#published?.index ?? 0)) {
      logger.warn({ ...fields, follower: memberName(id), has }, 'the log grows, as a follower that starts from a snapshot needs what came since');
    } else {
      logger.warn(fields, 'the log grows, as no newer snapshot is published that this node finds in the object store: see the snapshotter, or make room on this disk');
    }
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
    const { log, raft, keepBytes } = this.#options;
    const followers = this.#followers();
    this.#noteStarting(followers);
    if (this.#published === undefined || this.#published.index <= log.base.index) return 0;
    const wanted = Math.min(log.cutKeeping(keepBytes), this.#need(followers).has);
    const starting = this.#need(followers.filter(({ id }) => this.#starting.has(id))).has;
    return Math.min(
      this.#published.index,
      raft.status().persistedIndex,
      Math.max(wanted, log.cutKeeping(this.#keepBytesMax)),
      Math.max(starting, log.cutKeeping(this.#startKeepBytes)),
    );
  }

  get #keepBytesMax(): number {
    return Math.min(this.#options.keepBytesMax, this.#diskShare ?? Infinity);
  }

  get #startKeepBytes(): number {
    return this.#diskShare ?? START_KEEP_TIMES * this.#options.keepBytesMax;
  }

  get #diskShare(): number | undefined {
    const bytesMax = this.#options.diskBytesMax();
    return bytesMax === 0 ? undefined : KEEP_SHARE * Math.max(0, bytesMax - LOG_DISK_BYTES_MIN);
  }

  /** Those that may ask this leader for entries. */
  #followers(): PeerStatus[] {
    const { raft, isConnected } = this.#options;
    return raft.status().peers.filter((peer) => peer.state !== 'unknown' && isConnected(peer.id));
  }

  #noteStarting(followers: readonly PeerStatus[]): void {
    const { log } = this.#options;
    for (const id of this.#starting) if (!followers.some((peer) => peer.id === id)) this.#starting.delete(id);
    for (const peer of followers) {
      if (peer.state === 'snapshot') {
        // One that is at none is told of the newest.
        if (peer.pendingSnapshot > 0) this.#starting.add(peer.id);
        else this.#starting.delete(peer.id);
      } else if (peer.match >= log.cutKeeping(this.#keepBytesMax)) {
        this.#starting.delete(peer.id);
      }
    }
  }

  /** Who of them is furthest behind. */
  #need(followers: readonly PeerStatus[]): Need {
    let need = NO_NEED;
    for (const peer of followers) {
      const has = Math.max(peer.match, peer.pendingSnapshot);
      if (has < need.has) need = { id: peer.id, has };
    }
    return need;
  }
}
