// What session and read commands may ask of the connection and of the node. Implemented by src/server; declared here
// because commands may not import it. Write handlers never see these.
import type { Reply } from '../resp/reply.ts';
import type { PublishedRecord } from './publishing.ts';
import type { CommandSpec } from './spec.ts';

export type ReadConsistency =
  | { readonly kind: 'linearizable' }
  | { readonly kind: 'bounded'; readonly stalenessMs: number }
  | { readonly kind: 'causal'; readonly index: number }
  | { readonly kind: 'eventual' };

export type ReplyMode = 'on' | 'off' | 'skip-next' | 'skip';

export interface ClientInfo {
  readonly id: number;
  readonly addr: string;
  readonly laddr: string;
  readonly fd: number;
  readonly name: string;
  readonly ageSeconds: number;
  readonly idleSeconds: number;
  /** CLIENT LIST's flag letters. */
  readonly flags: string;
  readonly db: number;
  readonly multi: number;
  readonly watch: number;
  readonly queryBufferBytes: number;
  readonly queryBufferFreeBytes: number;
  readonly argvBytes: number;
  readonly multiBytes: number;
  readonly outputBufferBytes: number;
  readonly outputListLength: number;
  readonly outputListBytes: number;
  readonly totalBytes: number;
  readonly lastCommand: string;
  readonly user: string;
  readonly protocol: 2 | 3;
  readonly type: 'normal' | 'master' | 'replica' | 'pubsub';
}

/** One client connection. */
export interface SessionPort {
  readonly id: number;
  readonly info: ClientInfo;
  authenticated: boolean;
  name: string;
  db: number;
  /** Setting it also sets the protocol of the reply that is being written: HELLO answers in the new one. */
  protocol: 2 | 3;
  noEvict: boolean;
  noTouch: boolean;
  readConsistency: ReadConsistency;
  /** READONLY was sent, which has set readConsistency to eventual: reported by CLIENT LIST's flag r. */
  readonly: boolean;
  replyMode: ReplyMode;
  readonly inMulti: boolean;
  /** EXEC is running this session's queue: a command must reply at once, it cannot defer. */
  readonly inExec: boolean;
  /** MULTI: starts queueing. */
  beginMulti(): void;
  /** DISCARD, RESET: forgets the queue and the watched keys. */
  discardMulti(): void;
  /** EXEC: hands the queue over; the reply comes when it is applied (or, reads only, when it may be read). */
  exec(): void;
  /** WATCH: takes the versions of the keys at argument positions [first, end) of the running command; replies itself once they were read. */
  watch(first: number): void;
  unwatch(): void;
  /** RESET's remainder: monitor, tracking, reply mode, db 0, name, protocol 2, authentication as for a new connection. */
  reset(): void;
  /** Closes once everything written before has been sent. */
  closeAfterReply(): void;
  /** The connection's last write, and the newest state that it has seen: HOLDFAST INDEX. */
  readonly lastIndex: number;
}

export interface ClientFilter {
  readonly id?: number;
  readonly addr?: string;
  readonly laddr?: string;
  readonly type?: 'normal' | 'master' | 'replica' | 'pubsub';
  readonly user?: string;
  readonly skipId?: number;
  readonly maxAgeSeconds?: number;
}

export interface RaftStatus {
  readonly nodeName: string;
  readonly clusterId: string;
  readonly role: 'follower' | 'precandidate' | 'candidate' | 'leader';
  readonly leaderName: string;
  /** RESP address of the leader, host:port; '' when unknown. */
  readonly leaderAddr: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  /** A change of members is under way. */
  readonly changing: boolean;
  readonly members: readonly RaftMemberStatus[];
}

/** leaving: a voter until the change that is under way is over. */
export type MemberRole = 'voter' | 'learner' | 'leaving';

/** For HOLDFAST MEMBERS. */
export interface GroupMember extends RaftMemberStatus {
  /** Raft id. */
  readonly id: number;
  readonly peerPort: number;
  /** Of its data directory; empty if it was never met. */
  readonly incarnation: string;
}

export type MemberChange =
  | { readonly kind: 'add'; readonly name: string; readonly host: string; readonly peerPort: number; readonly clientPort: number }
  | { readonly kind: 'remove'; readonly name: string };

