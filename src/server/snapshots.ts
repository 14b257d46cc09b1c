// What a node knows of snapshots (SnapshotPort): the published one, from the log; the last report of each snapshotter, of which the
// best is told; who asked for one and waits. Owns the requests and the reports. Makes no snapshot: the snapshotter does, in its own process.
//
// What must hold: a request is answered by a published snapshot with all that was applied here when it was made, not by any
// earlier one.
import type { PublishedRecord } from '../commands/publishing.ts';
import type { SnapshotPort } from '../commands/ports.ts';
import type { Machine } from '../machine/machine.ts';
import type { SnapshotterOrders, SnapshotterProgress } from '../ports/publisher.ts';

/** A snapshotter that has not reported for this long is taken for gone. */
export const SNAPSHOTTER_SILENT_MS = 30_000;
/** The snapshotter's trouble ends a SAVE only if it is still there so long after it was asked for: it may be of before. */
export const SAVE_FAULT_AFTER_MS = 3000;
/** How often changes are counted for rdb_changes_since_last_save, ms, and how many counts are kept. */
const COUNT_EVERY_MS = 1000;
const COUNTS_MAX = 4096;

export interface SnapshotsHost {
  readonly machine: () => Machine;
  readonly hasObjectStore: boolean;
  readonly startedAtMs: number;
  readonly monotonicMs: () => number;
}

/** Snapshotters whose reports are kept. */
const REPORTERS_MAX = 16;

interface Heard {
  readonly report: SnapshotterProgress;
  /** Monotonic. */
  readonly atMs: number;
}

interface Waiter {
  readonly session: number;
  readonly index: number;
  readonly sinceMs: number;
  readonly done: (error: string | undefined) => void;
}

export interface SnapshotInfo {
  readonly lastSaveMs: number;
  readonly changes: number;
  readonly saving: boolean;
  readonly lastOk: boolean;
  /** Seconds, −1 if there was none. */
  readonly lastSaveSeconds: number;
  readonly currentSaveSeconds: number;
  readonly index: number;
  readonly timeMs: number;
  readonly snapshotterState: string;
  /** Seconds, −1 if it is not known. */
  readonly archiveLagSeconds: number;
}

export class Snapshots implements SnapshotPort {
  readonly #host: SnapshotsHost;
  /** By the name of the snapshotter. */
  readonly #heard = new Map<string, Heard>();
  readonly #startedMs: number;
  /** The newest request wants this entry in a snapshot; 0: there is none, or it is answered. */
  #wantedIndex = 0;
  #waiters: Waiter[] = [];
  /** Since when a snapshot is being made; −1: none is. */
  #savingSinceMs = -1;
  #lastSaveSeconds = -1;
  /** Changes by the machine's count at some indexes, in order, and when: to tell how many came after a snapshot, and how old the first is that is not archived. */
  #counts: { readonly index: number; readonly dirty: number; readonly atMs: number }[] = [];
  #countedMs = -Infinity;
  #publishedSeen = 0;
  /** Monotonic. */
  #publishedSeenMs = -Infinity;
  #dirtyAtSave = 0;

  constructor(host: SnapshotsHost) {
    this.#host = host;
    this.#startedMs = host.monotonicMs();
  }

  get published(): PublishedRecord | undefined {
    return this.#host.machine().publishing.newest;
  }

  get lastSaveMs(): number {
    return this.published?.timeMs ?? this.#host.startedAtMs;
  }

