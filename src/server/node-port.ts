// What session and read commands may ask of the node as a whole (ServerPort): clients, CONFIG, INFO, WAIT, CLIENT PAUSE,
// leadership. Owns the pause; everything else belongs to the server.
import type {
  ClientFilter,
  ClientInfo,
  GroupMember,
  MemberChange,
  RaftStatus,
  ServerPort,
  SessionPort,
} from '../commands/ports.ts';
import type { CommandSpec } from '../commands/spec.ts';
import { RecordKind } from '../machine/record-codec.ts';
import type { NodeStalls } from '../ports/stall-meter.ts';
import { NullReply } from '../resp/null-reply.ts';
import type { Reply } from '../resp/reply.ts';
import { Group } from './group.ts';
import { buildInfo, type InfoDatabase, type InfoSource } from './info.ts';
import type { ProcessFacts, Server } from './server.ts';
import type { Session } from './session.ts';
import { Snapshots } from './snapshots.ts';

const nullReply = new NullReply();

export class NodePort implements ServerPort {
  readonly #server: Server;
  #pausedUntilMs = 0;
  #pausedWritesOnly = false;
  #shutdownAborts: (() => void)[] | undefined;
  #memoryPeak = 0;
  readonly startedAtMs: number;
  readonly group: Group;
  readonly snapshots: Snapshots;
  /** Set once by whoever starts the threads; a simulated node has none. */
  stalls: NodeStalls | undefined;

  constructor(server: Server) {
    this.#server = server;
    this.startedAtMs = server.options.clock.wallMs();
    this.group = new Group(server, server.options.members);
    this.snapshots = new Snapshots({
      machine: () => server.engine.machine,
      hasObjectStore: server.options.config.values['object-store'] !== '',
      startedAtMs: this.startedAtMs,
      monotonicMs: this.monotonicMs,
    });
  }

  get version(): string {
    return this.#server.options.version;
  }

  get runId(): string {
    return this.#server.options.runId;
  }

  readonly wallMs = (): number => this.#server.options.clock.wallMs();
  readonly monotonicMs = (): number => this.#server.options.clock.monotonicMs();

  get requirePass(): string {
    return this.#server.requirePass;
  }

  checkPassword(user: string, password: string): boolean {
    return user === 'default' && (this.requirePass === '' || sameText(password, this.requirePass));
  }

