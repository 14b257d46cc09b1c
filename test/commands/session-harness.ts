// A connection and a node for tests of session commands: plain objects that remember what was asked of them. Deferred replies
// are written when the test lets them come.
import { Prng } from '../../src/base/prng.ts';
import { clientCommands } from '../../src/commands/client.ts';
import { commandInfoCommands } from '../../src/commands/command-info.ts';
import { configCommands } from '../../src/commands/config-command.ts';
import { connectionCommands } from '../../src/commands/connection.ts';
import { CommandContext } from '../../src/commands/context.ts';
import { debugCommands } from '../../src/commands/debug.ts';
import { holdfastCommands } from '../../src/commands/holdfast.ts';
import type {
  ClientFilter,
  ClientInfo,
  RaftStatus,
  ReadConsistency,
  ReplyMode,
  ServerPort,
  SnapshotPort,
  SessionPort,
  GroupMember,
  MemberChange,
} from '../../src/commands/ports.ts';
import { ReplicatedSettings } from '../../src/commands/replicated-settings.ts';
import { serverAdminCommands } from '../../src/commands/server-admin.ts';
import type { CommandSpec } from '../../src/commands/spec.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { transactionCommands } from '../../src/commands/transactions.ts';
import type { Keyspace } from '../../src/keyspace/keyspace.ts';
import { Args } from '../../src/resp/args.ts';
import type { Reply } from '../../src/resp/reply.ts';
import { parseReply, RecordedReply, type ReplyValue } from './recorded-reply.ts';

export const sessionCommands: readonly CommandSpec[] = [
  ...connectionCommands,
  ...clientCommands,
  ...commandInfoCommands,
  ...serverAdminCommands,
  ...configCommands,
  ...transactionCommands,
  ...holdfastCommands,
  ...debugCommands,
];

export class FakeSession implements SessionPort {
  readonly id: number;
  authenticated = true;
  name = '';
  db = 0;
  protocol: 2 | 3 = 2;
  noEvict = false;
  noTouch = false;
  readConsistency: ReadConsistency = { kind: 'linearizable' };
  readonly = false;
  replyMode: ReplyMode = 'on';
  inMulti = false;
  inExec = false;
  lastIndex = 0;
  type: ClientInfo['type'] = 'normal';
  lastCommand = '';
  flags = '';
  readonly calls: string[] = [];

  constructor(id: number) {
    this.id = id;
  }

  get info(): ClientInfo {
    return {
      id: this.id,
      addr: `127.0.0.1:${50_000 + this.id}`,
      laddr: '127.0.0.1:6379',
      fd: 7 + this.id,
      name: this.name,
      ageSeconds: 5,
      idleSeconds: 1,
      flags: this.flags,
      db: this.db,
      multi: this.inMulti ? 0 : -1,
      watch: 0,
      queryBufferBytes: 26,
      queryBufferFreeBytes: 20448,
      argvBytes: 10,
      multiBytes: 0,
      outputBufferBytes: 0,
      outputListLength: 0,
      outputListBytes: 0,
      totalBytes: 22298,
      lastCommand: this.lastCommand,
      user: 'default',
      protocol: this.protocol,
      type: this.type,
    };
  }

  beginMulti(): void {
    this.inMulti = true;
  }
  discardMulti(): void {
    this.inMulti = false;
    this.calls.push('discardMulti');
  }
  exec(): void {
    this.calls.push('exec');
  }
  watch(first: number): void {
    this.calls.push(`watch ${first}`);
  }
  unwatch(): void {
    this.calls.push('unwatch');
  }
  reset(): void {
    this.calls.push('reset');
  }
  closeAfterReply(): void {
    this.calls.push('closeAfterReply');
  }
}

