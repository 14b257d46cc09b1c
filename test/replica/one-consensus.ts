// One real Consensus over a log store in memory; its peers, its engine and its observers are played by the test.
import { expect } from 'vitest';
import { EntryKind, entryIndex, entryTerm, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { LOG_START, type LogBase } from '../../src/base/log-base.ts';
import type { ConsensusMessage, EngineMessage } from '../../src/ports/link.ts';
import type { HardState, LogAppend, LogStore } from '../../src/ports/log-store.ts';
import type { FeedAnswer, ObserverEvents } from '../../src/ports/observers.ts';
import type { TransportEvents } from '../../src/ports/transport.ts';
import { makeMessage } from '../../src/raft/message.ts';
import { initialConfiguration } from '../../src/raft/configuration.ts';
import { MessageType, type Entry, type Message } from '../../src/raft/types.ts';
import { entryOf } from '../../src/replica/cached-log.ts';
import { Consensus } from '../../src/replica/consensus.ts';
import type { ConsensusOptions } from '../../src/replica/consensus-options.ts';
import { decodePeerMessage, encodeRaftHead, raftBody, type PeerMessage } from '../../src/replica/peer-message.ts';
import { StepClock } from './step-clock.ts';

export class MemoryStore implements LogStore {
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
  behind(): number {
    return 0;
  }
  /** On disk, as the test says. */
  size = 0;
  sizeBytes(): number {
    return this.size;
  }
  close(): void {}
}

export const entry = (index: number, term: number, text: string): Entry => {
  const bytes = makeEntry(EntryKind.commands, 1, 1, 1000 + index, Buffer.from(text));
  sealEntry(bytes, term, index, 0);
  return entryOf(bytes);
};

export class Follower {
  readonly clock = new StepClock();
  readonly store = new MemoryStore(this.clock);
  readonly answers: FeedAnswer[] = [];
  /** What goes to peers. */
  readonly sent: (PeerMessage | string)[] = [];
  /** What the engine is told, and the commit index in the shared cell at that moment. */
  readonly told: { readonly message: ConsensusMessage; readonly cellCommit: number }[] = [];
  fromEngine!: (message: EngineMessage) => void;
  /** Warnings and errors. */
  readonly lines: string[] = [];
  readonly #line = (fields: object, message: string): void => void this.lines.push(`${message} ${JSON.stringify(fields)}`);
  #cellCommit = 0;
  readonly consensus: Consensus;
  #events!: TransportEvents;
  #observers!: ObserverEvents;

  constructor(names: readonly string[] = ['n1', 'n2', 'n3'], prepare: (store: MemoryStore) => void = () => undefined, options: Partial<ConsensusOptions> = {}) {
    prepare(this.store);
    const silent = (): void => undefined;
    this.consensus = new Consensus({
      discard: silent,
      ...options,
      id: 1,
      incarnation: '01'.repeat(16),
      rejoining: false,
      configuration: initialConfiguration(names.map((name, i) => ({ id: i + 1, name, host: 'h', peerPort: i + 1, clientPort: i + 1 }))),
      store: this.store,
      transport: { start: (events) => (this.#events = events), setPeers: silent, send: (to, head, body) => void this.sent.push(decodePeerMessage(1, to, head, body)), queuedBytes: () => 0, close: silent },
      observers: {
        observe: (events) => (this.#observers = events),
        answer: (_observer, answer) => void this.answers.push(answer),
        answerPiece: silent,
        dropObserver: (_observer, reason) => expect.fail(reason),
      },
      link: {
        send: (message) => void this.told.push({ message, cellCommit: this.#cellCommit }),
        onMessage: (handler) => (this.fromEngine = handler),
      },
      clock: this.clock,
      cell: { publish: (_lease, _term, commit) => (this.#cellCommit = commit) },
      logger: { debug: silent, info: silent, warn: this.#line, error: this.#line },
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
    this.hear(MessageType.append, from, { term, index, logTerm, entries, commit });
  }

  hear(type: MessageType, from: number, fields: Partial<Message>): void {
    const message = makeMessage(type, from, 1, 0, fields);
    this.#events.message(from, encodeRaftHead(message), raftBody(message));
    this.clock.pass(5);
  }

  /** A whole peer message, as it comes. */
  hearBytes(from: number, head: Uint8Array, body: readonly Uint8Array[]): void {
    this.#events.message(from, head, body);
    this.clock.pass(5);
  }

  connect(id: number): void {
    this.#events.connected({ nodeId: id, incarnation: `0${id}`.repeat(16), rejoining: false });
    this.clock.pass(5);
  }

  sentOf(type: MessageType): Message[] {
    return this.sent.flatMap((sent) => (typeof sent !== 'string' && sent.kind === 'raft' && sent.message.type === type ? [sent.message] : []));
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
