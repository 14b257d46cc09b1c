// A whole node in this process, without a network or a disk: the real server, sessions, engine and machine over a consensus
// that commits whatever it is given. For tests of what a client sees.
import { NodeClock } from '../../src/adapters/node-clock.ts';
import { EntryKind, entryTimeMs, makeEntry, sealEntry } from '../../src/base/entry.ts';
import { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import { REPLICATED_SETTING_NAMES } from '../../src/commands/replicated-settings.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { Machine, MACHINE_VERSION } from '../../src/machine/machine.ts';
import type { ClientSocket } from '../../src/ports/client-listener.ts';
import type { LeaseCellReader } from '../../src/ports/lease-cell.ts';
import type { ConsensusMessage, EngineLink, EngineMessage } from '../../src/ports/link.ts';
import type { Logger } from '../../src/ports/logger.ts';
import { Engine } from '../../src/replica/engine.ts';
import { loadConfig } from '../../src/server/config-file.ts';
import { Config } from '../../src/server/config.ts';
import { Server } from '../../src/server/server.ts';
import { MemoryFiles } from '../server/memory-files.ts';
import { replyEnd } from './recorded-reply.ts';

type Word = string | number;

/** One voter whose disk is always done. */
class InstantConsensus implements EngineLink, LeaseCellReader {
  poll(): void {}

  readonly leaseUntilMs = Infinity;
  readonly term = 1;
  commit = 0;
  readonly leaderId = 1;
  readonly selfIsLeader = true;
  #timeMs = 0;
  #handler: ((message: ConsensusMessage) => void) | undefined;

  load(): void {}

  onMessage(handler: (message: ConsensusMessage) => void): void {
    this.#handler = handler;
  }

  lead(): void {
    this.#tell({ type: 'state', role: 'leader', leader: 1, term: 1 });
    const bytes = makeEntry(EntryKind.noop, MACHINE_VERSION, 0, Date.now(), new Uint8Array(0));
    this.#commit(bytes, 0);
  }

  send(message: EngineMessage): void {
    if (message.type === 'propose') setImmediate(() => this.#commit(message.entry, message.id));
    else if (message.type === 'read-index') {
      setImmediate(() => this.#tell({ type: 'read-state', id: message.id, index: this.commit, timeMs: this.#timeMs }));
    } else if (message.type === 'status') {
      const status = { firstIndex: 1, lastIndex: this.commit, commitIndex: this.commit, log: { bytes: 0, bytesMax: 0, isFull: false, heldBy: 0, heldAt: 0, heldEntries: 0, heldBytes: 0 }, members: [], changing: false };
      setImmediate(() => this.#tell({ type: 'status', id: message.id, ...status }));
    }
  }

  #commit(entry: Uint8Array, proposal: number): void {
    const index = ++this.commit;
    this.#timeMs = Math.max(this.#timeMs, entryTimeMs(entry));
    sealEntry(entry, 1, index, this.#timeMs);
    if (proposal !== 0) this.#tell({ type: 'appended', id: proposal, term: 1, index });
    this.#tell({ type: 'committed', entries: [{ index, term: 1, timeMs: this.#timeMs, proposal, bytes: entry, takenMs: 0, persistedMs: 0, committedMs: 0 }] });
  }

  #tell(message: ConsensusMessage): void {
    this.#handler?.(message);
  }
}

/** A client connection: what it sends goes straight to the server. */
export class Connection implements ClientSocket {
  readonly remoteAddr = '127.0.0.1:50000';
  readonly localAddr = '127.0.0.1:6379';
  readonly fd = 8;
  readonly isUnix = false;
  readonly isLoopback = true;
  readonly bufferedBytes = 0;
  closing = false;
  readonly id: number;
  readonly #server: Server;
  #received = '';
  #wake: (() => void) | undefined;

  constructor(id: number, server: Server) {
    this.id = id;
    this.#server = server;
    server.connected(this);
  }

  writeShort(bytes: Uint8Array, end: number): void {
    this.write([Buffer.from(bytes.subarray(0, end))], () => undefined);
  }

  write(buffers: readonly Uint8Array[], done: () => void): void {
    for (const buffer of buffers) this.#received += Buffer.from(buffer).toString('latin1');
    setImmediate(done);
    this.#wake?.();
  }

  pause(): void {}
  resume(): void {}

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.closing) return;
    this.closing = true;
    setImmediate(() => this.#server.closed(this));
    this.#wake?.();
  }

  /** Sends the commands at once; each one's reply as wire text, '' for those that the closed connection never answered. */
  async wire(commands: ReadonlyArray<readonly Word[]>): Promise<string[]> {
    for (const command of commands) {
      const words = command.map((word) => Buffer.from(String(word), 'latin1'));
      const parts = words.flatMap((word) => [Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n')]);
      this.#server.data(this, Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...parts]));
    }
    const replies: string[] = [];
    for (let at = 0; replies.length < commands.length; ) {
      const end = replyEnd(this.#received, at);
      if (end >= 0) {
        replies.push(this.#received.slice(at, end));
        at = end;
        if (replies.length === commands.length) this.#received = this.#received.slice(at);
      } else if (this.closing) {
        replies.push('');
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
    return replies;
  }
}

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

export class OneNode {
  readonly server: Server;
  readonly #engine: Engine;
  #connections = 0;

  private constructor(directives: readonly string[]) {
    const loaded = loadConfig(new MemoryFiles(), undefined, directives);
    const clock = new NodeClock();
    const random = new Prng(1, 2);
    const entropy = { uint32: () => random.uint32() };
    const threw = (command: string, _index: number, error: unknown): void => {
      throw new Error(`${command} threw: ${String(error)}`);
    };
    const machine = new Machine(new CommandTable(allCommands), { handlerThrew: threw, diverged: () => undefined }, () => clock.monotonicMs());
    const config = new Config(loaded, new MemoryFiles(), () => machine.settings);
    const facts = { rssBytes: 1, systemBytes: 1, userCpuSeconds: 0, systemCpuSeconds: 0, pid: 1, os: 'test', executable: 'test', nodeVersion: 'test' };
    this.server = new Server({
      config, table: machine.table, clock, entropy, logger: silent,
      clusterId: 'c',
      nodeId: 1,
      members: [{ id: 1, name: 'n1', host: '127.0.0.1', peerPort: 16379, clientPort: 6379 }],
      runId: '0'.repeat(40),
      version: 'test',
      process: () => facts,
      onShutdown: () => undefined,
      onStopped: () => undefined,
    });
    const consensus = new InstantConsensus();
    this.#engine = new Engine({
      machine, clock, logger: silent,
      link: consensus,
      cell: consensus,
      host: this.server,
      origin: { node: 1, boot: 1 },
      bootstrap: () => ({
        databases: loaded.values.databases,
        hashKey: new Uint8Array(16),
        settings: REPLICATED_SETTING_NAMES.map((name) => [name, config.seed()[name]] as const),
      }),
      readConsistency: 'lease',
      uncertainAfterMs: 5000,
      leaderWaitMs: 5000,
    });
    this.server.attach(this.#engine);
    this.#engine.start();
    consensus.lead();
  }

  static async start(...directives: string[]): Promise<OneNode> {
    const node = new OneNode(directives);
    while (!node.#engine.machine.bootstrapped) await new Promise((resolve) => setImmediate(resolve));
    return node;
  }

  connect(): Connection {
    return new Connection(++this.#connections, this.server);
  }

  stop(): void {
    this.#engine.stop();
    this.server.stop();
  }
}
