// A node's disk. SimDisk is what survives; SimLogStore is the open log of one life of the node, as the port asks for:
// reads see every append handed over, a crash keeps a prefix of them.
//
// What must hold here, so that a fault found is the product's: an append is reported only after it is in `durable`;
// appends become durable in order; after a failure nothing does.
import { assert } from '../../src/base/assert.ts';
import { entryFault, entryIndex, entryTerm, entryTimeMs } from '../../src/base/entry.ts';
import { LOG_START, type LogBase } from '../../src/base/log-base.ts';
import type { Prng } from '../../src/base/prng.ts';
import type { HardState, LogAppend, LogStore } from '../../src/ports/log-store.ts';
import type { SimThread } from './clock.ts';
import type { Scheduler } from './scheduler.ts';
import { Violation } from './trace.ts';

/** An append or a reset. */
interface Write extends LogAppend {
  readonly base?: LogBase;
}

/** Log, hard state and meta at one moment. */
class Contents {
  hardState: HardState = { term: 0, vote: 0, commit: 0 };
  base: LogBase = LOG_START;
  /** Behind the base: the entry at `index` stands at [index − base.index − 1]. */
  entries: Uint8Array[] = [];
  meta = new Map<string, Uint8Array>();

  get lastIndex(): number {
    return this.base.index + this.entries.length;
  }

  apply(append: Write, bugs: DiskBugs): void {
    if (append.base !== undefined) {
      this.entries = bugs.resetKeepsSuffix === true ? this.entries.slice(append.base.index - this.base.index) : [];
      this.base = this.#based(append.base, bugs);
    }
    const first = append.entries[0];
    if (first !== undefined) {
      const index = entryIndex(first);
      assert(index > this.base.index && index <= this.lastIndex + 1, () => `append at ${index} leaves a gap after ${this.lastIndex}`);
      this.entries.length = index - 1 - this.base.index;
      append.entries.forEach((entry, i) => {
        assert(entryFault(entry) === undefined, () => `append of a broken entry: ${entryFault(entry)}`);
        assert(entryIndex(entry) === index + i, 'appended entries are consecutive');
        this.entries.push(entry);
      });
    }
    if (append.hardState !== undefined) this.hardState = append.hardState;
    if (append.meta !== undefined) for (const [name, value] of append.meta) this.meta.set(name, value);
  }

  /** As the real store checks it at open. */
  check(): void {
    let term = this.base.term;
    this.entries.forEach((entry, i) => {
      const index = this.base.index + 1 + i;
      if (entryIndex(entry) !== index || entryTerm(entry) < term) {
        throw new Violation('log on disk', `entry ${entryIndex(entry)} of term ${entryTerm(entry)} stands at ${index}, behind term ${term}`);
      }
      term = entryTerm(entry);
    });
    if (this.hardState.commit > this.lastIndex) throw new Violation('log on disk', `commit is ${this.hardState.commit}, and it ends at ${this.lastIndex}`);
  }

  copy(): Contents {
    const copy = new Contents();
    copy.hardState = this.hardState;
    copy.base = this.base;
    copy.entries = this.entries.slice();
    copy.meta = new Map(this.meta);
    return copy;
  }

  term(index: number): number | undefined {
    if (index === this.base.index) return this.base.term;
    const entry = this.entries[index - this.base.index - 1];
    return entry === undefined ? undefined : entryTerm(entry);
  }

  cut(to: number, bugs: DiskBugs): void {
    if (to <= this.base.index || to > this.lastIndex) return;
    const last = this.entries[to - this.base.index - 1]!;
    this.entries = this.entries.slice(to - this.base.index);
    this.base = this.#based({ index: to, term: entryTerm(last), timeMs: entryTimeMs(last) }, bugs);
  }

  #based(base: LogBase, bugs: DiskBugs): LogBase {
    return bugs.forgetBaseTerm === true ? { ...base, term: 0 } : base;
  }
}

const CUT_TOO_FAR = 20;

