// The node's front: accepts clients, runs reads and session commands, and is the engine's host: it finds the session
// that each reply belongs to. Owns the sessions and the read context; node-wide commands go to NodePort.
//
// What must hold:
// - Whatever a client sends, only its own connection can be closed for it.
// - A read runs only after `engine.reads` has allowed it, with the time that came with that.
import type { MemberAddress } from '../base/configuration.ts';
import { Prng } from '../base/prng.ts';
import { INLINE_BYTES_MAX, MULTIBULK_COUNT_MAX } from '../base/limits.ts';
import { CommandContext } from '../commands/context.ts';
import { Errors } from '../commands/errors.ts';
import type { ServerPort, SessionPort } from '../commands/ports.ts';
import type { CommandSpec } from '../commands/spec.ts';
import type { CommandTable } from '../commands/table.ts';
import { Keyspace } from '../keyspace/keyspace.ts';
import type { Clock } from '../ports/clock.ts';
import type { ClientEvents, ClientSocket } from '../ports/client-listener.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { Logger } from '../ports/logger.ts';
import { Args } from '../resp/args.ts';
import { parseMultibulk, RequestDecoder } from '../resp/decoder.ts';
import type { Reply } from '../resp/reply.ts';
import { ReplyPool } from '../resp/reply-pool.ts';
import type { ReplyWriter } from '../resp/reply-writer.ts';
import type { Engine, EngineHost } from '../replica/engine.ts';
import type { Config } from './config.ts';
import { InputTurns } from './input-turns.ts';
import { expiredKey, Maintenance, type ExpiredKey } from './maintenance.ts';
import { NodePort } from './node-port.ts';
import { Session } from './session.ts';
import { Sessions } from './sessions.ts';
import { Stats } from './stats.ts';
import type { QueuedCommands } from './transaction.ts';

/** What INFO says about the process and the machine. */
export interface ProcessFacts {
  readonly rssBytes: number;
  readonly systemBytes: number;
  readonly userCpuSeconds: number;
  readonly systemCpuSeconds: number;
  readonly pid: number;
  readonly os: string;
  readonly executable: string;
  readonly nodeVersion: string;
}

export interface ServerOptions {
  readonly config: Config;
  readonly table: CommandTable;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly nodeId: number;
  readonly clusterId: string;
  /** As of the start; consensus tells of changes. */
  readonly members: readonly MemberAddress[];
  readonly runId: string;
  readonly version: string;
  readonly process: () => ProcessFacts;
  /** The clean stop was asked for by a client. */
  readonly onShutdown: () => void;
  /** Consensus has stopped; an empty reason is a clean stop. */
  readonly onStopped: (reason: string) => void;
}

const LOADING = 'LOADING Holdfast is loading the dataset in memory';
const PROTECTED =
  '-DENIED Holdfast is running in protected mode because protected mode is enabled and no password is set for the default user. ' +
  'In this mode connections are only accepted from the loopback interface. Set requirepass on every node, or "protected-mode no" ' +
  'if the network is trusted, and connect again.\r\n';
const MAX_CLIENTS = '-ERR max number of clients reached\r\n';

export class Server implements EngineHost, ClientEvents {
  readonly options: ServerOptions;
  readonly table: CommandTable;
  readonly stats = new Stats();
  /** Output buffers, shared by all sessions. */
  readonly replyPool = new ReplyPool();
  readonly log: Logger;
  readonly sessions = new Sessions();
  readonly #bySocket = new Map<ClientSocket, Session>();
  #engine: Engine | undefined;
  #maintenance: Maintenance | undefined;
  readonly node: NodePort;
  #context: CommandContext | undefined;
  readonly #emptyKeyspace: Keyspace;
  readonly #readArgs = new Args();
  readonly #random: Prng;
  #nextSession = 1;
  #dirty: Session[] = [];
  #resuming: Session[] = [];
  #expired: ExpiredKey[] = [];
  #expiredAtMs = 0;
  /** The arguments of the session command that is running (WATCH looks at them). */
  runningArgs = new Args();
  runningSession: Session | undefined;
  #lastCronMs = 0;
  readonly turns: InputTurns<Session>;
  #stopped = false;