const THREE: RaftStatus = {
  nodeName: 'n1',
  clusterId: 'c1',
  role: 'leader',
  leaderName: 'n1',
  leaderAddr: '127.0.0.1:6379',
  term: 3,
  commitIndex: 41,
  appliedIndex: 40,
  lastIndex: 42,
  changing: false,
  members: [
    { name: 'n1', host: '127.0.0.1', clientPort: 6379, role: 'voter', matchIndex: 42, connected: true, lagMs: 0 },
    { name: 'n2', host: '10.0.0.2', clientPort: 6380, role: 'voter', matchIndex: 41, connected: true, lagMs: 1.4 },
    { name: 'n3', host: '10.0.0.3', clientPort: 6381, role: 'voter', matchIndex: 7, connected: false, lagMs: 9000 },
  ],
};

export class FakeServer implements ServerPort {
  readonly version = '0.1.0';
  readonly runId = 'a'.repeat(40);
  readonly startedAtMs = 0;
  requirePass = '';
  status: RaftStatus = THREE;
  sessions: FakeSession[] = [];
  config = new Map<string, string>([['enable-debug-command', 'yes']]);
  /** Set: configSet calls back only through `finishConfigSet`. */
  configSetLater = false;
  finishConfigSet: ((error: string | undefined) => void) | undefined;
  configSetError: string | undefined;
  rewriteError: string | undefined;
  shutdownUnderWay = false;
  readonly calls: string[] = [];
  /** What the last deferred command wrote, and whether it has finished. */
  readonly later = new RecordedReply();
  deferring = false;
  onAborted: (() => void) | undefined;
  onWaited: ((count: number) => void) | undefined;
  onTransferred: ((error: string | undefined) => void) | undefined;
  timers: Array<{ readonly delayMs: number; readonly callback: () => void }> = [];
  readonly table: CommandTable;

  constructor(table: CommandTable) {
    this.table = table;
  }

  wallMs = (): number => 1_700_000_000_123;
  monotonicMs = (): number => 5000;
  checkPassword(user: string, password: string): boolean {
    return user === 'default' && (this.requirePass === '' || password === this.requirePass);
  }
  clients(): Iterable<ClientInfo> {
    return this.sessions.map((session) => session.info);
  }
  clientById(id: number): SessionPort | undefined {
    return this.sessions.find((session) => session.id === id);
  }
  killClients(filter: ClientFilter): number {
    const { skipId, ...rest } = filter;
    const killed = this.sessions.filter(
      (session) => session.id !== skipId && Object.entries(rest).every(([field, value]) => session.info[field as keyof ClientInfo] === value),
    );
    this.sessions = this.sessions.filter((session) => !killed.includes(session));
    return killed.length;
  }
  pauseClients(untilMonotonicMs: number, writesOnly: boolean): void {
    this.calls.push(`pause ${untilMonotonicMs} ${writesOnly}`);
  }
  unpauseClients(): void {
    this.calls.push('unpause');
  }
  raft(): RaftStatus {
    return this.status;
  }
  snapshotRefusal: string | undefined;
  onPublished: ((error: string | undefined) => void) | undefined;
  readonly snapshots: SnapshotPort = {
    published: undefined,
    lastSaveMs: 1_600_000_000_999,
    facts: [['state', 'off']],
    request: () => {
      this.calls.push('snapshot');
      return this.snapshotRefusal;
    },
    whenPublished: (_session, done) => (this.onPublished = done),
    report: (json) => (json === '{}' ? '{"snapshotIndexMin":0}' : undefined),
  };
  info(sections: readonly string[]): string {
    return `# ${sections.join(',')}\r\n`;
  }
  configGet(patterns: readonly string[]): ReadonlyArray<readonly [string, string]> {
    return [...this.config].filter(([name]) => patterns.includes(name));
  }
  configSet(pairs: ReadonlyArray<readonly [string, string]>, done: (error: string | undefined) => void): void {
    this.calls.push(`configSet ${JSON.stringify(pairs)}`);
    if (this.configSetLater) this.finishConfigSet = done;
    else done(this.configSetError);
  }
  configRewrite(): string | undefined {
    return this.rewriteError;
  }
  resetStats(): void {
    this.calls.push('resetStats');
  }
  shutdown(aborted: () => void): void {
    this.shutdownUnderWay = true;
    this.onAborted = aborted;
  }
  abortShutdown(): boolean {
    const was = this.shutdownUnderWay;
    this.shutdownUnderWay = false;
    this.onAborted?.();
    return was;
  }
  waitReplicas(_session: SessionPort, replicas: number, timeoutMs: number, done: (count: number) => void): void {
    this.calls.push(`wait ${replicas} ${timeoutMs}`);
    this.onWaited = done;
  }
  defer(_session: SessionPort, start: (finish: () => void) => void): void {
    this.deferring = true;
    start(() => (this.deferring = false));
  }
  deferredReply(): Reply {
    return this.later;
  }
  after(delayMs: number, callback: () => void): void {
    this.timers.push({ delayMs, callback });
  }
  commandSpecs(): Iterable<CommandSpec> {
    return this.table.specs;
  }
  findCommand(name: string): CommandSpec | undefined {
    return this.table.lookupName(name);
  }
  transferLeadership(target: string | undefined, done: (error: string | undefined) => void): void {
    this.calls.push(`transfer ${target ?? 'any'}`);
    this.onTransferred = done;
  }
  members(done: (members: readonly GroupMember[]) => void): void {
    done(this.status.members.map((member, i) => ({ ...member, id: i + 1, peerPort: member.clientPort + 10_000, incarnation: `d${i + 1}` })));
  }
  changeMembers(change: MemberChange, done: (error: string | undefined) => void): void {
    this.calls.push(`change ${JSON.stringify(change)}`);
    this.onTransferred = done;
  }
  setActiveExpire(enabled: boolean): void {
    this.calls.push(`activeExpire ${enabled}`);
  }
}