/** Seeded bugs of the disk, for the tests of the simulation. */
export interface DiskBugs {
  /** Appends are reported at once and become durable later, if the node lives. */
  readonly reportEarly?: boolean;
  /** A crash loses the newest vote. */
  readonly dropVote?: boolean;
  /** A cut takes some entries more than it was told. */
  readonly cutTooFar?: boolean;
  /** A reset leaves what the old log had behind the new base. */
  readonly resetKeepsSuffix?: boolean;
  /** The term of the entry that the log begins behind is not kept. */
  readonly forgetBaseTerm?: boolean;
}

export interface DiskProfile {
  readonly meanMs: number;
  /** Chance that a sync takes up to `slowMs`. */
  readonly slowChance: number;
  readonly slowMs: number;
}

export class SimDisk {
  durable = new Contents();
  /** The hard state before the newest, for DiskBugs.dropVote. */
  #previousHardState: HardState = this.durable.hardState;
  /** The next append that ends fails, and everything after it. */
  failNext = false;
  /** Everything takes at least this long while it lasts. */
  slowUntilMs = 0;
  readonly profile: DiskProfile;
  readonly bugs: DiskBugs;
  store: SimLogStore | undefined;
  /** The log begins behind this entry now, after a cut. */
  onCut: (baseIndex: number) => void = () => undefined;
  /** Something has happened behind which a crash is of interest. */
  onPoint: (what: string) => void = () => undefined;

  constructor(profile: DiskProfile, bugs: DiskBugs) {
    this.profile = profile;
    this.bugs = bugs;
  }

  open(scheduler: Scheduler, prng: Prng, thread: SimThread): SimLogStore {
    this.failNext = false;
    this.durable.check();
    this.store = new SimLogStore(this, this.durable.copy(), scheduler, prng, thread);
    return this.store;
  }

  makeDurable(append: Write): void {
    if (append.hardState !== undefined) this.#previousHardState = this.durable.hardState;
    this.durable.apply(append, this.bugs);
  }

  /** The machine loses power: of what was handed over and not yet durable a random prefix is kept. */
  crash(prng: Prng): void {
    const pending = this.store?.abandon() ?? [];
    if (!this.bugs.reportEarly) {
      const kept = prng.below(pending.length + 1);
      for (const append of pending.slice(0, kept)) this.makeDurable(append);
    }
    if (this.bugs.dropVote) {
      const { term, commit } = this.durable.hardState;
      const previous = this.#previousHardState;
      this.durable.hardState = previous.term === term ? { term, vote: previous.vote, commit } : { term, vote: 0, commit };
    }
    this.store = undefined;
  }

  wipe(): void {
    assert(this.store === undefined, 'a disk in use is not wiped');
    this.durable = new Contents();
  }
}

interface Pending {
  readonly append: Write;
  readonly done: (error?: Error) => void;
}

export class SimLogStore implements LogStore {
  readonly #disk: SimDisk;
  readonly #view: Contents;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #thread: SimThread;
  #pending: Pending[] = [];
  #lastEndMs = 0;
  #failed = false;
  #closed = false;

  constructor(disk: SimDisk, view: Contents, scheduler: Scheduler, prng: Prng, thread: SimThread) {
    this.#disk = disk;
    this.#view = view;
    this.#scheduler = scheduler;
    this.#prng = prng;
    this.#thread = thread;
  }

  get hardState(): HardState {
    return this.#view.hardState;
  }

  get base(): LogBase {
    return this.#view.base;
  }

  get firstIndex(): number {
    return this.#view.base.index + 1;
  }

  get lastIndex(): number {
    return this.#view.lastIndex;
  }

  term(index: number): number | undefined {
    return this.#view.term(index);
  }

