// The clients: each holds a connection to some node and sends it batches of commands as bytes, now and then in pieces,
// and reads the replies from the bytes that come back. Everything sent and answered goes through the history checker.
//
// Values are unique, and so is each record's payload within its session, so that what stands in the log can be told
// apart. Strings (r…) are set, appended to and deleted; counters (c…) are only ever added to.
import { BATCH_TARGET_BYTES } from '../../src/base/limits.ts';
import type { Prng } from '../../src/base/prng.ts';
import type { ClientSocket } from '../../src/ports/client-listener.ts';
import { plain, ReplyParser } from '../../src/resp/reply-parser.ts';
import type { Operation, SessionHistory } from './checkers/history.ts';
import type { Plain } from './checkers/model.ts';
import type { Life } from './node.ts';
import type { Simulator } from './simulator.ts';
import { Violation } from './trace.ts';

export interface WorkloadProfile {
  readonly clients: number;
  readonly registers: number;
  readonly counters: number;
  readonly thinkMs: number;
  readonly pipelineMax: number;
  readonly readShare: number;
  readonly expiryShare: number;
  readonly eventualShare: number;
  /** Of the writes, those that fill an entry by themselves, so that several are under way at once. */
  readonly bulkShare: number;
  /** Operations after which a client connects anew, elsewhere. */
  readonly sessionOperationsMax: number;
  /** Reads stand between writes in a pipeline; otherwise behind them. */
  readonly interleave: boolean;
}

const PATIENCE_MS = 6000;

