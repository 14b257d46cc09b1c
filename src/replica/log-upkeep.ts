// What consensus does about its log besides writing it: cuts it (log-keeper.ts) and watches its size (log-limit.ts).
import type { LogState } from '../ports/link.ts';
import type { RaftNode } from '../raft/raft.ts';
import type { SnapshotOffer } from '../raft/types.ts';
import type { CachedLog } from './cached-log.ts';
import type { ConsensusOptions } from './consensus-options.ts';
import { LOG_KEEP_BYTES, LOG_KEEP_BYTES_MAX, LogKeeper } from './log-keeper.ts';
import { LogLimit } from './log-limit.ts';

export interface LogUpkeepHost {
  readonly log: CachedLog;
  readonly raft: RaftNode;
  readonly isConnected: (node: number) => boolean;
  readonly memberName: (node: number) => string;
}

export class LogUpkeep {
  readonly #keeper: LogKeeper;
  readonly #limit: LogLimit;

  constructor(options: Pick<ConsensusOptions, 'link' | 'logger' | 'logKeepBytes' | 'logKeepBytesMax' | 'logDiskBytesMax'>, host: LogUpkeepHost) {
    const { link, logger } = options;
    const { log, raft, memberName } = host;
    this.#keeper = new LogKeeper({
      ...host, logger,
      keepBytes: options.logKeepBytes ?? LOG_KEEP_BYTES,
      keepBytesMax: options.logKeepBytesMax ?? LOG_KEEP_BYTES_MAX,
      diskBytesMax: () => this.#limit.bytesMax,
    });
    this.#limit = new LogLimit({
      link, logger, memberName,
      bytesMax: options.logDiskBytesMax ?? 0,
      sizeBytes: () => log.sizeBytes(),
      leads: () => raft.role === 'leader',
      held: () => this.#keeper.held(),
    });
  }

  /** The record that published it is applied here, and this node has found it. */
  published(offer: SnapshotOffer): void {
    this.#keeper.published(offer);
  }

  limit(bytesMax: number): void {
    this.#limit.bytesMax = bytesMax;
  }

  state(): LogState {
    return this.#limit.state();
  }

  tick(): void {
    this.#keeper.tick();
    this.#limit.look();
  }
}
