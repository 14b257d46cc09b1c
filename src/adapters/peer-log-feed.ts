// The log feed over the peer port of a cluster's members: one connection at a time, as an observer (peer-handshake.ts), to the
// first member that answers; to the next where that one goes, refuses, or has lost its cluster.
//
// What must hold:
// - What is handed out was checked by FeedOrder: the log's next entries, whole, committed. A member that sends anything
//   else is left for another.
// - One answer is on its way or waits for the reader, and one is with the reader; no more is held.
// - A member's word alone ends nothing for good: an error is thrown only when every member was tried since the last answer,
//   and one of them said what no patience mends (the log is cut, another secret, another cluster, not a log).
import { assert } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FeedBatch, FeedStatus, LogFeed } from '../ports/log-feed.ts';
import type { Logger } from '../ports/logger.ts';
import { decodeAnswer, encodeFetch, FeedOrder, type NamedAnswer } from './feed-messages.ts';
import { ObserverConnection, type ConnectionFailure, type FeedMember, type ObserverTimings } from './observer-connection.ts';

export interface FeedTimings extends ObserverTimings {
  /** A member without a leader is left after this, where there is another. */
  readonly leaderlessMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
}

const TIMINGS_DEFAULT: FeedTimings = {
  handshakeTimeoutMs: 5000,
  idleTimeoutMs: 15_000,
  leaderlessMs: 5000,
  backoffMinMs: 50,
  backoffMaxMs: 2000,
};

export interface PeerLogFeedOptions {
  /** Those that are members now, in the order in which they are tried; never none. */
  readonly members: () => readonly FeedMember[];
  readonly clusterSecret: string;
  /** '' if it is not known: the first member that answers says it, and those of another cluster are refused from then on. */
  readonly clusterId: string;
  /** Of this observer, for members' messages. */
  readonly name: string;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly timings?: Partial<FeedTimings>;
}

/** Why a member was left. Only `cut` and `refused` are worth an error of the feed's. */
interface Failure {
  readonly kind: ConnectionFailure['kind'] | 'cut';
  readonly text: string;
  /** Of a member whose log is cut. */
  readonly status?: FeedStatus;
}

export class PeerLogFeed implements LogFeed {
  readonly #options: PeerLogFeedOptions;
  readonly #timings: FeedTimings;
  #clusterId: string;
  #status: FeedStatus | undefined;
  #closed = false;
  #running = false;
  #connection: ObserverConnection | undefined;
  /** Which member is tried next. */
  #next = 0;
  /** What each member (keyOf) was left for since the last answer of any. */
  #failures = new Map<string, Failure>();
  /** Rounds over all members without an answer. */
  #rounds = 0;
  /** When the member that answers was first seen without a leader; 0: it has one. */
  #leaderlessSinceMs = 0;
  #endPause: (() => void) | undefined;

  constructor(options: PeerLogFeedOptions) {
    this.#options = options;
    this.#timings = { ...TIMINGS_DEFAULT, ...options.timings };
    this.#clusterId = options.clusterId;
  }

  get clusterId(): string {
    return this.#clusterId;
  }

  status(): FeedStatus | undefined {
    return this.#status;
  }