export function encodeCommand(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`;
}

class SimSocket implements ClientSocket {
  readonly id: number;
  readonly remoteAddr = '127.0.0.1:50000';
  readonly localAddr = '127.0.0.1:6379';
  readonly fd = 3;
  readonly isUnix = false;
  readonly isLoopback = true;
  readonly bufferedBytes = 0;
  closing = false;
  #lastArrivalMs = 0;
  readonly #client: Client;
  readonly #life: Life;

  constructor(id: number, client: Client, life: Life) {
    this.id = id;
    this.#client = client;
    this.#life = life;
  }

  writeShort(bytes: Uint8Array, end: number): void {
    this.write([Buffer.from(bytes.subarray(0, end))], () => undefined);
  }

  write(buffers: readonly Uint8Array[], done: () => void): void {
    const client = this.#client;
    const bytes = new Uint8Array(Buffer.concat(buffers));
    this.#life.engineThread.post(0.05, done);
    if (!this.closing) this.#toClient(() => client.received(this, bytes));
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.#close();
  }

  destroy(): void {
    this.#close();
  }

  #close(): void {
    if (this.closing) return;
    this.closing = true;
    this.#life.engineThread.post(0.1, () => this.#life.server.closed(this));
    this.#toClient(() => this.#client.lost(this));
  }

  /** A connection keeps its order. */
  #toClient(event: () => void): void {
    const { scheduler } = this.#client.workload.sim;
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, scheduler.nowMs + this.#client.delayMs());
    scheduler.at(this.#lastArrivalMs, event);
  }
}

/** A transaction on its way: WATCH and GET were sent, EXEC follows with what they said. */
interface Watching {
  readonly key: string;
  readonly watch: Operation;
  readonly get: Operation;
}

export class Client {
  readonly workload: Workload;
  readonly #id: number;
  readonly #prng: Prng;
  #life: Life | undefined;
  #socket: SimSocket | undefined;
  #session: SessionHistory | undefined;
  #parser = new ReplyParser();
  /** In order of their replies. */
  #waiting: Operation[] = [];
  /** Replies of MULTI and QUEUED to be skipped stand here as 'other' operations. */
  #watching: Watching | undefined;
  #sent = 0;
  #timer = 0;
  /** Sends only this from now on (liveness). */
  calm = false;

  constructor(workload: Workload, id: number, prng: Prng) {
    this.workload = workload;
    this.#id = id;
    this.#prng = prng;
  }

  get idle(): boolean {
    return this.#waiting.length === 0;
  }

  delayMs(): number {
    return 0.05 + this.#prng.unit() * (this.#prng.chance(0.05) ? 20 : 0.5);
  }

  /** Connects to `life`, or to any node that is up. */
  connect(wanted?: Life): void {
    const { sim } = this.workload;
    const lives = sim.nodes.flatMap((node) => (node.life === undefined || node.life.stopping ? [] : [node.life]));
    const life = wanted ?? (lives.length === 0 ? undefined : this.#prng.pick(lives));
    if (life === undefined) {
      this.#reconnectLater(50);
      return;
    }
    const socket = new SimSocket(this.workload.nextSocketId(), this, life);
    this.#life = life;
    this.#socket = socket;
    this.#parser = new ReplyParser();
    this.#waiting = [];
    this.#watching = undefined;
    this.#sent = 0;
    life.engineThread.post(this.delayMs(), () => {
      if (this.#socket !== socket) return;
      life.server.connected(socket);
      const session = [...life.server.sessions.keys()].at(-1) ?? 0;
      const eventual = !this.calm && this.#prng.chance(this.workload.profile.eventualShare);
      this.#session = sim.history.newSession(`${life.node.id}:${life.boot}:${session}`, eventual ? 'eventual' : 'linearizable');
      if (eventual) this.#send([this.#invoke('other', [['HOLDFAST', 'READ', 'eventual']])]);
      if (!this.calm) this.#turn();
    });
  }

  /** The node died, the connection with it. */
  nodeGone(life: Life): void {
    if (this.#life === life && this.#socket !== undefined) this.lost(this.#socket);
  }

  lost(socket: SimSocket): void {
    if (this.#socket !== socket) return;
    if (this.#session !== undefined) this.workload.sim.history.abandon(this.#session);
    this.#socket = undefined;
    this.#life = undefined;
    this.#session = undefined;
    this.#waiting = [];
    this.#reconnectLater(this.#prng.unit() * 100);
  }

  #reconnectLater(delayMs: number): void {
    this.workload.sim.scheduler.after(delayMs, () => {
      if (!this.workload.stopped && this.#socket === undefined) this.connect();
    });
  }

  close(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.destroy();
    this.lost(socket);
  }

  // --- sending

  #turn(): void {
    const { profile, stopped, sim } = this.workload;
    if (stopped || this.#socket === undefined) return;
    const socket = this.#socket;
    if (this.#waiting.length === 0) {
      if (this.#sent >= profile.sessionOperationsMax) {
        this.close();
        return;
      }
      this.#batch();
    }
    // A client that hears nothing gives up and goes elsewhere.
    const timer = ++this.#timer;
    sim.scheduler.after(PATIENCE_MS, () => {
      if (this.#timer === timer && this.#socket === socket) this.close();
    });
  }

  #invoke(kind: Operation['kind'], commands: readonly (readonly string[])[], watched?: ReadonlyMap<string, string | null>): Operation {
    const { history, scheduler } = this.workload.sim;
    const payload = commands.map(encodeCommand).join('');
    return history.invoke(this.#session!, kind, commands, payload, scheduler.nowMs, watched);
  }

  #batch(): void {
    const { profile } = this.workload;
    if (this.#watching !== undefined) {
      this.#send(this.#finishTransaction(this.#watching));
      this.#watching = undefined;
      return;
    }
    if (this.#prng.chance(0.08)) {
      this.#send(this.#beginTransaction());
      return;
    }
    const count = 1 + this.#prng.below(profile.pipelineMax);
    const drawn: (() => Operation[])[] = [];
    const reads: (() => Operation[])[] = [];
    for (let i = 0; i < count; i++) {
      const isRead = this.#prng.chance(profile.readShare);
      const make = (): Operation[] => this.#operation(isRead);
      (isRead && !profile.interleave ? reads : drawn).push(make);
    }
    this.#send([...drawn, ...reads].flatMap((make) => make()));
  }

  #operation(isRead: boolean): Operation[] {
    if (isRead) return this.#prng.chance(0.1) ? this.#transaction(true, new Map()) : [this.#invoke('read', [this.#readWords()])];
    if (this.#prng.chance(0.1)) return this.#transaction(false, new Map());
    return [this.#invoke('write', [this.#writeWords()])];
  }

  #readWords(): string[] {
    switch (this.#prng.below(5)) {
      case 0:
        return ['MGET', this.#key(), this.#key(), this.#key()];
      case 1:
        return ['GET', this.#counter()];
      case 2:
        return ['EXISTS', this.#key()];
      default:
        return ['GET', this.#key()];
    }
  }

  #writeWords(): string[] {
    const prng = this.#prng;
    const value = this.workload.uniqueValue();
    const { bulkShare } = this.workload.profile;
    if (bulkShare > 0 && prng.chance(bulkShare)) return ['SET', this.#key(), value.padEnd(BATCH_TARGET_BYTES, '.')];
    if (prng.chance(this.workload.profile.expiryShare)) {
      return prng.chance(0.5)
        ? ['SET', this.#key(), value, 'PX', String(20 + prng.below(1500))]
        : ['PEXPIRE', this.#key(), String(20 + 7 * this.#session!.operations.length)];
    }
    switch (prng.below(6)) {
      case 0:
        return ['INCRBY', this.#counter(), String(this.workload.uniqueNumber())];
      case 1:
        return ['APPEND', this.#key(), value];
      case 2:
        return ['DEL', this.#key(), `x${value}`];
      case 3:
        return ['MSET', this.#key(), value, this.#key(), `${value}b`];
      default:
        return ['SET', this.#key(), value];
    }
  }

  #key(): string {
    return `r${this.#prng.below(this.workload.profile.registers)}`;
  }

  #counter(): string {
    return `c${this.#prng.below(this.workload.profile.counters)}`;
  }

  #beginTransaction(): Operation[] {
    const key = this.#key();
    const watch = this.#invoke('other', [['WATCH', key]]);
    const get = this.#invoke('read', [['GET', key]]);
    this.#watching = { key, watch, get };
    return [watch, get];
  }

  #finishTransaction({ key, watch, get }: Watching): Operation[] {
    const { reply } = get;
    const failed = [watch.reply, reply].some((each) => typeof each === 'string' && each.startsWith('-'));
    if (failed) return [this.#invoke('other', [['UNWATCH']])];
    return this.#transaction(this.#prng.chance(0.2), get.session.level === 'linearizable' ? new Map([[key, reply as string | null]]) : new Map(), key);
  }

  /** MULTI, commands, EXEC: the answers before EXEC's are of no interest. */
  #transaction(readOnly: boolean, watched: ReadonlyMap<string, string | null>, key?: string): Operation[] {
    const commands: string[][] = [];
    for (let i = 0; i < 2; i++) {
      if (readOnly || (i === 1 && this.#prng.chance(0.3))) commands.push(['GET', this.#key()]);
      else commands.push(['SET', i === 0 && key !== undefined ? key : this.#key(), this.workload.uniqueValue()]);
    }
    const writes = !readOnly;
    const queued = [['MULTI'], ...commands].map((words) => this.#invoke('other', [words]));
    return [...queued, this.#invoke(writes ? 'exec' : 'read-exec', commands, watched)];
  }

  #send(operations: readonly Operation[]): void {
    const life = this.#life!;
    const socket = this.#socket!;
    const { sim } = this.workload;
    const text = operations
      .map((operation) => (operation.kind === 'exec' || operation.kind === 'read-exec' ? encodeCommand(['EXEC']) : operation.payload))
      .join('');
    this.#waiting.push(...operations);
    this.#sent += operations.length;
    sim.trace(`c${this.#id} → n${life.node.id} ${operations.map((o) => `#${o.id} ${o.commands.map((c) => c.join(' ')).join(';')}`).join(' | ').slice(0, 160)}`);
    const bytes = new Uint8Array(Buffer.from(text, 'latin1'));
    const cut = this.#prng.chance(0.1) ? this.#prng.below(bytes.length) : bytes.length;
    const first = this.delayMs();
    for (const [part, delay] of [[bytes.slice(0, cut), first], [bytes.slice(cut), first + this.#prng.unit() * 3]] as const) {
      if (part.length === 0) continue;
      life.engineThread.post(delay, () => {
        if (!socket.closing) life.server.data(socket, part);
      });
    }
  }

  // --- receiving

  received(socket: SimSocket, bytes: Uint8Array): void {
    if (this.#socket !== socket) return;
    const { sim, stopped, profile } = this.workload;
    this.#parser.feed(bytes);
    for (let value = this.#parser.next(); value !== undefined; value = this.#parser.next()) {
      const operation = this.#waiting.shift();
      const reply = plain(value) as Plain;
      if (operation === undefined) throw new Violation('protocol', `client ${this.#id} got ${JSON.stringify(reply)}, which it did not ask for`);
      sim.trace(`c${this.#id} ← #${operation.id} ${JSON.stringify(reply)?.slice(0, 80)}`);
      sim.history.complete(operation, reply, sim.scheduler.nowMs);
    }
    if (this.#parser.error !== undefined) throw new Violation('protocol', `client ${this.#id}: ${this.#parser.error}`);
    if (this.#waiting.length > 0 || stopped || this.calm) return;
    this.#timer++;
    sim.scheduler.after(this.#prng.unit() * 2 * profile.thinkMs, () => {
      if (this.#socket === socket && this.#waiting.length === 0) this.#turn();
    });
  }

  /** Sends one operation now, for the liveness checks. */
  ask(kind: 'read' | 'write', words: readonly string[]): Operation | undefined {
    if (this.#socket === undefined || this.#session === undefined) return undefined;
    const operation = this.#invoke(kind, [words]);
    this.#send([operation]);
    return operation;
  }
}

export class Workload {
  readonly sim: Simulator;
  readonly profile: WorkloadProfile;
  readonly clients: Client[] = [];
  stopped = false;
  #nextValue = 1;
  #nextSocket = 1;

  constructor(sim: Simulator, profile: WorkloadProfile, prng: Prng) {
    this.sim = sim;
    this.profile = profile;
    for (let id = 1; id <= profile.clients; id++) this.clients.push(new Client(this, id, prng));
  }

  start(): void {
    for (const client of this.clients) client.connect();
  }

  /** Nobody sends any more; connections close. */
  stop(): void {
    this.stopped = true;
    for (const client of this.clients) client.close();
  }

  nodeGone(life: Life): void {
    for (const client of this.clients) client.nodeGone(life);
  }

  uniqueValue(): string {
    return `v${this.#nextValue++}`;
  }

  uniqueNumber(): number {
    return this.#nextValue++;
  }

  nextSocketId(): number {
    return this.#nextSocket++;
  }
}
