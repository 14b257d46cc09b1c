// The log feed of a real Consensus over a log store in memory: a follower whose leaders are played hands an observer what is
// committed, whatever happens to the rest.
import { expect, test } from 'vitest';
import { EntryKind, entryIndex, entryTerm, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { LOG_START, type LogBase } from '../../src/base/log-base.ts';
import type { ConsensusMessage, EngineMessage } from '../../src/ports/link.ts';
import type { HardState, LogAppend, LogStore } from '../../src/ports/log-store.ts';
import type { FeedAnswer, ObserverEvents } from '../../src/ports/observers.ts';
import type { TransportEvents } from '../../src/ports/transport.ts';
import { NO_REFERENCE } from '../../src/raft/message.ts';
import { initialConfiguration } from '../../src/raft/configuration.ts';
import { MessageType, type Entry, type Message } from '../../src/raft/types.ts';
import { entryOf } from '../../src/replica/cached-log.ts';
import { Consensus } from '../../src/replica/consensus.ts';
import { encodeRaftHead, raftBody } from '../../src/replica/peer-message.ts';
import { StepClock } from './step-clock.ts';

class MemoryStore implements LogStore {
  hardState: HardState = { term: 0, vote: 0, commit: 0 };
  base: LogBase = LOG_START;
  entries: Uint8Array[] = [];
  readonly #clock: StepClock;
  readonly #meta = new Map<string, Uint8Array>();

  constructor(clock: StepClock) {
    this.#clock = clock;
  }
  get firstIndex(): number {
    return this.base.index + 1;
  }
  get lastIndex(): number {
    return this.base.index + this.entries.length;
  }
  term(index: number): number | undefined {
    if (index === this.base.index) return this.base.term;
    const entry = this.entries[index - this.firstIndex];
    return entry === undefined ? undefined : entryTerm(entry);
  }
  read(from: number, to: number, bytesMax: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    let bytes = 0;
    for (let index = from; index <= to; index++) {
      const entry = this.entries[index - this.firstIndex];
      if (entry === undefined) throw new Error(`entry ${index} is not there`);
      bytes += entry.length;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(entry);
    }
    return found;
  }
  meta(name: string): Uint8Array | undefined {
    return this.#meta.get(name);
  }
  append({ entries, hardState, meta }: LogAppend, done: (error?: Error) => void): void {
    const first = entries[0];
    if (first !== undefined) this.entries.length = entryIndex(first) - this.firstIndex;
    this.entries.push(...entries);
    if (hardState !== undefined) this.hardState = hardState;
    for (const [name, value] of meta ?? []) this.#meta.set(name, value);
    this.#clock.after(1, () => done());
  }
  cut(to: number): void {
    const last = entryOf(this.entries[to - this.firstIndex]!);
    this.entries = this.entries.slice(to - this.base.index);
    this.base = { index: to, term: last.term, timeMs: 0 };
  }
  reset(base: LogBase, hardState: HardState, done: (error?: Error) => void): void {
    this.base = base;
    this.entries = [];
    this.hardState = hardState;
    this.#clock.after(1, () => done());
  }
  cutKeeping(): number {
    return this.lastIndex;
  }
  sizeBytes(): number {
    return 0;
  }
  close(): void {}
}

const entry = (index: number, term: number, text: string): Entry => {
  const bytes = makeEntry(EntryKind.commands, 1, 1, 1000 + index, Buffer.from(text));
  sealEntry(bytes, term, index, 0);
  return entryOf(bytes);
};

class Follower {
  readonly clock = new StepClock();
  readonly store = new MemoryStore(this.clock);
  readonly answers: FeedAnswer[] = [];
  /** What the engine is told, and the commit index in the shared cell at that moment. */
  readonly told: { readonly message: ConsensusMessage; readonly cellCommit: number }[] = [];
  fromEngine!: (message: EngineMessage) => void;
  #cellCommit = 0;
  readonly consensus: Consensus;
  #events!: TransportEvents;
  #observers!: ObserverEvents;

  constructor(names: readonly string[] = ['n1', 'n2', 'n3'], prepare: (store: MemoryStore) => void = () => undefined) {
    prepare(this.store);
    const silent = (): void => undefined;
    this.consensus = new Consensus({
      id: 1,
      incarnation: '01'.repeat(16),
      rejoining: false,
      configuration: initialConfiguration(names.map((name, i) => ({ id: i + 1, name, host: 'h', peerPort: i + 1, clientPort: i + 1 }))),
      store: this.store,
      transport: { start: (events) => (this.#events = events), setPeers: silent, send: silent, queuedBytes: () => 0, close: silent },
      observers: {
        observe: (events) => (this.#observers = events),
        answer: (_observer, answer) => void this.answers.push(answer),
        dropObserver: (_observer, reason) => expect.fail(reason),
      },
      link: {
        send: (message) => void this.told.push({ message, cellCommit: this.#cellCommit }),
        onMessage: (handler) => (this.fromEngine = handler),
      },
      clock: this.clock,
      cell: { publish: (_lease, _term, commit) => (this.#cellCommit = commit) },
      logger: { debug: silent, info: silent, warn: silent, error: silent },
      random: () => 0,
      tickMs: 50,
      electionTicks: 10,
      heartbeatTicks: 1,
      leaseDriftMs: 10,
      readConsistency: 'lease',
      onRejoined: silent,
    });
    this.consensus.start();
  }

  /** `from` leads `term`, and sends these entries behind `index`. */
  append(from: number, term: number, index: number, logTerm: number, entries: readonly Entry[], commit: number): void {
    const message: Message = {
      type: MessageType.append, from, to: 1, term, index, logTerm, entries, commit, reject: false, hint: 0, context: 0, transfer: false, timeMs: 0,
      reference: NO_REFERENCE,
    };
    this.#events.message(from, encodeRaftHead(message), raftBody(message));
    this.clock.pass(5);
  }

  /** What an observer is given that asks for `from`, within 100 ms; undefined if it waits on. */
  fetch(from: number): string[] | undefined {
    this.answers.length = 0;
    this.#observers.fetch(1, from);
    this.clock.pass(100);
    return this.texts();
  }

  texts(): string[] | undefined {
    return this.answers[0]?.entries.map((bytes) => Buffer.from(bytes.subarray(40)).toString());
  }
}

test('an observer of a follower gets what is committed, and nothing that another leader may take back', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a'), entry(2, 1, 'b'), entry(3, 1, 'lost')], 2);
  expect(node.fetch(1)).toEqual(['a', 'b']);
  expect(node.answers[0]).toMatchObject({ firstIndex: 1, commitIndex: 2, leads: false, hasLeader: true });
  expect(node.fetch(3)).toBeUndefined();
  // It waits while another leader overwrites the entry.
  node.append(3, 2, 2, 1, [entry(3, 2, 'c'), entry(4, 2, 'd')], 2);
  expect(node.texts()).toBeUndefined();
  node.append(3, 2, 4, 2, [], 4);
  node.clock.pass(100);
  expect(node.texts()).toEqual(['c', 'd']);
});

test('the engine is told that a snapshot is in place when its index is the commit index that the shared cell says, and not before', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a')], 1);
  node.fromEngine({ type: 'restored', base: { index: 40, term: 1, timeMs: 1040 }, configuration: undefined });
  const installed = node.told.find(({ message }) => message.type === 'installed');
  expect(installed).toEqual({ message: { type: 'installed', index: 40, accepted: true }, cellCommit: 40 });
  node.clock.pass(5);
  node.append(2, 1, 40, 1, [entry(41, 1, 'b')], 41);
  expect(node.fetch(41)).toEqual(['b']);
  const committed = node.told.flatMap(({ message }) => (message.type === 'committed' ? message.entries.map(({ index }) => index) : []));
  expect(committed).toEqual([1, 41]);
});

test('without a leader it is told so, and what was committed stays to be had', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a')], 1);
  node.clock.pass(3000);
  expect(node.fetch(1)).toEqual(['a']);
  expect(node.answers[0]?.hasLeader).toBe(false);
});

test('behind a cut it says where the log begins', () => {
  const node = new Follower();
  node.append(2, 1, 0, 0, [entry(1, 1, 'a'), entry(2, 1, 'b'), entry(3, 1, 'c')], 3);
  node.store.cut(2);
  expect(node.fetch(2)).toEqual([]);
  expect(node.answers[0]).toMatchObject({ firstIndex: 3, commitIndex: 3 });
  expect(node.fetch(3)).toEqual(['c']);
});

test('a node alone that starts from a snapshot hands the engine what the log has behind it, though nothing else happens', () => {
  const node = new Follower(['n1'], (store) => {
    store.base = { index: 40, term: 1, timeMs: 1040 };
    store.entries = [entry(41, 1, 'a').bytes, entry(42, 1, 'b').bytes];
    store.hardState = { term: 1, vote: 1, commit: 42 };
  });
  node.clock.pass(5000);
  const delivered = (): number[] => node.told.flatMap(({ message }) => (message.type === 'committed' ? message.entries.map(({ index }) => index) : []));
  expect(delivered()).toEqual([]);
  node.fromEngine({ type: 'restored', base: { index: 40, term: 1, timeMs: 1040 }, configuration: undefined });
  node.clock.pass(5000);
  expect(delivered()).toEqual([41, 42, 43]);
  const types = node.told.map(({ message }) => message.type);
  expect(types.indexOf('installed')).toBeLessThan(types.indexOf('committed'));
});