  get #members(): readonly FeedMember[] {
    const members = this.#options.members();
    assert(members.length > 0, 'a feed has a member to follow');
    return members;
  }

  close(): void {
    this.#closed = true;
    this.#connection?.end({ kind: 'lost', text: 'the feed is closed' });
    this.#endPause?.();
  }

  async *entries(from: number): AsyncGenerator<FeedBatch, void, undefined> {
    assert(!this.#running, 'one reader at a time');
    this.#running = true;
    this.#failures = new Map();
    const order = new FeedOrder(from);
    try {
      // Fetched ahead, while the reader is busy with the batch before.
      let coming = this.#answered(order);
      for (;;) {
        const answer = await coming;
        if (answer === undefined) return;
        coming = this.#answered(order);
        // Of a rejection the reader hears when it has taken this batch.
        coming.catch(() => undefined);
        yield { entries: answer.entries, commitIndex: answer.commitIndex };
      }
    } finally {
      this.#running = false;
      const status = this.#status;
      this.#drop({ kind: 'lost', text: 'nobody reads' });
      this.#status = status;
    }
  }

  /** The next answer that has entries, whoever gives it; undefined once the feed is closed or not read any more. */
  async #answered(order: FeedOrder): Promise<NamedAnswer | undefined> {
    while (!this.#closed && this.#running) {
      const connection = this.#connection ?? (await this.#connect());
      if (connection === undefined) continue;
      if (!this.#members.some((member) => keyOf(member) === keyOf(connection.member))) {
        await this.#leave(connection, { kind: 'lost', text: 'it is no member any more' });
        continue;
      }
      const outcome = await connection.ask(encodeFetch(order.next));
      const answer = 'failure' in outcome ? undefined : decodeAnswer(outcome.head, outcome.body);
      const failure = 'failure' in outcome ? outcome.failure : this.#take(order, connection.member, answer);
      if (failure !== undefined) {
        if (!this.#closed && this.#running) await this.#leave(connection, failure);
        continue;
      }
      if (typeof answer === 'object' && answer.entries.length > 0) return answer;
    }
    return undefined;
  }

  /** Why this answer makes us leave its member, or undefined. */
  #take(order: FeedOrder, member: FeedMember, answer: NamedAnswer | string | undefined): Failure | undefined {
    if (typeof answer !== 'object') return { kind: 'refused', text: `${member.name}: ${answer}` };
    const { nodeName, leads, hasLeader, firstIndex, commitIndex } = answer;
    this.#status = { nodeName, leader: leads, firstIndex, commitIndex };
    if (order.next < firstIndex) {
      return { kind: 'cut', status: this.#status, text: `entry ${order.next} is no longer in the log of ${nodeName}, which begins at ${firstIndex}` };
    }
    const fault = order.take(answer);
    if (fault !== undefined) return { kind: 'refused', text: `${nodeName} sends what is not its log: ${fault}` };
    this.#rounds = 0;
    if (hasLeader) this.#leaderlessSinceMs = 0;
    else if (this.#leaderlessSinceMs === 0) this.#leaderlessSinceMs = performance.now();
    else if (this.#members.length > 1 && performance.now() - this.#leaderlessSinceMs > this.#timings.leaderlessMs) {
      this.#leaderlessSinceMs = 0;
      return { kind: 'lost', text: `${nodeName} has no leader` };
    }
    this.#failures.clear();
    return undefined;
  }

  /** A connection to the next member, or undefined where it does not come about. */
  async #connect(): Promise<ObserverConnection | undefined> {
    const members = this.#members;
    const member = members[this.#next % members.length] as FeedMember;
    const connection = new ObserverConnection(member, { ...this.#options, clusterId: this.#clusterId, timings: this.#timings });
    this.#connection = connection;
    const failure = await connection.opened;
    if (failure !== undefined) {
      await this.#leave(connection, failure);
      return undefined;
    }
    if (this.#clusterId === '') this.#clusterId = connection.clusterId;
    this.#options.logger.info({ member: member.name, address: `${member.host}:${member.port}` }, 'following the log of this member');
    return connection;
  }

  #drop({ text }: Failure): void {
    this.#connection?.end({ kind: 'lost', text });
    this.#connection = undefined;
    this.#status = undefined;
    this.#endPause?.();
  }

  async #leave(connection: ObserverConnection, failure: Failure): Promise<void> {
    const { logger } = this.#options;
    this.#drop(failure);
    const { member } = connection;
    const level = failure.kind === 'lost' ? 'debug' : 'warn';
    logger[level]({ member: member.name, address: `${member.host}:${member.port}`, reason: failure.text }, 'left a member whose log was followed');
    this.#failures.set(keyOf(member), failure);
    this.#next++;
    const members = new Set(this.#members.map(keyOf));
    for (const key of this.#failures.keys()) if (!members.has(key)) this.#failures.delete(key);
    if (this.#failures.size < members.size) return;
    const last = this.#last('cut') ?? this.#last('refused');
    if (last !== undefined) {
      // The reader looks there for where the log begins.
      this.#status = last.status;
      throw feedError(last);
    }
    this.#failures.clear();
    const { backoffMinMs, backoffMaxMs } = this.#timings;
    const ceilingMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(this.#rounds++, 20));
    await this.#pause(ceilingMs * (0.5 + this.#options.entropy.uint32() / 0x2_0000_0000));
  }

  #last(kind: Failure['kind']): Failure | undefined {
    return [...this.#failures.values()].reverse().find((failure) => failure.kind === kind);
  }

  #pause(ms: number): Promise<void> {
    if (this.#closed || !this.#running) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#endPause?.(), ms);
      this.#endPause = () => {
        clearTimeout(timer);
        this.#endPause = undefined;
        resolve();
      };
    });
  }
}

const keyOf = ({ name, host, port }: FeedMember): string => `${name} ${host}:${port}`;

function feedError({ kind, text }: Failure): OperationalError {
  return kind === 'cut'
    ? new OperationalError('LOG_CUT', `${text}: start from a newer snapshot`)
    : new OperationalError('PEER', `no member gives its log: ${text}`);
}
