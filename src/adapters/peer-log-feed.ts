// The log feed over the peer port of a cluster's members: one connection at a time, as an observer (peer-handshake.ts), to the
// first member that answers; to the next where that one goes, refuses, or has lost its cluster.
//
// What must hold:
// - What is handed out was checked by FeedOrder: the log's next entries, whole, committed. A member that sends anything
//   else is left for another.
// - One answer is on its way or waits for the reader, and one is with the reader; no more is held.
// - A member's word alone ends nothing for good: an error is thrown only when every member was tried since the last answer,
//   and one of them said what no patience mends (the log is cut, another secret, another cluster, not a log).
import { connect, type Socket } from 'node:net';
import { assert } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FeedBatch, FeedStatus, LogFeed } from '../ports/log-feed.ts';
import type { Logger } from '../ports/logger.ts';
import { decodeAnswer, encodeFetch, FeedOrder, type NamedAnswer } from './feed-messages.ts';
import { FrameDecoder, PING_FRAME, encodeMessage } from './peer-frame.ts';
import { ANY_MEMBER, Handshake } from './peer-handshake.ts';

export interface FeedMember {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface FeedTimings {
  readonly handshakeTimeoutMs: number;
  /** A member that was not heard of for this long is left. */
  readonly idleTimeoutMs: number;
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
/** Silence is measured in ticks of our own timer, so that a pause of this process does not count as the member's. */
const IDLE_TICKS = 4;

export interface PeerLogFeedOptions {
  /** In the order in which they are tried. */
  readonly members: readonly FeedMember[];
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
  readonly kind: 'lost' | 'cut' | 'refused';
  readonly text: string;
  /** Of a member whose log is cut. */
  readonly status?: FeedStatus;
}

type Outcome = { readonly answer: NamedAnswer } | { readonly failure: Failure };

export class PeerLogFeed implements LogFeed {
  readonly #options: PeerLogFeedOptions;
  readonly #timings: FeedTimings;
  #clusterId: string;
  #status: FeedStatus | undefined;
  #closed = false;
  #running = false;
  #connection: Connection | undefined;
  /** Which member is tried next. */
  #next = 0;
  /** What each member was left for since the last answer of any; its size is how many were tried. */
  #failures = new Map<FeedMember, Failure>();
  /** Rounds over all members without an answer. */
  #rounds = 0;
  /** When the member that answers was first seen without a leader; 0: it has one. */
  #leaderlessSinceMs = 0;
  #endPause: (() => void) | undefined;

  constructor(options: PeerLogFeedOptions) {
    assert(options.members.length > 0, 'a feed has a member to follow');
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
      const outcome = await connection.fetch(order.next);
      const failure = 'failure' in outcome ? outcome.failure : this.#take(order, outcome.answer);
      if (failure !== undefined) {
        if (!this.#closed && this.#running) await this.#leave(connection, failure);
        continue;
      }
      if ('answer' in outcome && outcome.answer.entries.length > 0) return outcome.answer;
    }
    return undefined;
  }

  /** Why this answer makes us leave its member, or undefined. */
  #take(order: FeedOrder, answer: NamedAnswer): Failure | undefined {
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
    else if (this.#options.members.length > 1 && performance.now() - this.#leaderlessSinceMs > this.#timings.leaderlessMs) {
      this.#leaderlessSinceMs = 0;
      return { kind: 'lost', text: `${nodeName} has no leader` };
    }
    this.#failures.clear();
    return undefined;
  }