  get facts(): ReadonlyArray<readonly [string, string | number]> {
    const report = this.#report;
    const state: readonly [string, string] = ['state', this.#state()];
    if (report === undefined) return [state];
    return [
      state,
      ['silent-ms', Math.round(this.#silentMs())],
      ['applied-index', report.appliedIndex],
      ['archived-index', report.archivedIndex],
      ['archive-lag-ms', Math.round(report.archiveLagMs)],
      ['verified-index', report.snapshotIndex],
      ['bytes-done', report.bytesDone],
      ['bytes-total', report.bytesTotal],
      ['fault', report.fault],
    ];
  }

  request(): string | undefined {
    if (!this.#host.hasObjectStore) {
      return 'ERR no object store is configured, so no snapshot can be made: set object-store on every node and restart it; what was acknowledged is in the replicated log all the same';
    }
    if (this.#silentMs() > SNAPSHOTTER_SILENT_MS) {
      return 'ERR no snapshotter reports to this node: see its log, or start one with holdfast snapshotter';
    }
    this.#settle();
    if (this.#saving) return 'ERR Background save already in progress';
    this.#wantedIndex = this.#host.machine().seenIndex;
    this.#noteSaving();
    return undefined;
  }

  whenPublished(session: number, done: (error: string | undefined) => void): void {
    this.#waiters.push({ session, index: this.#wantedIndex, sinceMs: this.#host.monotonicMs(), done });
  }

  report(json: string): string | undefined {
    const heard = reportFrom(json);
    if (heard === undefined) return undefined;
    // What is published by now was before this.
    this.#settle();
    this.#heard.set(heard.name, { report: heard.report, atMs: this.#host.monotonicMs() });
    if (this.#heard.size > REPORTERS_MAX) this.#forgetOldest();
    this.#settle();
    return JSON.stringify({ snapshotIndexMin: this.#wantedIndex } satisfies SnapshotterOrders);
  }

  /**
   * Whether a snapshotter waits for a checkpoint record that is not there yet. Only once the entry that it is to come behind is
   * applied here: the record has then the digest of the last checkpoint before it.
   */
  get wantsCheckpoint(): boolean {
    const { appliedIndex, lastCheckpointIndex } = this.#host.machine();
    for (const heard of this.#heard.values()) {
      const { checkpointBehind } = heard.report;
      if (checkpointBehind > 0 && checkpointBehind >= lastCheckpointIndex && checkpointBehind <= appliedIndex && !this.#isSilent(heard)) return true;
    }
    return false;
  }

  /** Several times a second; `isThere` tells whether a session is still connected. True if somebody was answered. */
  cron(nowMs: number, isThere: (session: number) => boolean): boolean {
    const { appliedIndex, dirty } = this.#host.machine();
    if (nowMs - this.#countedMs >= COUNT_EVERY_MS) {
      this.#countedMs = nowMs;
      if (appliedIndex !== this.#counts.at(-1)?.index) this.#counts.push({ index: appliedIndex, dirty, atMs: nowMs });
      if (this.#counts.length > COUNTS_MAX) this.#counts = this.#counts.filter((_, i) => i % 2 === 1);
    }
    this.#waiters = this.#waiters.filter(({ session }) => isThere(session));
    return this.#settle();
  }

  info(): SnapshotInfo {
    this.#settle();
    const { published } = this;
    const nowMs = this.#host.monotonicMs();
    return {
      lastSaveMs: this.lastSaveMs,
      changes: Math.max(0, this.#host.machine().dirty - this.#dirtyAtSave),
      saving: this.#saving,
      lastOk: (this.#report?.fault ?? '') === '',
      lastSaveSeconds: this.#lastSaveSeconds,
      currentSaveSeconds: this.#savingSinceMs < 0 ? -1 : Math.floor((nowMs - this.#savingSinceMs) / 1000),
      index: published?.index ?? 0,
      timeMs: published?.timeMs ?? 0,
      snapshotterState: this.#state(),
      archiveLagSeconds: this.#archiveLagSeconds(),
    };
  }

  get #saving(): boolean {
    if (this.#wantedIndex > 0) return true;
    for (const heard of this.#heard.values()) {
      const { state } = heard.report;
      // What was said before the snapshot was published was said of that one.
      if (heard.atMs < this.#publishedSeenMs) continue;
      if ((state === 'writing' || state === 'verifying') && !this.#isSilent(heard)) return true;
    }
    return false;
  }

  /** What is told of: of those that still report, one without trouble, whose archive is furthest. */
  get #best(): Heard | undefined {
    let best: Heard | undefined;
    for (const heard of this.#heard.values()) {
      const order = best === undefined ? 1 : Number(this.#isSilent(best)) - Number(this.#isSilent(heard)) || Number(best.report.fault !== '') - Number(heard.report.fault !== '') || heard.report.archivedIndex - best.report.archivedIndex;
      if (order > 0) best = heard;
    }
    return best;
  }

  get #report(): SnapshotterProgress | undefined {
    return this.#best?.report;
  }

  #isSilent({ atMs }: Heard): boolean {
    return this.#host.monotonicMs() - atMs > SNAPSHOTTER_SILENT_MS;
  }

  /** Before the first report: since this node started. */
  #silentMs(): number {
    return this.#host.monotonicMs() - (this.#best?.atMs ?? this.#startedMs);
  }

  #forgetOldest(): void {
    let oldest: string | undefined;
    let oldestMs = Infinity;
    for (const [name, { atMs }] of this.#heard) if (atMs < oldestMs) [oldest, oldestMs] = [name, atMs];
    if (oldest !== undefined) this.#heard.delete(oldest);
  }

  #state(): string {
    if (!this.#host.hasObjectStore && this.#report === undefined) return 'off';
    if (this.#report === undefined) return 'none';
    return this.#silentMs() > SNAPSHOTTER_SILENT_MS ? 'silent' : this.#report.state;
  }

  /** What the snapshotter says, or more where this node has seen more: a snapshotter that is gone or gets no log knows of no lag. */
  #archiveLagSeconds(): number {
    const report = this.#report;
    if (report === undefined) return -1;
    const silentMs = this.#silentMs();
    const saidMs = report.archiveLagMs + (silentMs > SNAPSHOTTER_SILENT_MS ? silentMs : 0);
    const first = this.#counts.find(({ index }) => index > report.archivedIndex);
    const seenMs = first === undefined ? 0 : this.#host.monotonicMs() - first.atMs;
    return Math.floor(Math.max(saidMs, seenMs) / 1000);
  }

  /** Answers requests that are answered by now; true if somebody waited for it. */
  #settle(): boolean {
    const machine = this.#host.machine();
    const publishedIndex = machine.publishing.index;
    if (publishedIndex !== this.#publishedSeen) {
      this.#publishedSeen = publishedIndex;
      this.#publishedSeenMs = this.#host.monotonicMs();
      // Rather too many than too few: the count at or before the snapshot.
      this.#dirtyAtSave = this.#counts.findLast(({ index }) => index <= publishedIndex)?.dirty ?? 0;
    }
    if (publishedIndex >= this.#wantedIndex) this.#wantedIndex = 0;
    this.#noteSaving();
    if (this.#waiters.length === 0) return false;
    const nowMs = this.#host.monotonicMs();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      const isPublished = publishedIndex >= waiter.index;
      const error = isPublished ? undefined : this.#failure(nowMs - waiter.sinceMs);
      if (isPublished || error !== undefined) waiter.done(error);
      else this.#waiters.push(waiter);
    }
    return this.#waiters.length < waiters.length;
  }

  #failure(waitedMs: number): string | undefined {
    if (this.#silentMs() > SNAPSHOTTER_SILENT_MS) return 'ERR the snapshotter does not report any more: see its log';
    const fault = this.#report?.fault ?? '';
    return fault !== '' && waitedMs > SAVE_FAULT_AFTER_MS ? `ERR the snapshot is not made yet: ${fault.replace(/[\r\n]/g, ' ')}` : undefined;
  }

  #noteSaving(): void {
    const nowMs = this.#host.monotonicMs();
    if (this.#saving) {
      if (this.#savingSinceMs < 0) this.#savingSinceMs = nowMs;
    } else if (this.#savingSinceMs >= 0) {
      this.#lastSaveSeconds = Math.round((nowMs - this.#savingSinceMs) / 1000);
      this.#savingSinceMs = -1;
    }
  }
}

const COUNTS = [
  'appliedIndex', 'archivedIndex', 'commitIndex', 'archiveLagMs', 'bytesDone', 'bytesTotal', 'logBytes', 'checkpointBehind', 'snapshotIndex',
  'snapshotMs', 'snapshotBytes', 'snapshotKeys',
] as const satisfies ReadonlyArray<keyof SnapshotterProgress>;
const TEXT_CHARS_MAX = 1000;
/** A report has some twenty short members. More is not even parsed: that would take as long as whoever sends it likes. */
const REPORT_CHARS_MAX = 16_384;

/** Whoever is connected may send one: nothing of it is believed but its form. */
function reportFrom(json: string): { readonly name: string; readonly report: SnapshotterProgress } | undefined {
  if (json.length > REPORT_CHARS_MAX) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const given = value as Partial<Record<keyof SnapshotterProgress | 'name', unknown>>;
  const { name, state, fault } = given;
  if (typeof state !== 'string' || typeof fault !== 'string') return undefined;
  const numbers = Object.fromEntries(
    COUNTS.map((name) => {
      const number = given[name];
      return [name, typeof number === 'number' && number >= 0 && number <= Number.MAX_SAFE_INTEGER ? Math.floor(number) : 0];
    }),
  ) as Record<(typeof COUNTS)[number], number>;
  const report = { ...numbers, state: clean(state) as SnapshotterProgress['state'], fault: clean(fault) };
  return { name: typeof name === 'string' ? clean(name) : '', report };
}

/** Fit for a line of INFO. */
function clean(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, TEXT_CHARS_MAX);
}
