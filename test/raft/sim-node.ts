// One Raft node with a simulated disk, for the script runner and the random test. The disk takes writes in order and
// keeps what is durable apart from what was handed over, so that a crash loses exactly the latter.
import { assert, must } from '../../src/base/assert.ts';
import { entryRecordBytes, entryTimeMs, ENTRY_HEADER_BYTES, EntryKind, makeEntry } from '../../src/base/entry.ts';
import { LOG_START, type LogBase } from '../../src/base/log-base.ts';
import { decodeConfiguration, type Configuration, type ConfigurationAt, type MemberAddress } from '../../src/base/configuration.ts';
import { initialConfiguration, seedConfiguration } from '../../src/raft/configuration.ts';
import { RaftNode } from '../../src/raft/raft.ts';
import type { Entry, HardState, Message, RaftConfig, RaftStorage, Ready, SnapshotOffer } from '../../src/raft/types.ts';

interface Contents {
  hardState: HardState;
  base: LogBase;
  /** Behind the base. */
  entries: Entry[];
  configurations: readonly ConfigurationAt[] | undefined;
}

const empty = (): Contents => ({ hardState: { term: 0, vote: 0, commit: 0 }, base: LOG_START, entries: [], configurations: undefined });

export function addressOf(id: number): MemberAddress {
  return { id, name: `n${id}`, host: `h${id}`, peerPort: 1000 + id, clientPort: 2000 + id };
}

/** What a node is made with: those of the group's beginning all vote, another one waits for the log. */
export function startOf(id: number, voters: readonly number[]): readonly ConfigurationAt[] {
  const members = voters.map(addressOf);
  return [{ index: 0, configuration: voters.includes(id) ? initialConfiguration(members) : seedConfiguration(members) }];
}

export function configurationText({ voters, outgoing, learners }: Configuration): string {
  const out = outgoing.length === 0 ? '' : ` from ${outgoing.join(' ')}`;
  return `voters ${voters.join(' ')}${out}${learners.length === 0 ? '' : `, learners ${learners.join(' ')}`}`;
}

/**
 * `sees`: whether reads see writes that were handed over (as the real log store does) or only durable ones. The core
 * must be right with either.
 */
export class SimDisk implements RaftStorage {
  readonly #sees: 'handed-over' | 'durable';
  #durable: Contents = empty();
  #visible: Contents = this.#durable;

  constructor(sees: 'handed-over' | 'durable') {
    this.#sees = sees;
    this.lose();
  }

  get hardState(): HardState {
    return this.#visible.hardState;
  }

  get base(): LogBase {
    return this.#visible.base;
  }

  get configurations(): readonly ConfigurationAt[] | undefined {
    return this.#visible.configurations;
  }

  get lastIndex(): number {
    return this.#visible.base.index + this.#visible.entries.length;
  }

  /** Whether the disk has this entry, or a snapshot in its place. */
  holds(index: number, term: number): boolean {
    const { base, entries } = this.#durable;
    return index <= base.index || entries[index - base.index - 1]?.term === term;
  }

  term(index: number): number | undefined {
    const { base, entries } = this.#visible;
    return index === base.index ? base.term : entries[index - base.index - 1]?.term;
  }

  entries(from: number, to: number, bytesMax: number): readonly Entry[] {
    const { base, entries } = this.#visible;
    assert(from > base.index && to <= this.lastIndex, `storage has no entries [${from}, ${to}]`);
    const taken: Entry[] = [];
    let bytes = 0;
    for (const entry of entries.slice(from - base.index - 1, to - base.index)) {
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
    this.#durable = empty();
    this.lose();
  }

  /** `to` is durable and committed. What a crash would lose keeps its own base: it stands behind a reset. */
  compact(to: number): void {
    for (const contents of new Set([this.#durable, this.#visible])) {
      if (to <= contents.base.index) continue;
      const { base, entries } = contents;
      const last = must(entries[to - base.index - 1]);
      contents.entries = entries.slice(to - base.index);
      contents.base = { index: to, term: last.term, timeMs: entryTimeMs(last.bytes) };
    }
  }
}

function write(contents: Contents, ready: Ready): void {
  if (ready.hardState !== undefined) contents.hardState = ready.hardState;
  if (ready.configurations !== undefined) contents.configurations = ready.configurations;
  if (ready.reset !== undefined) {
    contents.base = ready.reset;
    contents.entries = [];
  }
  const first = ready.entries[0];
  if (first === undefined) return;
  const { base, entries } = contents;
  assert(first.index > base.index && first.index <= base.index + entries.length + 1, 'a write leaves no gap');
  contents.entries = [...entries.slice(0, first.index - base.index - 1), ...ready.entries];
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
  /** What snapshots say of the members, by their index; for whoever owns the snapshots to set. */
  configurationAt: (index: number) => ConfigurationAt | undefined = () => undefined;
  /** What the driver is at. */
  restoring: SnapshotOffer | undefined;

  constructor(config: Omit<RaftConfig, 'storage' | 'restarted' | 'rejoining'>, sees: 'handed-over' | 'durable') {
    this.id = config.id;
    this.#config = config;
    this.disk = new SimDisk(sees);
    this.raft = new RaftNode({ ...config, storage: this.disk, restarted: false, rejoining: false });
  }

  /** The driver is done with what it restores. False when there is nothing. */
  endRestore(well: boolean): boolean {
    const offer = this.restoring;
    if (offer === undefined) return false;
    this.restoring = undefined;
    if (well) this.raft.restored({ index: offer.index, term: offer.term, timeMs: 0 }, this.configurationAt(offer.index));
    else this.raft.restoreFailed(offer.index);
    return true;
  }

  /** A Ready is taken and its writes begin. */
  take(): Ready {
    const ready = this.raft.ready();
    this.disk.handOver(ready);
    this.writes.push(ready);
    if (ready.restore !== undefined) {
      assert(this.restoring === undefined, 'one snapshot at a time');
      this.restoring = ready.restore;
    }
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
    this.restoring = undefined;
    this.writes = [];
    this.disk.lose();
  }

  restart(options: { wiped?: boolean; loading?: boolean } = {}): void {
    if (options.wiped === true) this.disk.wipe();
    this.rejoining = options.wiped === true;
    this.up = true;
    const configurations = this.disk.configurations ?? this.#config.configurations;
    this.raft = new RaftNode({ ...this.#config, configurations, storage: this.disk, restarted: true, rejoining: this.rejoining, loading: options.loading === true });
  }
}

export function textEntry(text: string, timeMs = 0): Uint8Array {
  return makeEntry(EntryKind.commands, 1, 1, timeMs, Buffer.from(text, 'latin1'));
}

export function entryText(entry: Entry): string {
  if (entry.kind === EntryKind.noop) return 'noop';
  const configuration = decodeConfiguration(entry.kind, entry.bytes);
  if (configuration !== undefined) return `(${configurationText(configuration)})`;
  return Buffer.from(entry.bytes.subarray(ENTRY_HEADER_BYTES, ENTRY_HEADER_BYTES + entryRecordBytes(entry.bytes))).toString('latin1');
}