  /** A connection to the next member, or undefined where it does not come about. */
  async #connect(): Promise<Connection | undefined> {
    const { members } = this.#options;
    const member = members[this.#next % members.length] as FeedMember;
    const connection = new Connection(member, this.#options, this.#clusterId, this.#timings);
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

  #drop(failure: Failure): void {
    this.#connection?.end(failure);
    this.#connection = undefined;
    this.#status = undefined;
    this.#endPause?.();
  }

  async #leave(connection: Connection, failure: Failure): Promise<void> {
    const { members, logger } = this.#options;
    this.#drop(failure);
    const { member } = connection;
    const level = failure.kind === 'lost' ? 'debug' : 'warn';
    logger[level]({ member: member.name, address: `${member.host}:${member.port}`, reason: failure.text }, 'left a member whose log was followed');
    this.#failures.set(member, failure);
    this.#next++;
    if (this.#failures.size < members.length) return;
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

function feedError({ kind, text }: Failure): OperationalError {
  return kind === 'cut'
    ? new OperationalError('LOG_CUT', `${text}: start from a newer snapshot`)
    : new OperationalError('PEER', `no member gives its log: ${text}`);
}

/** One connection as an observer, from the dial to its end. */
class Connection {
  readonly member: FeedMember;
  /** Undefined once it is open, else why it is not. */
  readonly opened: Promise<Failure | undefined>;
  clusterId = '';
  readonly #socket: Socket;
  readonly #idleTimeoutMs: number;
  #failure: Failure | undefined;
  #open = false;
  #silentTicks = 0;
  #timer: NodeJS.Timeout;
  #settleOpened: (failure: Failure | undefined) => void = () => undefined;
  #settleFetch: ((outcome: Outcome) => void) | undefined;

  constructor(member: FeedMember, options: PeerLogFeedOptions, clusterId: string, timings: FeedTimings) {
    this.member = member;
    this.#idleTimeoutMs = timings.idleTimeoutMs;
    this.opened = new Promise((resolve) => (this.#settleOpened = resolve));
    const { handshakeTimeoutMs } = timings;
    this.#timer = setTimeout(() => this.#lost(`no connection within ${handshakeTimeoutMs} ms`), handshakeTimeoutMs);
    const socket = connect({ host: member.host, port: member.port, noDelay: true, keepAlive: true });
    this.#socket = socket;
    let take: ((chunk: Uint8Array) => void) | undefined;
    socket.on('connect', () => (take = this.#begin(options, clusterId)));
    socket.on('data', (chunk) => {
      this.#silentTicks = 0;
      take?.(chunk);
    });
    socket.on('error', (error) => this.#lost(error.message || String(error)));
    socket.on('close', () => this.#lost('the member closed the connection'));
  }

  /** One at a time. Never rejects. */
  fetch(from: number): Promise<Outcome> {
    const failure = this.#failure;
    if (failure !== undefined) return Promise.resolve({ failure });
    assert(this.#settleFetch === undefined, 'one fetch at a time');
    return new Promise((resolve) => {
      this.#settleFetch = resolve;
      this.#socket.write(encodeMessage(encodeFetch(from)));
    });
  }

  end(failure: Failure): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    clearTimeout(this.#timer);
    this.#socket.destroySoon();
    setTimeout(() => this.#socket.destroy(), 200).unref();
    this.#settleOpened(failure);
    this.#settle({ failure });
  }

  #lost(text: string): void {
    this.end({ kind: 'lost', text });
  }

  #settle(outcome: Outcome): void {
    const settle = this.#settleFetch;
    this.#settleFetch = undefined;
    settle?.(outcome);
  }

  /** What takes the bytes that come: first the handshake, then the frames. */
  #begin({ name, clusterSecret }: PeerLogFeedOptions, clusterId: string): (chunk: Uint8Array) => void {
    const handshake = new Handshake(
      {
        self: { nodeId: 0, name, clusterId, incarnation: '0'.repeat(32), rejoining: false, observer: true },
        secret: clusterSecret,
        admit: () => undefined,
      },
      ANY_MEMBER,
      (bytes) => this.#socket.write(bytes),
    );
    const decoder = new FrameDecoder({
      message: (head, body) => this.#onAnswer(head, body),
      ping: () => this.end({ kind: 'refused', text: 'it sent a ping on a connection that is ours to ping' }),
      pong: () => undefined,
    });
    return (chunk) => {
      if (this.#failure !== undefined) return;
      let bytes = chunk;
      if (!this.#open) {
        const outcome = handshake.push(chunk);
        if (outcome.kind === 'pending') return;
        if (outcome.kind === 'failed') {
          // A member may refuse us for now (it stops, it has observers enough); the rest is for the operator to mend.
          const passing = outcome.fault === 'refused-by-peer' && !outcome.text.startsWith('cluster ids differ');
          this.end({ kind: passing ? 'lost' : 'refused', text: `${this.member.name} (${this.member.host}:${this.member.port}): ${outcome.text}` });
          return;
        }
        this.#onOpen(outcome.clusterId);
        bytes = outcome.rest;
      }
      const fault = decoder.push(bytes);
      if (fault !== undefined) this.end({ kind: 'refused', text: `${this.member.name} sent invalid bytes: ${fault}` });
    };
  }

  #onOpen(clusterId: string): void {
    this.#open = true;
    this.clusterId = clusterId;
    clearTimeout(this.#timer);
    this.#timer = setInterval(() => {
      if (++this.#silentTicks >= IDLE_TICKS) this.#lost(`not heard of for ${this.#idleTimeoutMs} ms`);
      else this.#socket.write(PING_FRAME);
    }, this.#idleTimeoutMs / IDLE_TICKS);
    this.#settleOpened(undefined);
  }

  #onAnswer(head: Uint8Array, body: readonly Uint8Array[]): void {
    const answer = decodeAnswer(head, body);
    if (typeof answer === 'string') return this.end({ kind: 'refused', text: `${this.member.name}: ${answer}` });
    if (this.#settleFetch === undefined) return this.end({ kind: 'refused', text: `${this.member.name} answered what was not asked` });
    this.#settle({ answer });
  }
}