export class SessionHarness {
  readonly session = new FakeSession(1);
  readonly server: FakeServer;
  readonly reply: RecordedReply;
  readonly context: CommandContext;
  readonly #args = new Args();

  constructor(options: { readonly protocol?: 2 | 3; readonly specs?: readonly CommandSpec[] } = {}) {
    this.reply = new RecordedReply(options.protocol ?? 2);
    this.server = new FakeServer(new CommandTable(options.specs ?? sessionCommands));
    this.server.sessions = [this.session];
    // Session commands use of the keyspace only its databases' numbers.
    const keyspace = { databases: 16, database: (number: number) => ({ number }) } as unknown as Keyspace;
    this.context = new CommandContext(keyspace, new ReplicatedSettings(), this.#args, this.reply, new Prng(1));
    this.context.attach(this.session, this.server);
  }

  /** The reply as a value; undefined if the command wrote none. */
  run(...words: Array<string | number | Uint8Array>): ReplyValue | undefined {
    const text = this.wire(...words);
    return text === '' ? undefined : parseReply(text);
  }

  /** The error's text of a command that must fail. */
  fail(...words: Array<string | number | Uint8Array>): string {
    const value = this.run(...words);
    if (value === null || typeof value !== 'object' || !('error' in value)) throw new Error(`not an error: ${JSON.stringify(value)}`);
    return value.error;
  }

  wire(...words: Array<string | number | Uint8Array>): string {
    const parts = words.map((word) => (word instanceof Uint8Array ? word : Buffer.from(String(word), 'latin1')));
    this.#args.reset(Buffer.concat([Buffer.of(0xee), ...parts, Buffer.of(0xee)]));
    let at = 1;
    for (const part of parts) {
      this.#args.push(at, at + part.length);
      at += part.length;
    }
    const { table } = this.server;
    const spec = table.lookup(this.#args);
    const fault = spec === undefined ? table.unknownFault(this.#args) : table.argumentsFault(spec, this.#args);
    this.context.command = spec;
    if (fault !== undefined) this.reply.error(fault);
    else spec!.handler(this.context);
    return this.reply.take();
  }

  /** What the deferred command has answered; throws while it waits. */
  deferred(): ReplyValue {
    if (this.server.deferring) throw new Error('the deferred command has not finished');
    return parseReply(this.server.later.take());
  }
}
