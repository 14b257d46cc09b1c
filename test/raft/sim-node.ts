// One Raft node with a simulated disk, for the script runner and the random test. The disk takes writes in order and
// keeps what is durable apart from what was handed over, so that a crash loses exactly the latter.
import { assert, must } from '../../src/base/assert.ts';
import { entryRecordBytes, ENTRY_HEADER_BYTES, EntryKind, makeEntry } from '../../src/base/entry.ts';
import { RaftNode } from '../../src/raft/raft.ts';
import type { Entry, HardState, Message, RaftConfig, RaftStorage, Ready } from '../../src/raft/types.ts';

interface Contents {
  hardState: HardState;
  firstIndex: number;
  /** entries[0] has index firstIndex. */
  entries: Entry[];
  /** Term of the entry before firstIndex. */
  termBefore: number;
}

/**
 * `sees`: whether reads see writes that were handed over (as the real log store does) or only durable ones. The core
 * must be right with either.
 */
export class SimDisk implements RaftStorage {
  readonly #sees: 'handed-over' | 'durable';
  #durable: Contents = { hardState: { term: 0, vote: 0, commit: 0 }, firstIndex: 1, entries: [], termBefore: 0 };
  #visible: Contents = this.#durable;

  constructor(sees: 'handed-over' | 'durable') {
    this.#sees = sees;
    this.lose();
  }

  get hardState(): HardState {
    return this.#visible.hardState;
  }

  get firstIndex(): number {
    return this.#visible.entries.length === 0 ? 0 : this.#visible.firstIndex;
  }

  get lastIndex(): number {
    return this.#visible.firstIndex + this.#visible.entries.length - 1;
  }

  get durableEntries(): readonly Entry[] {
    return this.#durable.entries;
  }

  term(index: number): number | undefined {
    if (index === 0) return 0;
    if (index === this.#visible.firstIndex - 1) return this.#visible.termBefore;
    return this.#visible.entries[index - this.#visible.firstIndex]?.term;
  }

  entries(from: number, to: number, bytesMax: number): readonly Entry[] {
    const { firstIndex, entries } = this.#visible;
    assert(from >= firstIndex && to <= this.lastIndex, `storage has no entries [${from}, ${to}]`);
    const taken: Entry[] = [];
    let bytes = 0;
    for (const entry of entries.slice(from - firstIndex, to - firstIndex + 1)) {
      bytes += entry.bytes.length;
      if (taken.length > 0 && bytes > bytesMax) break;
      taken.push(entry);
    }
    return taken;
  }

  handOver(ready: Ready): void {
    if (this.#sees === 'handed-over') write(this.#visible, ready);
  }

  persist(ready: Ready): void {
    write(this.#durable, ready);
  }

  /** A crash: what was not durable is gone. */
  lose(): void {
    this.#visible = this.#sees === 'durable' ? this.#durable : { ...this.#durable, entries: [...this.#durable.entries] };
  }

  wipe(): void {
    this.#durable = { hardState: { term: 0, vote: 0, commit: 0 }, firstIndex: 1, entries: [], termBefore: 0 };
    this.lose();
  }

  compact(to: number): void {
    for (const contents of new Set([this.#durable, this.#visible])) {
      contents.termBefore = must(contents.entries[to - contents.firstIndex]).term;
      contents.entries = contents.entries.slice(to - contents.firstIndex + 1);
      contents.firstIndex = to + 1;
    }
  }
}

function write(contents: Contents, ready: Ready): void {
  if (ready.hardState !== undefined) contents.hardState = ready.hardState;
  const first = ready.entries[0];
  if (first === undefined) return;
  assert(first.index <= contents.firstIndex + contents.entries.length, 'a write leaves no gap');
  contents.entries = [...contents.entries.slice(0, first.index - contents.firstIndex), ...ready.entries];
}

export class SimNode {
  readonly id: number;
  readonly disk: SimDisk;
  readonly #config: Omit<RaftConfig, 'storage' | 'restarted' | 'rejoining'>;
  raft: RaftNode;
  up = true;
  /** Readies whose writes are under way. */
  writes: Ready[] = [];
  rejoining = false;

  constructor(config: Omit<RaftConfig, 'storage' | 'restarted' | 'rejoining'>, sees: 'handed-over' | 'durable') {
    this.id = config.id;
    this.#config = config;
    this.disk = new SimDisk(sees);
    this.raft = new RaftNode({ ...config, storage: this.disk, restarted: false, rejoining: false });
  }

  /** A Ready is taken and its writes begin. */
  take(): Ready {
    const ready = this.raft.ready();
    this.disk.handOver(ready);
    this.writes.push(ready);
    return ready;
  }

  /** The oldest write ends. Messages that waited for it are returned; those to the node itself still have to be stepped. */
  persistNext(): { ready: Ready; messages: readonly Message[] } | undefined {
    const ready = this.writes.shift();
    if (ready === undefined) return undefined;
    this.disk.persist(ready);
    const last = ready.entries[ready.entries.length - 1];
    if (last !== undefined) this.raft.persisted(last.term, last.index);
    return { ready, messages: ready.messagesAfterPersist };
  }

  crash(): void {
    this.up = false;
    this.writes = [];
    this.disk.lose();
  }

  restart(options: { wiped?: boolean } = {}): void {
    if (options.wiped === true) this.disk.wipe();
    this.rejoining = options.wiped === true;
    this.up = true;
    this.raft = new RaftNode({ ...this.#config, storage: this.disk, restarted: true, rejoining: this.rejoining });
  }
}

export function textEntry(text: string, timeMs = 0): Uint8Array {
  return makeEntry(EntryKind.commands, 1, 1, timeMs, Buffer.from(text, 'latin1'));
}

export function entryText(entry: Entry): string {
  if (entry.kind === EntryKind.noop) return 'noop';
  return Buffer.from(entry.bytes.subarray(ENTRY_HEADER_BYTES, ENTRY_HEADER_BYTES + entryRecordBytes(entry.bytes))).toString('latin1');
}