  constructor(options: ServerOptions) {
    this.options = options;
    this.table = options.table;
    this.log = options.logger;
    this.#random = new Prng(options.entropy.uint32(), options.entropy.uint32());
    this.#emptyKeyspace = new Keyspace({ databases: options.config.values.databases, hashKey: new Uint8Array(16) });
    this.node = new NodePort(this);
    this.turns = new InputTurns(options.clock, (session) => this.#guard(session, () => session.goOn()), () => this.flush());
  }

  /** Ties the server to its engine; once, before anything else. */
  attach(engine: Engine): void {
    this.#engine = engine;
    this.#maintenance = new Maintenance(engine, this.options.entropy, this.options.clock, () => this.stats.commands, () => this.node.snapshots.wantsCheckpoint);
    this.#lastCronMs = this.monotonicMs();
    this.#scheduleCron();
  }

  get engine(): Engine {
    return this.#engine!;
  }

  get maintenance(): Maintenance {
    return this.#maintenance!;
  }

  get keyspace(): Keyspace {
    return this.engine.machine.keyspace;
  }

  get requirePass(): string {
    return this.options.config.values.requirepass;
  }

  monotonicMs(): number {
    return this.options.clock.monotonicMs();
  }

  stop(): void {
    this.#stopped = true;
  }

  // --- clients (ClientEvents)

  connected(socket: ClientSocket): void {
    const { config, logger } = this.options;
    if (this.sessions.size >= config.values.maxclients) {
      this.stats.rejectedConnections++;
      socket.write([new TextEncoder().encode(MAX_CLIENTS)], () => undefined);
      socket.end();
      return;
    }
    if (config.values['protected-mode'] && this.requirePass === '' && !socket.isLoopback && !socket.isUnix) {
      this.stats.rejectedConnections++;
      logger.warn({ client: socket.remoteAddr }, 'a client was refused: protected mode, no password');
      socket.write([new TextEncoder().encode(PROTECTED)], () => undefined);
      socket.end();
      return;
    }
    this.stats.connections++;
    const session = new Session(this, this.#nextSession++, socket);
    this.sessions.set(session.id, session);
    this.#bySocket.set(socket, session);
  }

  data(socket: ClientSocket, chunk: Uint8Array): void {
    this.engine.catchUp();
    this.stats.inputBytes += chunk.length;
    this.turns.open();
    const session = this.#bySocket.get(socket);
    if (session) this.#guard(session, () => session.data(chunk));
  }

  /** Whatever goes wrong with what a client has sent ends its connection and nothing else. */
  #guard(session: Session, run: () => void): void {
    try {
      run();
    } catch (thrown) {
      this.log.error(
        { client: session.socket.remoteAddr, id: session.id, error: thrown instanceof Error ? thrown.stack : String(thrown) },
        'a connection failed inside and is closed: please report this',
      );
      session.close();
    }
  }

  drained(socket: ClientSocket): void {
    this.#bySocket.get(socket)?.drained();
    this.flush();
  }

  ended(socket: ClientSocket): void {
    const session = this.#bySocket.get(socket);
    if (session === undefined) {
      socket.end();
      return;
    }
    session.inputEnded();
    this.flush();
  }

  trouble(text: string): void {
    this.log.warn({ detail: text }, 'trouble with the client port');
  }

  closed(socket: ClientSocket): void {
    const session = this.#bySocket.get(socket);
    if (session === undefined) return;
    session.closing = true;
    this.#bySocket.delete(socket);
    this.sessions.delete(session.id);
  }

  newDecoder(): RequestDecoder {
    const { values } = this.options.config;
    return new RequestDecoder({
      bulkBytesMax: this.engine.machine.settings['proto-max-bulk-len'],
      multibulkMax: MULTIBULK_COUNT_MAX,
      inlineMax: INLINE_BYTES_MAX,
      queryBufferBytesMax: Math.min(values['client-query-buffer-limit'], 0x7fff_ffff),
    });
  }

  /** True if the session has more unsent bytes than client-output-buffer-limit allows. */
  overOutputLimit(session: Session): boolean {
    const { hardBytes, softBytes, softSeconds } = this.options.config.values['client-output-buffer-limit'].normal;
    const bytes = session.socket.bufferedBytes;
    if (hardBytes > 0 && bytes > hardBytes) return true;
    if (softBytes === 0 || bytes <= softBytes) {
      session.overSoftLimitSinceMs = 0;
      return false;
    }
    const now = this.monotonicMs();
    if (session.overSoftLimitSinceMs === 0) session.overSoftLimitSinceMs = now;
    return now - session.overSoftLimitSinceMs > softSeconds * 1000;
  }

  // --- what a session asks before and while it runs commands

  /** The error for a command that is not run at all, or undefined. */
  refusal(session: Session, spec: CommandSpec | undefined, args: Args): string | undefined {
    if (spec === undefined) return this.table.unknownFault(args);
    const arity = this.table.argumentsFault(spec, args);
    if (arity !== undefined) return arity;
    if (!session.authenticated && !spec.flags.includes('no_auth')) return Errors.noAuth;
    if (session.transaction.active && spec.insideExec === 'refuse') return 'ERR Command not allowed inside a transaction';
    if (this.engine.loading && !spec.flags.includes('loading')) return LOADING;
    const { transaction } = session;
    if (spec.class !== 'write') {
      const runsWrites = spec.name === 'exec' && transaction.hasWrite && !transaction.aborted;
      return runsWrites ? this.#writeRefusal(transaction.mayGrow, false) : undefined;
    }
    const refused = this.#writeRefusal(spec.flags.includes('denyoom'), spec.essential === true);
    if (refused !== undefined) return refused;
    // As in Redis, a queued command's syntax is looked at by EXEC only.
    return transaction.active ? undefined : spec.validate?.(args);
  }

  #writeRefusal(mayGrow: boolean, essential: boolean): string | undefined {
    const { engine, options: { config: { values } } } = this;
    if (engine.logFailure !== undefined && engine.leader === 0) {
      return `MISCONF the log of this node cannot be written (${engine.logFailure}); it takes no writes until it is mended and restarted`;
    }
    if (!engine.isLeader && engine.leader !== 0 && values['follower-writes'] !== 'forward') {
      const leader = this.node.group.member(engine.leader);
      if (values['follower-writes'] === 'error' || leader === undefined) {
        return 'READONLY You can\'t write against a read only replica.';
      }
      return `MOVED 0 ${leader.host}:${leader.clientPort}`;
    }
    if (engine.room.isFull && !essential) return Errors.logFull;
    if (values.maxmemory > 0 && mayGrow && engine.machine.keyspace.usedBytes > values.maxmemory) {
      if (!this.maintenance.evict(this.evictionSettings())) return Errors.oom;
    }
    return undefined;
  }