export interface RaftMemberStatus {
  readonly name: string;
  readonly host: string;
  readonly clientPort: number;
  readonly role: MemberRole;
  /** Highest log index known to be on this member's disk; -1 when this node does not know (it is not the leader). */
  readonly matchIndex: number;
  readonly connected: boolean;
  readonly lagMs: number;
}

/** What this node knows of snapshots, and asks of the snapshotter. */
export interface SnapshotPort {
  readonly published: PublishedRecord | undefined;
  /** LASTSAVE: when the newest snapshot was published; the start of this node while there is none. */
  readonly lastSaveMs: number;
  /** How far the snapshotter is, by names, for HOLDFAST SNAPSHOTS. */
  readonly facts: ReadonlyArray<readonly [string, string | number]>;
  /** Asks for a snapshot with all that is applied here; the error's text where there is one under way, or nobody to make it. */
  request(): string | undefined;
  /** Calls back once a snapshot with all that was asked for is published, or with an error text. */
  whenPublished(session: number, done: (error: string | undefined) => void): void;
  /** The snapshotter's report, JSON; what is asked of it, JSON, or undefined where it is no report. */
  report(json: string): string | undefined;
}

/** The node. */
export interface ServerPort {
  readonly version: string;
  readonly runId: string;
  readonly startedAtMs: number;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  readonly requirePass: string;
  checkPassword(user: string, password: string): boolean;
  clients(): Iterable<ClientInfo>;
  clientById(id: number): SessionPort | undefined;
  /** Closes the matching clients; returns how many. */
  killClients(filter: ClientFilter): number;
  /** CLIENT PAUSE: until then commands (all, or writes only) of this node's clients wait. */
  pauseClients(untilMonotonicMs: number, writesOnly: boolean): void;
  unpauseClients(): void;
  raft(): RaftStatus;
  readonly snapshots: SnapshotPort;
  /** INFO: the text of these sections ('default', 'all', 'everything' or names). */
  info(sections: readonly string[]): string;
  configGet(patterns: readonly string[]): ReadonlyArray<readonly [string, string]>;
  /**
   * CONFIG SET: checks all, then applies the local ones and has the replicated ones logged; `done` is called with an error text
   * or undefined once all of it is in force.
   */
  configSet(pairs: ReadonlyArray<readonly [string, string]>, done: (error: string | undefined) => void): void;
  /** CONFIG REWRITE: undefined when written. */
  configRewrite(): string | undefined;
  resetStats(): void;
  /**
   * Stops the node cleanly: leadership handed over, clients' replies out. `abort` cancels a shutdown that is under way and says
   * whether there was one; it makes `aborted` of each shutdown() that was waiting be called.
   */
  shutdown(aborted: () => void): void;
  abortShutdown(): boolean;
  /** Waits until `replicas` other members have everything this connection wrote on disk, or the timeout (0: none); then calls back with how many have. */
  waitReplicas(session: SessionPort, replicas: number, timeoutMs: number, done: (count: number) => void): void;
  /** For commands whose reply comes later: runs `start` now; the connection's next commands wait until `finish` (which `start` may call itself). */
  defer(session: SessionPort, start: (finish: () => void) => void): void;
  /** Lets a deferred reply of this session be written: the writer to use before `finish`. A connection that is gone has one that keeps nothing. */
  deferredReply(session: SessionPort): Reply;
  /** Calls back once, no sooner than `delayMs` from now. */
  after(delayMs: number, callback: () => void): void;
  commandSpecs(): Iterable<CommandSpec>;
  findCommand(name: string): CommandSpec | undefined;
  /** Hands the leadership to `target` (undefined: to the member that is furthest along); calls back once another member leads, or with an error text. */
  transferLeadership(target: string | undefined, done: (error: string | undefined) => void): void;
  /** The members, as of now. */
  members(done: (members: readonly GroupMember[]) => void): void;
  /** Has a member come or go; calls back when that is committed, or with an error text. */
  changeMembers(change: MemberChange, done: (error: string | undefined) => void): void;
  setActiveExpire(enabled: boolean): void;
}