  read(from: number, to: number, bytesMax: number): Uint8Array[] {
    assert(from >= this.firstIndex && to >= from && to <= this.lastIndex, () => `read [${from}, ${to}] of a log [${this.firstIndex}, ${this.lastIndex}]`);
    const entries: Uint8Array[] = [];
    let bytes = 0;
    for (let index = from; index <= to; index++) {
      const entry = this.#view.entries[index - this.firstIndex]!;
      bytes += entry.length;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry.slice());
    }
    return entries;
  }

  meta(name: string): Uint8Array | undefined {
    return this.#view.meta.get(name);
  }

  append(append: LogAppend, done: (error?: Error) => void): void {
    assert(!this.#closed, 'nothing is appended to a closed log');
    // Copied: what the caller does to its arrays later is not on the disk.
    const own: LogAppend = {
      ...append,
      entries: append.entries.map((entry) => entry.slice()),
      ...(append.meta === undefined ? {} : { meta: new Map(append.meta) }),
    };
    this.#write(own, done);
  }

  reset(base: LogBase, hardState: HardState, done: (error?: Error) => void, meta?: ReadonlyMap<string, Uint8Array>): void {
    assert(!this.#closed, 'a closed log is not reset');
    this.#disk.onPoint('a reset is handed over');
    this.#write({ entries: [], hardState, base, ...(meta === undefined ? {} : { meta: new Map(meta) }) }, done);
  }

  /** On the disk it comes later, if the node lives; where the disk lags behind, not at all. */
  cut(to: number): void {
    assert(to >= this.base.index && to <= this.lastIndex, () => `a cut up to ${to} of a log [${this.firstIndex}, ${this.lastIndex}]`);
    const { bugs } = this.#disk;
    const cutTo = bugs.cutTooFar === true ? Math.min(to + CUT_TOO_FAR, Math.max(to, this.#view.hardState.commit)) : to;
    this.#view.cut(cutTo, bugs);
    this.#disk.onCut(this.base.index);
    this.#scheduler.at(this.#lastEndMs + 20 * this.#prng.unit(), () => {
      if (this.#disk.store !== this || this.#failed) return;
      this.#disk.durable.cut(cutTo, bugs);
      this.#disk.onPoint('a cut is on disk');
    });
  }

  cutKeeping(bytes: number): number {
    let left = bytes;
    for (let index = this.lastIndex; index > this.base.index; index--) {
      if (left <= 0) return index;
      left -= this.#view.entries[index - this.firstIndex]!.length;
    }
    return this.base.index;
  }

  behind(index: number): number {
    return this.#view.entries.slice(Math.max(0, index - this.base.index)).reduce((sum, entry) => sum + entry.length, 0);
  }

  #write(own: Write, done: (error?: Error) => void): void {
    this.#view.apply(own, this.#disk.bugs);
    this.#pending.push({ append: own, done });
    const { meanMs, slowChance, slowMs } = this.#disk.profile;
    const now = this.#scheduler.nowMs;
    const ordinaryMs = meanMs * (0.5 + this.#prng.unit());
    const durationMs = this.#prng.chance(slowChance) ? this.#prng.unit() * slowMs : ordinaryMs;
    this.#lastEndMs = Math.max(this.#lastEndMs, now + durationMs, this.#disk.slowUntilMs);
    if (this.#disk.bugs.reportEarly) {
      this.#thread.post(0.01, () => done());
      this.#scheduler.at(this.#lastEndMs + 50, () => this.#end(false));
    } else this.#scheduler.at(this.#lastEndMs, () => this.#end(true));
  }

  #end(report: boolean): void {
    const next = this.#pending.shift();
    if (next === undefined) return; // the node crashed meanwhile
    if (this.#disk.failNext) this.#failed = true;
    if (this.#failed) {
      this.#thread.post(this.#prng.unit(), () => next.done(new Error('simulated: I/O error')));
      return;
    }
    this.#disk.makeDurable(next.append);
    if (next.append.base !== undefined) this.#disk.onPoint('a reset is on disk');
    if (report) this.#thread.post(this.#prng.unit() * 0.1, () => next.done());
  }

  /** The node is gone: what was not durable is handed back, unless the disk had failed. */
  abandon(): Write[] {
    const pending = this.#pending.map(({ append }) => append);
    this.#pending = [];
    return this.#failed ? [] : pending;
  }

  sizeBytes(): number {
    return this.#view.entries.reduce((sum, entry) => sum + entry.length, 0);
  }

  close(): void {
    this.#closed = true;
  }
}
