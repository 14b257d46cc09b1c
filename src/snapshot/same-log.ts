// Whether the log that is followed is the one that the archive is of. A cluster that was made anew under the id of an old one, and
// one whose nodes went back to an earlier state of their disks, have other entries under the same indexes: a snapshot made of the
// one and the other would be of no cluster, and nodes would cut their logs for it.
//
// What must hold: until the last archived entry was found in the log, with its term and its log time, nothing of the log is
// archived, nothing is published, and nothing deleted.
import { must } from '../base/assert.ts';
import { entryIndex, entryTerm, entryTimeMs } from '../base/entry.ts';
import { OperationalError } from '../base/errors.ts';
import type { Machine } from '../machine/machine.ts';
import type { FeedStatus, LogFeed } from '../ports/log-feed.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { type ArchivedSegment, damageOf } from './archiver.ts';
import { readSegmentHeader, SEGMENT_HEADER_BYTES } from './segments.ts';

/** A member whose log ends before the archive for longer than this is told of: one that is merely behind has caught up by then. */
const SHORT_LOG_MS = 30_000;

export interface LogPlace {
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
}

/** The last entry that is archived, or in the snapshot where nothing is archived behind it. */
export async function lastPlace(store: ObjectStore, segments: readonly ArchivedSegment[], machine: Machine): Promise<LogPlace> {
  const last = segments.at(-1);
  if (last === undefined) return { index: machine.appliedIndex, term: machine.appliedTerm, timeMs: machine.timeMs };
  try {
    const header = await readSegmentHeader(await store.get(last.key, { range: { from: 0, to: SEGMENT_HEADER_BYTES } }), last.key);
    return { index: header.lastIndex, term: header.lastTerm, timeMs: header.lastTimeMs };
  } catch (thrown) {
    throw damageOf(last.key, thrown);
  }
}

export class SameLog {
  /** Its index is 0 if there is none. */
  readonly #last: LogPlace;
  #proven: boolean;
  /** Since when the log ends before it; monotonic. */
  #shortSinceMs: number | undefined;

  constructor(last: LogPlace) {
    this.#last = last;
    this.#proven = last.index === 0;
  }

  get proven(): boolean {
    return this.#proven;
  }

  /** Looks for the entry; throws where another one is in its place. Not proven afterwards: the feed has ended. `what` begins the text. */
  async prove(feed: LogFeed, what: string): Promise<void> {
    if (this.#proven) return;
    try {
      for await (const { entries } of feed.entries(this.#last.index)) {
        this.#compare(must(entries[0]), what);
        this.#proven = true;
        return;
      }
    } catch (thrown) {
      if (!isCut(thrown)) throw thrown;
      // Cut for a snapshot that this log has published itself: there is nothing left to compare with.
      this.#proven = true;
    }
  }

  #compare(entry: Uint8Array, what: string): void {
    const { index, term, timeMs } = this.#last;
    if (entryIndex(entry) === index && entryTerm(entry) === term && entryTimeMs(entry) === timeMs) return;
    throw new OperationalError(
      'SNAPSHOT',
      `${what} is of another log: entry ${index} is there of term ${term} and log time ${timeMs}, and in the log of the nodes of term ${entryTerm(entry)} and log time ${entryTimeMs(entry)}. ` +
        "Was the cluster made anew under the old one's id, or did its nodes go back to an earlier state? Nothing is archived: give the new cluster an object-store or a cluster-id of its own, " +
        'or move the old folder away; holdfast restore still has what is in it',
    );
  }

  /** What to say where the archive reaches further than the log does, for long; else empty. */
  shortLog(status: FeedStatus | undefined, nowMs: number): string {
    const { index } = this.#last;
    if (this.#proven || status === undefined || status.commitIndex >= index) {
      this.#shortSinceMs = undefined;
      return '';
    }
    this.#shortSinceMs ??= nowMs;
    if (nowMs - this.#shortSinceMs < SHORT_LOG_MS) return '';
    return `the archive reaches to entry ${index}, and the log of ${status.nodeName} only to ${status.commitIndex}: it is of another cluster with the same id, or the nodes went back; nothing is archived`;
  }
}

export function isCut(thrown: unknown): boolean {
  return thrown instanceof OperationalError && thrown.code === 'LOG_CUT';
}
