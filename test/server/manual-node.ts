// A node under a test's thumb: the real server, sessions, engine and machine; time stands still until the test moves it,
// and nothing is appended, committed, answered or refused until the test says so.
import { EntryKind, entryIndex, entryKind, entryRecordCount, entryTimeMs, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import { REPLICATED_SETTING_NAMES } from '../../src/commands/replicated-settings.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { Machine, MACHINE_VERSION } from '../../src/machine/machine.ts';
import type { ClientSocket } from '../../src/ports/client-listener.ts';
import type { Clock, Timer } from '../../src/ports/clock.ts';
import type { LeaseCellReader } from '../../src/ports/lease-cell.ts';
import type { ConsensusMessage, EngineLink, EngineMessage, SnapshotReference } from '../../src/ports/link.ts';
import type { Logger } from '../../src/ports/logger.ts';
import type { ApplyPace } from '../../src/replica/applying.ts';
import { Engine } from '../../src/replica/engine.ts';
import { loadConfig } from '../../src/server/config-file.ts';
import { Config } from '../../src/server/config.ts';
import { Server } from '../../src/server/server.ts';
import { MemoryFiles } from './memory-files.ts';

export const BOOT = 7;

class ManualClock implements Clock {
  nowMs = 1000;
  /** Turns end only by `oneTurn`. */
  holdsTurns = false;
  readonly #timers: { atMs: number; callback: () => void }[] = [];
  #turn: (() => void)[] = [];

  wallMs(): number {
    return 1_700_000_000_000 + Math.floor(this.nowMs);
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.nowMs + delayMs, callback };
    this.#timers.push(timer);
    return { cancel: () => void this.#timers.splice(this.#timers.indexOf(timer), 1) };
  }

  endOfTurn(callback: () => void): void {
    this.#turn.push(callback);
  }

  /** Ends this turn and all that follow from it, unless they are the test's to end. */
  endTurn(): void {
    while (this.#turn.length > 0 && !this.holdsTurns) this.oneTurn();
  }

  oneTurn(): void {
    for (const callback of this.#turn.splice(0)) callback();
  }

  /** Lets time pass and fires what falls due, in order. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      this.#timers.sort((a, b) => a.atMs - b.atMs);
      const next = this.#timers[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers.shift();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.callback();
      this.endTurn();
    }
    this.nowMs = untilMs;
  }
}

class ManualCell implements LeaseCellReader {
  leaseUntilMs = 0;
  term = 0;
  commit = 0;
  leaderId = 0;
  selfIsLeader = false;
  loads = 0;
  load(): void {
    this.loads++;
  }
}

type Propose = Extract<EngineMessage, { type: 'propose' }>;
type Forward = Extract<EngineMessage, { type: 'forward' }>;

export class ManualSocket implements ClientSocket {
  readonly remoteAddr = '127.0.0.1:50000';
  readonly localAddr = '127.0.0.1:6379';
  readonly fd = 8;
  readonly isUnix = false;
  readonly isLoopback = true;
  bufferedBytes = 0;
  /** False: the peer reads nothing, and what is written stays. */
  reads = true;
  closing = false;
  paused = false;
  received = '';
  readonly id: number;
  readonly #node: ManualNode;
  #waiting: { bytes: number; done: () => void }[] = [];

  constructor(id: number, node: ManualNode) {
    this.id = id;
    this.#node = node;
    node.server.connected(this);
  }

  writeShort(bytes: Uint8Array, end: number): void {
    this.write([Buffer.from(bytes.subarray(0, end))], () => undefined);
  }

  write(buffers: readonly Uint8Array[], done: () => void): void {
    let bytes = 0;
    for (const buffer of buffers) {
      bytes += buffer.length;
      if (this.reads) this.received += Buffer.from(buffer).toString('latin1');
    }
    if (this.reads) {
      this.#node.clock.endOfTurn(done);
      return;
    }
    this.bufferedBytes += bytes;
    this.#waiting.push({ bytes, done });
  }

  /** The peer takes everything that waits for it, and goes on as slowly as before. */
  drain(): number {
    const bytes = this.bufferedBytes;
    this.bufferedBytes = 0;
    for (const { done } of this.#waiting.splice(0)) done();
    this.#node.server.drained(this);
    return bytes;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {
    this.closing = true;
  }

  destroy(): void {
    this.closing = true;
    this.#node.clock.endOfTurn(() => this.#node.server.closed(this));
  }

  /** Sends commands, words apart by spaces, in one piece, and ends the turn. */
  send(...commands: string[]): void {
    this.sendBytes(...commands.map((command) => resp(command.split(' '))));
  }

  sendBytes(...parts: Uint8Array[]): void {
    this.#node.server.data(this, Buffer.concat(parts));
    this.#node.clock.endTurn();
  }

  /** What has come since the last look. */
  take(): string {
    const { received } = this;
    this.received = '';
    return received;
  }
}

export function resp(words: readonly string[]): Uint8Array {
  return Buffer.from(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word, 'latin1')}\r\n${word}\r\n`).join('')}`, 'latin1');
}

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const facts = { rssBytes: 1, systemBytes: 1, userCpuSeconds: 0, systemCpuSeconds: 0, pid: 1, os: 'test', executable: 'test', nodeVersion: 'test' };

export class ManualNode {
  readonly clock = new ManualClock();
  readonly cell = new ManualCell();
  readonly machine: Machine;
  readonly server: Server;
  readonly engine: Engine;
  /** What the engine has sent and nobody has dealt with. */
  readonly outbox: EngineMessage[] = [];
  readonly threw: string[] = [];
  /** Snapshots that the engine wants a machine of. */
  readonly restores: { readonly index: number; readonly done: (result: Machine | string) => void }[] = [];
  /** Searches for published snapshots; `find` ends one, with what is wanted then or was before. */
  readonly confirms: { readonly wanted: () => SnapshotReference; readonly find: (snapshot?: SnapshotReference) => void }[] = [];
  #tell: (message: ConsensusMessage) => void = () => undefined;
  /** Committed messages that have arrived and that the event loop has not come to. */
  readonly #arrived: ConsensusMessage[] = [];
  #held = false;
  #index = 0;
  #timeMs = 0;
  #connections = 0;

  constructor(...directives: string[]) {
    const loaded = loadConfig(new MemoryFiles(), undefined, directives);
    const random = new Prng(1, 2);
    this.machine = new Machine(
      new CommandTable(allCommands),
      { handlerThrew: (command, _index, error) => this.threw.push(`${command}: ${String(error)}`), diverged: () => undefined },
      () => this.clock.monotonicMs(),
    );
    const config = new Config(loaded, new MemoryFiles(), () => this.machine.settings);
    this.server = new Server({
      config, table: this.machine.table, clock: this.clock, logger: silent,
      entropy: { uint32: () => random.uint32() },
      clusterId: 'c',
      nodeId: 1,
      members: [1, 2, 3].map((id) => ({ id, name: `n${id}`, host: '127.0.0.1', peerPort: 16379, clientPort: 6378 + id })),
      runId: '0'.repeat(40),
      version: 'test',
      process: () => facts,
      onShutdown: () => undefined,
      onStopped: () => undefined,
    });
    const link: EngineLink = {
      send: (message) => {
        if (message.type !== 'applied' && message.type !== 'status') this.outbox.push(message);
      },
      onMessage: (handler) => (this.#tell = handler),
      poll: () => {
        for (const message of this.#arrived.splice(0)) this.#tell(message);
      },
    };
    this.engine = new Engine({
      machine: this.machine, link, cell: this.cell, clock: this.clock, logger: silent,
      host: this.server,
      origin: { node: 1, boot: BOOT },
      bootstrap: () => ({
        databases: loaded.values.databases,
        hashKey: new Uint8Array(16),
        settings: REPLICATED_SETTING_NAMES.map((name) => [name, config.seed()[name]] as const),
      }),
      readConsistency: 'lease',
      uncertainAfterMs: 1000,
      leaderWaitMs: 2000,
      startsBehind: { index: ManualNode.startsBehind, term: 1, timeMs: 0 },
      pace: ManualNode.pace,
      installer: {
        start: ({ index }, done) => void this.restores.push({ index, done: (result) => done(result as Machine) }),
        restore: ({ index }, done) => void this.restores.push({ index, done }),
        piece: (_request, done) => done({ absent: 'it has none' }),
        confirm: (wanted, done) => void this.confirms.push({ wanted, find: (snapshot = wanted()) => done(snapshot) }),
      },
    });
    this.server.attach(this.engine);
    this.server.maintenance.activeExpire = false;
    this.engine.start();
  }

  /** Of the log of nodes that are made next. */
  static startsBehind = 0;
  /** Theirs; time stands still here, so that by their own they would never pause. */
  static pace: ApplyPace | undefined;

  /** A node that leads term 1, with its bootstrap entry applied. */
  static leader(...directives: string[]): ManualNode {
    const node = new ManualNode(...directives);
    node.state('leader', 1, 1);
    node.noop();
    node.commitAll();
    return node;
  }

  /** A node that follows node 2 in term 2, its keyspace bootstrapped. */
  static follower(...directives: string[]): ManualNode {
    const node = ManualNode.leader(...directives);
    node.state('follower', 2, 2);
    node.noop();
    return node;
  }

  connect(): ManualSocket {
    return new ManualSocket(++this.#connections, this);
  }

  tell(message: ConsensusMessage): void {
    this.#tell(message);
    this.clock.endTurn();
  }

  state(role: 'leader' | 'follower', leader: number, term: number): void {
    Object.assign(this.cell, { term, leaderId: leader, selfIsLeader: role === 'leader', leaseUntilMs: role === 'leader' ? Infinity : 0 });
    this.tell({ type: 'state', role, leader, term });
  }

  noop(): void {
    this.#commit(makeEntry(EntryKind.noop, MACHINE_VERSION, 0, 0, new Uint8Array(0)), 0);
  }

  /** Consensus takes the machine that the engine has offered; the log goes on behind it. */
  install(index: number): void {
    const offered = this.outbox.findIndex((message) => message.type === 'restored' && message.base.index === index);
    if (offered < 0) throw new Error(`no machine at ${index} is offered`);
    this.outbox.splice(offered, 1);
    this.#index = index;
    this.cell.commit = Math.max(this.cell.commit, index);
    this.tell({ type: 'installed', index, accepted: true });
  }

  /** What the engine has proposed and is not appended yet. */
  get proposals(): Propose[] {
    return this.outbox.filter((message): message is Propose => message.type === 'propose');
  }

  get forwards(): Forward[] {
    return this.outbox.filter((message): message is Forward => message.type === 'forward');
  }

  /** Appends and commits what is proposed, and what is proposed thereupon. Returns the record counts. */
  commitAll(): number[] {
    const counts: number[] = [];
    // A batch that waits for more leaves after a millisecond.
    if (this.proposals.length === 0) this.clock.pass(1);
    for (;;) {
      const at = this.outbox.findIndex((message) => message.type === 'propose');
      const message = this.outbox[at];
      if (message?.type !== 'propose') return counts;
      this.outbox.splice(at, 1);
      if (entryKind(message.entry) === EntryKind.commands) counts.push(entryRecordCount(message.entry));
      this.#commit(message.entry, message.id);
    }
  }

  /** Commits what is proposed; the engine learns of it only if it polls. */
  arriveCommitted(): void {
    this.#held = true;
    this.commitAll();
    this.#held = false;
  }

  /** The leader commits a forwarded batch. */
  commitForward(forward: Forward): void {
    this.outbox.splice(this.outbox.indexOf(forward), 1);
    this.#commit(makeEntry(EntryKind.commands, MACHINE_VERSION, forward.count, this.clock.wallMs(), forward.records), 0);
  }

  /** Answers the read-index request that is waiting, as of now. */
  answerRead(timeMs = this.clock.wallMs()): void {
    const at = this.outbox.findIndex((message) => message.type === 'read-index');
    const message = this.outbox[at];
    if (message?.type !== 'read-index') throw new Error('no read index was asked for');
    this.outbox.splice(at, 1);
    this.tell({ type: 'read-state', id: message.id, index: this.#index, timeMs });
  }

  #commit(entry: Uint8Array, proposal: number): void {
    const { term } = this.cell;
    const index = ++this.#index;
    this.#timeMs = Math.max(this.#timeMs, entryTimeMs(entry));
    sealEntry(entry, term, index, this.#timeMs);
    if (entryIndex(entry) !== index) throw new Error('sealed');
    this.cell.commit = index;
    if (proposal !== 0 && !this.#held) this.tell({ type: 'appended', id: proposal, term, index });
    const now = this.clock.nowMs;
    const message: ConsensusMessage = {
      type: 'committed',
      entries: [{ index, term, timeMs: this.#timeMs, proposal, bytes: entry, takenMs: now, persistedMs: now, committedMs: now }],
    };
    if (this.#held) this.#arrived.push(message);
    else this.tell(message);
  }
}