  evictionSettings() {
    const { values } = this.options.config;
    return { maxmemory: values.maxmemory, policy: values['maxmemory-policy'], samples: values['maxmemory-samples'] };
  }

  /** CLIENT PAUSE. */
  mustWait(session: Session, spec: CommandSpec): boolean {
    return this.node.paused(spec, session);
  }

  /**
   * Runs a read whose turn has come. True if it met keys that have expired but not yet in the log: nothing was written then,
   * and the caller waits for `deleteExpired` and tries again.
   */
  runRead(session: Session, spec: CommandSpec, args: Args, reply: Reply, timeMs: number, db: number): boolean {
    const context = this.#prepare(session, reply, timeMs, db);
    const mark = markOf(reply);
    this.#runCounted(context, spec, args);
    if (!context.expiredSeen) return false;
    truncate(reply, mark);
    return true;
  }

  runReadOnlyExec(session: Session, queued: QueuedCommands, reply: Reply, timeMs: number, db: number): boolean {
    const context = this.#prepare(session, reply, timeMs, db);
    const mark = markOf(reply);
    const changed = queued.watched.some(({ db: number, key, version }) => this.keyspace.version(number, key, 0, key.length, context.nowMs) !== version);
    if (changed || (queued.watched.length > 0 && queued.watchedAt < this.engine.machine.lastCheckpointIndex)) {
      reply.nullArray();
      return false;
    }
    reply.array(queued.count);
    const args = this.#readArgs;
    session.inExec = true;
    try {
      for (let at = 0, i = 0; i < queued.count; i++) {
        at = parseMultibulk(args, queued.bytes, at, queued.bytes.length, 0x7fff_ffff, 0x7fff_ffff);
        const spec = this.table.lookup(args);
        if (spec === undefined) continue;
        context.db = this.keyspace.database(session.db);
        this.#runCounted(context, spec, args);
        if (!context.expiredSeen) continue;
        truncate(reply, mark);
        session.db = db;
        return true;
      }
    } finally {
      session.inExec = false;
    }
    return false;
  }