  *clients(): Iterable<ClientInfo> {
    for (const session of this.#server.sessions.values()) yield session.info;
  }

  clientById(id: number): SessionPort | undefined {
    return this.#server.sessions.get(id);
  }

  killClients(filter: ClientFilter): number {
    let killed = 0;
    for (const session of [...this.#server.sessions.values()]) {
      const { info } = session;
      const matches =
        (filter.id === undefined || filter.id === info.id) &&
        (filter.addr === undefined || filter.addr === info.addr) &&
        (filter.laddr === undefined || filter.laddr === info.laddr) &&
        (filter.type === undefined || filter.type === info.type) &&
        (filter.user === undefined || filter.user === info.user) &&
        (filter.maxAgeSeconds === undefined || info.ageSeconds >= filter.maxAgeSeconds);
      if (!matches) continue;
      if (filter.skipId === info.id) continue;
      killed++;
      // The caller must still hear its reply.
      if (session === this.#running) session.closeAfterReply();
      else session.close();
    }
    return killed;
  }

  get #running(): Session | undefined {
    return this.#server.runningSession;
  }

  pauseClients(untilMonotonicMs: number, writesOnly: boolean): void {
    // As in Redis: a pause under way is only ever made longer or stricter.
    if (this.#pausedUntilMs > this.monotonicMs()) {
      this.#pausedWritesOnly &&= writesOnly;
      this.#pausedUntilMs = Math.max(this.#pausedUntilMs, untilMonotonicMs);
      return;
    }
    this.#pausedUntilMs = untilMonotonicMs;
    this.#pausedWritesOnly = writesOnly;
  }

  unpauseClients(): void {
    this.#pausedUntilMs = 0;
    for (const session of this.#server.sessions.values()) this.#server.resumeSoon(session);
  }

  /** True while this command of this session has to wait for the pause to end. */
  paused(spec: CommandSpec, session: Session): boolean {
    if (this.#pausedUntilMs === 0) return false;
    if (this.monotonicMs() >= this.#pausedUntilMs) return false;
    if (!this.#pausedWritesOnly) return spec.name !== 'unpause' && spec.name !== 'pause';
    if (spec.name === 'exec') return session.transaction.hasWrite;
    return spec.class === 'write' && !session.transaction.active;
  }

  raft(): RaftStatus {
    return this.group.status();
  }

  // --- CONFIG

  configGet(patterns: readonly string[]): ReadonlyArray<readonly [string, string]> {
    return this.#server.options.config.get(patterns);
  }

  configSet(pairs: ReadonlyArray<readonly [string, string]>, done: (error: string | undefined) => void): void {
    const { config } = this.#server.options;
    const change = config.check(pairs);
    if (typeof change === 'string') {
      done(change);
      return;
    }
    if (change.replicated.length === 0) {
      config.apply(change);
      done(undefined);
      return;
    }
    const encoder = new TextEncoder();
    this.#server.engine.submitInternal(
      RecordKind.setting,
      0,
      (builder) => {
        builder.uint32(change.replicated.length);
        for (const [name, value] of change.replicated) {
          const bytes = encoder.encode(name);
          builder.uint32(bytes.length);
          builder.put(bytes, 0, bytes.length);
          builder.uint32(value < 0 ? 1 : 0);
          builder.uint53(Math.abs(value));
        }
      },
      (error) => {
        if (error === undefined) config.apply(change);
        done(error);
      },
    );
  }

  configRewrite(): string | undefined {
    return this.#server.options.config.rewrite();
  }

  resetStats(): void {
    const { stats, engine } = this.#server;
    stats.reset();
    this.stalls?.engine.reset();
    this.stalls?.consensus.reset();
    engine.timings.reset();
    if (!engine.machine.bootstrapped) return;
    engine.machine.keyspace.expiredKeys = 0;
    engine.machine.keyspace.evictedKeys = 0;
    this.#server.resetHits();
  }

  // --- SHUTDOWN, WAIT, replies that come later

  shutdown(aborted: () => void): void {
    if (this.#shutdownAborts !== undefined) {
      this.#shutdownAborts.push(aborted);
      return;
    }
    this.#shutdownAborts = [aborted];
    // At the end of the turn, so that an ABORT that was sent along still finds it.
    this.#server.options.clock.after(0, () => {
      if (this.#shutdownAborts !== undefined) this.#server.options.onShutdown();
    });
  }

  abortShutdown(): boolean {
    const aborts = this.#shutdownAborts;
    if (aborts === undefined) return false;
    this.#shutdownAborts = undefined;
    for (const abort of aborts) abort();
    return true;
  }

  waitReplicas(session: SessionPort, replicas: number, timeoutMs: number, done: (count: number) => void): void {
    this.group.wait(session, replicas, timeoutMs, done);
  }

  defer(session: SessionPort, start: (finish: () => void) => void): void {
    const found = this.#server.sessions.get(session.id);
    if (found !== undefined) found.defer(start);
    else start(() => undefined);
  }

  deferredReply(session: SessionPort): Reply {
    const found = this.#server.sessions.get(session.id);
    return found === undefined || found.closing ? nullReply : found.deferredReply;
  }

  after(delayMs: number, callback: () => void): void {
    this.#server.options.clock.after(delayMs, () => {
      callback();
      this.#server.flush();
    });
  }

  commandSpecs(): Iterable<CommandSpec> {
    return this.#server.table.specs;
  }

  findCommand(name: string): CommandSpec | undefined {
    return this.#server.table.lookupName(name);
  }

  transferLeadership(target: string | undefined, done: (error: string | undefined) => void): void {
    this.group.transfer(target, done);
  }

  members(done: (members: readonly GroupMember[]) => void): void {
    this.group.members(done);
  }

  changeMembers(change: MemberChange, done: (error: string | undefined) => void): void {
    this.group.change(change, done);
  }

  setActiveExpire(enabled: boolean): void {
    this.#server.maintenance.activeExpire = enabled;
  }

  // --- time and status

  cron(nowMs: number): void {
    if (this.#pausedUntilMs !== 0 && nowMs >= this.#pausedUntilMs) this.unpauseClients();
    const { machine } = this.#server.engine;
    if (machine.bootstrapped) this.#memoryPeak = Math.max(this.#memoryPeak, machine.keyspace.usedBytes);
    if (this.snapshots.cron(nowMs, (session) => this.#server.sessions.has(session))) this.#server.flush();
    this.group.cron(nowMs);
  }

  // --- INFO

  info(sections: readonly string[]): string {
    return buildInfo(this.#infoSource(), sections);
  }

  #infoSource(): InfoSource {
    const server = this.#server;
    const { options, engine, stats, sessions } = server;
    const { values } = options.config;
    const facts = options.process();
    return {
      server: {
        holdfastVersion: options.version,
        os: facts.os,
        archBits: 64,
        processId: facts.pid,
        runId: options.runId,
        tcpPort: values.port,
        wallMs: this.wallMs(),
        uptimeMs: this.wallMs() - this.startedAtMs,
        hz: values.hz,
        executable: facts.executable,
        configFile: options.config.file,
        nodeVersion: facts.nodeVersion,
      },
      clients: {
        connected: sessions.size,
        maxClients: values.maxclients,
        recentMaxInputBuffer: 0,
        recentMaxOutputBuffer: 0,
        blocked: 0,
      },
      memory: this.#infoMemory(facts),
      persistence: {
        loading: engine.loading,
        logWritable: engine.logFailure === undefined,
        snapshots: this.snapshots.info(),
        log: this.#infoLog(),
      },
      stats: this.#infoStats(),
      cpu: { systemSeconds: facts.systemCpuSeconds, userSeconds: facts.userCpuSeconds },
      raft: this.#infoRaft(),
      errors: stats.errorCodes,
      commands: this.#infoCommands(),
      writes: this.#server.engine.timings.figures(),
      databases: this.#databases(),
    };
  }

  #infoLog(): InfoSource['persistence']['log'] {
    const { group, snapshots } = this;
    const { bytes, bytesMax, isFull, heldBy, heldAt, heldEntries, heldBytes } = group.log;
    // Consensus hears of a published snapshot when this node has found it in its object store.
    const isUnfound = heldBy === 0 && (snapshots.published?.index ?? 0) > heldAt;
    const waitsFor = heldBy > 0 ? `follower ${group.member(heldBy)?.name ?? heldBy}` : isUnfound ? 'object-store' : 'snapshot';
    return { bytes, bytesMax, isFull, waitsFor, entriesBehind: heldEntries, bytesBehind: heldBytes };
  }

  #infoMemory(facts: ProcessFacts): InfoSource['memory'] {
    const { options, engine, sessions } = this.#server;
    const { values } = options.config;
    const keyspace = engine.machine.bootstrapped ? engine.machine.keyspace : undefined;
    const usedBytes = keyspace?.usedBytes ?? 0;
    let clientBytes = 0;
    for (const session of sessions.values()) clientBytes += session.info.totalBytes;
    return {
      usedBytes,
      peakBytes: Math.max(this.#memoryPeak, usedBytes),
      residentBytes: facts.rssBytes,
      reservedBytes: keyspace?.reservedBytes ?? 0,
      startupBytes: 0,
      overheadBytes: 0,
      systemBytes: facts.systemBytes,
      maxMemoryBytes: values.maxmemory,
      policy: values['maxmemory-policy'],
      clientBytes,
    };
  }

  #infoStats(): InfoSource['stats'] {
    const { engine, stats, hits } = this.#server;
    const keyspace = engine.machine.bootstrapped ? engine.machine.keyspace : undefined;
    return {
      connectionsReceived: stats.connections,
      commandsProcessed: stats.commands,
      opsPerSecond: stats.commandsPerSecond,
      inputBytes: stats.inputBytes,
      outputBytes: stats.outputBytes,
      inputKbps: 0,
      outputKbps: 0,
      rejectedConnections: stats.rejectedConnections,
      expiredKeys: keyspace?.expiredKeys ?? 0,
      evictedKeys: keyspace?.evictedKeys ?? 0,
      evictedClients: 0,
      keyspaceHits: hits.hits,
      keyspaceMisses: hits.misses,
      errorReplies: stats.errors,
      readsProcessed: 0,
      writesProcessed: 0,
      engineStallMsMax: this.stalls?.engine.stallMsMax ?? 0,
      consensusStallMsMax: this.stalls?.consensus.stallMsMax ?? 0,
    };
  }

  #infoRaft(): InfoSource['raft'] {
    const raft = this.raft();
    return {
      nodeId: raft.nodeName,
      state: raft.role,
      leaderId: raft.leaderName,
      leaderAddr: raft.leaderAddr,
      term: raft.term,
      commitIndex: raft.commitIndex,
      appliedIndex: raft.appliedIndex,
      lastIndex: raft.lastIndex,
      log: this.group.log,
      voters: raft.members.filter((member) => member.role === 'voter').length,
      learners: raft.members.filter((member) => member.role === 'learner').length,
      changing: raft.changing,
      replicas: raft.members
        .filter((member) => member.name !== raft.nodeName)
        .map((m) => ({ host: m.host, port: m.clientPort, connected: m.connected, matchIndex: m.matchIndex, lagMs: m.lagMs })),
    };
  }

  #infoCommands(): InfoSource['commands'] {
    const { stats, table } = this.#server;
    return Array.from(stats.byCommand, ([spec, { calls, usec, rejected, failed }]) => ({
      name: table.fullName(spec),
      calls,
      usec,
      rejected,
      failed,
    }));
  }

  #databases(): InfoDatabase[] {
    const { machine } = this.#server.engine;
    if (!machine.bootstrapped) return [];
    const now = this.#server.engine.logClock.nowMs();
    const list: InfoDatabase[] = [];
    for (let number = 0; number < machine.keyspace.databases; number++) {
      const db = machine.keyspace.database(number);
      if (db.size === 0) continue;
      // An average over a sample: INFO must not walk a million keys.
      let ttlSum = 0;
      const sample = Math.min(db.volatileSize, 100);
      for (let i = 0; i < sample; i++) ttlSum += Math.max(0, machine.keyspace.expiryMs(db.volatileAt(i)) - now);
      list.push({ number, keys: db.size, expires: db.volatileSize, averageTtlMs: sample === 0 ? 0 : Math.round(ttlSum / sample) });
    }
    return list;
  }
}

/** Compares without telling by its time where the texts differ. */
function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % b.length);
  return difference === 0;
}
