// The committed log of a cluster, followed from outside it (the snapshotter; later, tools). Real:
// src/adapters/peer-log-feed.ts, over the peer port of whichever member answers. Tests have their own.
//
// What must hold:
// - Entries come once each, in order, without gaps, and are committed: none of them is ever taken back.
// - The bytes of each were checked against its CRC, its index and the order of terms and times.
// - To lose a member is no error: the feed goes on with another one, at the entry it had got to.

export interface FeedBatch {
  /** Sealed entries (src/base/entry.ts), consecutive; at least one. They are the reader's: nobody writes to them again. */
  readonly entries: readonly Uint8Array[];
  /** What the member knew to be committed when it answered; never below the last of `entries`. */
  readonly commitIndex: number;
}

/** The member that the feed hangs on, as of its last answer. */
export interface FeedStatus {
  readonly nodeName: string;
  readonly leader: boolean;
  /** First index that is still in that member's log. */
  readonly firstIndex: number;
  readonly commitIndex: number;
}

export interface LogFeed {
  /** '' until a member has answered, if it was not given at the start. */
  readonly clusterId: string;
  /**
   * Committed entries from `from` on, and then each as it comes; waits for members that cannot be reached, however
   * long. Ends by itself only after close(). Throws OperationalError:
   * - LOG_CUT where `from` is no longer in the log of any member that could be asked; the text names the first index
   *   that is (also `status().firstIndex`);
   * - PEER where members answer, but refuse us (another secret, another cluster) or what they send is not their log.
   * At most one iteration at a time.
   */
  entries(from: number): AsyncIterable<FeedBatch>;
  /** Undefined while no member answers. */
  status(): FeedStatus | undefined;
  /** Ends the iteration that runs, if any, and the connection. */
  close(): void;
}