  runSession(session: Session, spec: CommandSpec, args: Args, reply: Reply): void {
    this.runningArgs = args;
    this.runningSession = session;
    this.#runCounted(this.#prepare(session, reply, this.engine.machine.timeMs, session.db), spec, args);
    this.runningSession = undefined;
  }

  /** Keyspace hits and misses of reads on this node. */
  get hits(): { hits: number; misses: number } {
    return { hits: this.#context?.hits ?? 0, misses: this.#context?.misses ?? 0 };
  }

  resetHits(): void {
    if (this.#context === undefined) return;
    this.#context.hits = 0;
    this.#context.misses = 0;
  }

  #prepare(session: Session, reply: Reply, timeMs: number, db: number): CommandContext {
    const { machine } = this.engine;
    // Until the bootstrap entry is applied, PING, AUTH, INFO and the like run beside an empty keyspace.
    const keyspace = machine.bootstrapped ? machine.keyspace : this.#emptyKeyspace;
    let context = this.#context;
    if (context === undefined || context.keyspace !== keyspace) {
      context = new CommandContext(keyspace, machine.settings, this.#readArgs, reply, this.#random);
      context.onExpired = (database, key) => {
        this.#expired.push(expiredKey(keyspace, database.number, key));
      };
      this.#context = context;
    }
    context.mode = 'read';
    context.reply = reply;
    context.db = keyspace.database(db);
    context.logTimeMs = machine.timeMs;
    context.nowMs = Math.max(timeMs, machine.timeMs);
    context.touch = !session.noTouch;
    context.expiredSeen = false;
    this.#expiredAtMs = context.nowMs;
    context.attach(session, this.node);
    return context;
  }

  /** Runs the handler and counts the call for INFO commandstats. */
  #runCounted(context: CommandContext, spec: CommandSpec, args: Args): void {
    const { reply } = context;
    const stat = this.stats.ofCommand(spec);
    const startMs = stat.timesNext ? this.monotonicMs() : -1;
    const errors = reply.errors;
    context.args = args;
    context.command = spec;
    this.#guarded(spec, context);
    // It will run again, and counts then.
    if (context.expiredSeen) return;
    stat.count(startMs < 0 ? -1 : this.monotonicMs() - startMs, reply.errors > errors);
  }

  #guarded(spec: CommandSpec, context: CommandContext): void {
    const mark = markOf(context.reply);
    try {
      spec.handler(context);
    } catch (thrown) {
      this.log.error({ command: spec.name, error: thrown instanceof Error ? thrown.stack : String(thrown) }, 'a command failed inside: please report this');
      // What it wrote so far would shift every later reply.
      truncate(context.reply, mark);
      context.reply.error(`ERR internal error in '${spec.name}'; it has been logged`);
    }
  }

