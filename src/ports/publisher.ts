// How the snapshotter talks with its cluster: it has a snapshot published, says how far it is, and hears what is asked of it.
// Real: src/cli/resp-publisher.ts, over a client connection (HOLDFAST PUBLISH and HOLDFAST SNAPSHOTTER).

export interface PublishedSnapshot {
  /** The last entry of the log that is in it. */
  readonly index: number;
  readonly term: number;
  readonly manifestKey: string;
  /** SHA-256 of the manifest, in hex. */
  readonly manifestSha256: string;
  /** Of the machine, 16 hex digits. */
  readonly digest: string;
}

export type SnapshotterState = 'starting' | 'following' | 'writing' | 'verifying' | 'waiting for the object store';

/** What INFO and the log show. */
export interface SnapshotterProgress {
  readonly state: SnapshotterState;
  /** Last entries: applied by the snapshotter, in the archive, committed as far as it knows. */
  readonly appliedIndex: number;
  readonly archivedIndex: number;
  readonly commitIndex: number;
  /** How far the archive is behind, ms; 0: not at all. */
  readonly archiveLagMs: number;
  /** Of the snapshot being written or loaded again: bytes so far, and in all (0: not known yet). */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** Bytes of log since the last snapshot. */
  readonly logBytes: number;
  /** The leader is asked for a checkpoint record behind this entry; 0: for none. */
  readonly checkpointBehind: number;
  /** The newest snapshot that the log has confirmed; its index is 0 if there is none. */
  readonly snapshotIndex: number;
  readonly snapshotMs: number;
  readonly snapshotBytes: number;
  readonly snapshotKeys: number;
  /** The last trouble, empty if there is none now. */
  readonly fault: string;
}

export interface SnapshotterOrders {
  /** Somebody asked for a snapshot that has this entry in it; 0: nobody waits for one. */
  readonly snapshotIndexMin: number;
}

export interface Publisher {
  /**
   * Has the log record it. 'stale': this one or a newer one is published already. Rejects where that could not be
   * done or is not known; it may be repeated then.
   */
  publish(snapshot: PublishedSnapshot): Promise<'published' | 'stale'>;
  /** Rejects while no node can be reached. */
  report(progress: SnapshotterProgress): Promise<SnapshotterOrders>;
}
