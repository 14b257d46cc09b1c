// What a snapshotter is made with.
import type { MemberAddress } from '../base/configuration.ts';
import type { CommandTable } from '../commands/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { LogFeed } from '../ports/log-feed.ts';
import type { Logger } from '../ports/logger.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Publisher } from '../ports/publisher.ts';
import type { RetentionRules } from './catalog.ts';
import type { SnapshotFacts, SnapshotSource } from './stored-snapshot.ts';

export interface SnapshotterRules {
  readonly logBytes: number;
  readonly intervalMs: number;
  readonly archiveIntervalMs: number;
  /** A window of Infinity: nothing is deleted but what was never a snapshot. */
  readonly retention: RetentionRules;
}

/** A snapshot outside the store that the cluster began from (restore-files.ts). */
export interface Seed extends SnapshotFacts {
  readonly source: SnapshotSource;
}

export interface SnapshotterOptions {
  readonly clusterId: string;
  readonly store: ObjectStore;
  /** A feed for each run of the tasks; it is closed when they end. */
  readonly openFeed: () => LogFeed;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly table: CommandTable;
  readonly release: string;
  readonly encryptionKeyId: string | null;
  /** In hex. */
  readonly sha256: (bytes: Uint8Array) => string;
  readonly rules: SnapshotterRules;
  /** Who the members are now, by the log: whom to follow, and to talk with. */
  readonly membersChanged?: (members: readonly MemberAddress[]) => void;
  /** Asked for where the store has no snapshot. */
  readonly seed?: () => Promise<Seed | undefined>;
}