  /** Has the keys that `runRead` met deleted through the log. */
  deleteExpired(done: (error: string | undefined) => void): void {
    const keys = this.#expired;
    this.#expired = [];
    this.stats.expiredReads += keys.length;
    this.maintenance.expire(keys, this.#expiredAtMs, done);
  }

  // --- EngineHost

  beginReply(session: number, sequence: number, _protocol: 2 | 3): Reply | undefined {
    return this.sessions.get(session)?.beginReply(sequence);
  }

  endReply(session: number, sequence: number): void {
    this.sessions.get(session)?.endReply(sequence);
  }

  fail(session: number, sequence: number, error: string): void {
    this.sessions.get(session)?.fail(sequence, error);
  }

  /** The session whose EXEC is running. */
  session(session: number): SessionPort | undefined {
    const found = this.sessions.get(session);
    if (found !== undefined) found.inExec = true;
    return found;
  }

  server(): ServerPort {
    return this.node;
  }

  membersChanged(members: readonly MemberAddress[]): void {
    this.node.group.membersChanged(members);
  }

  stateChanged(): void {
    for (const session of this.sessions.values()) this.resumeSoon(session);
    this.flush();
  }

  uncongested(): void {
    for (const session of this.sessions.values()) this.resumeSoon(session);
    this.flush();
  }

  stopped(reason: string): void {
    this.options.onStopped(reason);
  }

  // --- output

  markDirty(session: Session): void {
    if (session.dirty) return;
    session.dirty = true;
    this.#dirty.push(session);
  }

  /** The session may be able to go on: tried at the next flush, never from inside apply. */
  resumeSoon(session: Session): void {
    if (session.resuming) return;
    session.resuming = true;
    this.#resuming.push(session);
  }

  /** Lets waiting sessions go on, then sends all replies. */
  flush(): void {
    if (this.#resuming.length > 0) this.turns.open();
    while (this.#resuming.length > 0) {
      const resuming = this.#resuming;
      this.#resuming = [];
      for (const session of resuming) {
        session.resuming = false;
        this.#guard(session, () => session.process());
      }
    }
    const dirty = this.#dirty;
    if (dirty.length === 0) return;
    this.#dirty = [];
    for (const session of dirty) {
      session.dirty = false;
      this.#guard(session, () => session.flush());
    }
  }

  // --- time

  #scheduleCron(): void {
    this.options.clock.after(1000 / this.options.config.values.hz, () => {
      if (this.#stopped) return;
      this.#cron();
      this.#scheduleCron();
    });
  }

  #cron(): void {
    const now = this.monotonicMs();
    this.stats.sample(now - this.#lastCronMs);
    this.#lastCronMs = now;
    const { values } = this.options.config;
    this.maintenance.cron(now);
    const { machine } = this.engine;
    if (values.maxmemory > 0 && machine.bootstrapped && this.engine.isLeader && values['maxmemory-policy'] !== 'noeviction') {
      this.maintenance.evict(this.evictionSettings());
    }
    this.node.cron(now);
    if (values.timeout > 0) {
      for (const session of this.sessions.values()) {
        if (now - session.lastActiveMs > values.timeout * 1000 && session.pendingWrites === 0) session.close();
      }
    }
    this.flush();
  }
}

function isWriter(reply: Reply): reply is ReplyWriter {
  return 'truncate' in reply;
}

const markOf = (reply: Reply): number => (isWriter(reply) ? reply.mark() : 0);

function truncate(reply: Reply, mark: number): void {
  if (isWriter(reply)) reply.truncate(mark);
}
