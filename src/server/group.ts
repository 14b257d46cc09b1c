// The Raft group as the server sees it: who the members are, how far each is, and what only consensus can do (WAIT, handing
// leadership over, changing the members). Owns the last status that consensus reported, and who waits for it.
import type { MemberAddress } from '../base/configuration.ts';
import type { GroupMember, RaftStatus, SessionPort } from '../commands/ports.ts';
import { acknowledged } from '../commands/server-admin.ts';
import type { LogState, MemberChange, MemberState } from '../ports/link.ts';
import type { Server } from './server.ts';

interface Waiter {
  readonly session: number;
  readonly index: number;
  readonly replicas: number;
  readonly deadlineMs: number;
  readonly done: (count: number) => void;
}

/** This node's log. */
export interface GroupLog extends LogState {
  /** The first entry that is kept. */
  readonly firstIndex: number;
}

/** How often consensus is asked for what only it knows, ms: for INFO, and while somebody WAITs. */
const STATUS_IDLE_MS = 1000;
const STATUS_WAITING_MS = 10;

export class Group {
  readonly #server: Server;
  #members: readonly MemberAddress[];
  #states: readonly MemberState[] = [];
  #changing = false;
  #lastIndex = 0;
  #log: GroupLog = { firstIndex: 1, bytes: 0, bytesMax: 0, isFull: false, heldBy: 0, heldAt: 0, heldEntries: 0, heldBytes: 0 };
  #statusAskedMs = -Infinity;
  #statusPending = false;
  #waiters: Waiter[] = [];

  constructor(server: Server, members: readonly MemberAddress[]) {
    this.#server = server;
    this.#members = members;
  }

  /** This node's, as of the last status. */
  get log(): GroupLog {
    return this.#log;
  }

  membersChanged(members: readonly MemberAddress[]): void {
    this.#members = members;
  }

  member(id: number): MemberAddress | undefined {
    return this.#members.find((member) => member.id === id);
  }

  /** The members but this one, the leader first. */
  get others(): MemberAddress[] {
    const { engine, options } = this.#server;
    return this.#members.filter(({ id }) => id !== options.nodeId).sort((a, b) => Number(b.id === engine.leader) - Number(a.id === engine.leader));
  }

  status(): RaftStatus {
    const { engine, options } = this.#server;
    const leader = this.member(engine.leader);
    return {
      nodeName: this.member(options.nodeId)?.name ?? options.config.values['node-id'],
      clusterId: options.clusterId,
      role: engine.role,
      leaderName: leader?.name ?? '',
      leaderAddr: leader === undefined ? '' : `${leader.host}:${leader.clientPort}`,
      term: engine.term,
      commitIndex: engine.commitIndex,
      appliedIndex: engine.machine.appliedIndex,
      lastIndex: Math.max(this.#lastIndex, engine.commitIndex),
      changing: this.#changing,
      members: this.#members.map((member) => {
        const state = this.#states.find((m) => m.id === member.id);
        return {
          name: member.name,
          host: member.host,
          clientPort: member.clientPort,
          role: state?.role ?? 'voter',
          matchIndex: state?.match ?? -1,
          connected: state?.connected ?? false,
          lagMs: state?.silentMs ?? -1,
        };
      }),
    };
  }

  /** As of now, not of the last time that consensus was asked. */
  members(done: (members: readonly GroupMember[]) => void): void {
    this.#server.engine.requests.status(({ members }) => {
      done(members.map((member) => ({ ...member, matchIndex: member.match, lagMs: member.silentMs })));
      this.#server.flush();
    });
  }

  transfer(target: string | undefined, done: (error: string | undefined) => void): void {
    const member = target === undefined ? undefined : this.#members.find((m) => m.name === target);
    if (target !== undefined && member === undefined) {
      done(`ERR no member is named '${target}'`);
      return;
    }
    this.#server.engine.requests.transfer(member?.id ?? 0, (error) => this.#answer(error, done));
  }

  change(change: MemberChange, done: (error: string | undefined) => void): void {
    const { engine } = this.#server;
    const leader = this.member(engine.leader);
    if (!engine.isLeader && leader !== undefined) {
      done(`ERR this node does not lead: ask ${leader.name} at ${leader.host}:${leader.clientPort}`);
      return;
    }
    engine.requests.changeMembers(change, (error) => this.#answer(error, done));
  }

  #answer(error: string | undefined, done: (error: string | undefined) => void): void {
    done(error === undefined ? undefined : `ERR ${error}`);
    this.#server.flush();
  }

  wait(session: SessionPort, replicas: number, timeoutMs: number, done: (count: number) => void): void {
    this.#waiters.push({
      session: session.id,
      index: session.lastIndex,
      replicas,
      deadlineMs: timeoutMs === 0 ? Infinity : this.#server.monotonicMs() + timeoutMs,
      done,
    });
    this.#askStatus();
  }

  cron(nowMs: number): void {
    if (nowMs - this.#statusAskedMs >= STATUS_IDLE_MS) this.#askStatus();
  }

  #askStatus(): void {
    if (this.#statusPending) return;
    this.#statusPending = true;
    this.#statusAskedMs = this.#server.monotonicMs();
    this.#server.engine.requests.status((status) => {
      this.#statusPending = false;
      this.#states = status.members;
      this.#changing = status.changing;
      this.#lastIndex = status.lastIndex;
      this.#log = { firstIndex: status.firstIndex, ...status.log };
      this.#settleWaiters();
      this.#server.flush();
      if (this.#waiters.length > 0) this.#server.options.clock.after(STATUS_WAITING_MS, () => this.#askStatus());
    });
  }

  #settleWaiters(): void {
    if (this.#waiters.length === 0) return;
    const now = this.#server.monotonicMs();
    const status = this.status();
    this.#waiters = this.#waiters.filter((waiter) => {
      if (!this.#server.sessions.has(waiter.session)) return false;
      const count = acknowledged(status, waiter.index);
      if (count < waiter.replicas && now < waiter.deadlineMs) return true;
      waiter.done(count);
      return false;
    });
  }
}
