// A connection to the peer port of a member as an observer (peer-handshake.ts): asks, and hears an answer to each question, as
// heads and bodies that its owner knows.
//
// What must hold: one question at a time. Whatever the member does, it ends at most this connection, and the owner hears why.
import { connect, type Socket } from 'node:net';
import { assert } from '../base/assert.ts';
import { FrameDecoder, PING_FRAME, encodeMessage } from './peer-frame.ts';
import { ANY_MEMBER, Handshake } from './peer-handshake.ts';

export interface FeedMember {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface ObserverTimings {
  readonly handshakeTimeoutMs: number;
  /** A member that was not heard of for this long is left. */
  readonly idleTimeoutMs: number;
}

export interface ObserverOptions {
  /** Of this observer, for members' messages. */
  readonly name: string;
  readonly clusterSecret: string;
  /** '' if it is not known: then the member says it. */
  readonly clusterId: string;
  readonly timings: ObserverTimings;
}

/** Why it ended. refused: what no patience mends (another secret, another cluster, not the protocol). */
export interface ConnectionFailure {
  readonly kind: 'lost' | 'refused';
  readonly text: string;
}

export type AskOutcome = { readonly head: Uint8Array; readonly body: readonly Uint8Array[] } | { readonly failure: ConnectionFailure };

/** Silence is measured in ticks of our own timer, so that a pause of this process does not count as the member's. */
const IDLE_TICKS = 4;

/** One connection as an observer, from the dial to its end. */
export class ObserverConnection {
  readonly member: FeedMember;
  /** Undefined once it is open, else why it is not. */
  readonly opened: Promise<ConnectionFailure | undefined>;
  clusterId = '';
  readonly #socket: Socket;
  readonly #idleTimeoutMs: number;
  #failure: ConnectionFailure | undefined;
  #open = false;
  #silentTicks = 0;
  #timer: NodeJS.Timeout;
  #settleOpened: (failure: ConnectionFailure | undefined) => void = () => undefined;
  #settleAsk: ((outcome: AskOutcome) => void) | undefined;

  constructor(member: FeedMember, options: ObserverOptions) {
    this.member = member;
    this.#idleTimeoutMs = options.timings.idleTimeoutMs;
    this.opened = new Promise((resolve) => (this.#settleOpened = resolve));
    const { handshakeTimeoutMs } = options.timings;
    this.#timer = setTimeout(() => this.#lost(`no connection within ${handshakeTimeoutMs} ms`), handshakeTimeoutMs);
    const socket = connect({ host: member.host, port: member.port, noDelay: true, keepAlive: true });
    this.#socket = socket;
    let take: ((chunk: Uint8Array) => void) | undefined;
    socket.on('connect', () => (take = this.#begin(options)));
    socket.on('data', (chunk) => {
      this.#silentTicks = 0;
      take?.(chunk);
    });
    socket.on('error', (error) => this.#lost(error.message || String(error)));
    socket.on('close', () => this.#lost('the member closed the connection'));
  }

  /** One at a time. Never rejects. */
  ask(head: Uint8Array): Promise<AskOutcome> {
    const failure = this.#failure;
    if (failure !== undefined) return Promise.resolve({ failure });
    assert(this.#settleAsk === undefined, 'one question at a time');
    return new Promise((resolve) => {
      this.#settleAsk = resolve;
      this.#socket.write(encodeMessage(head));
    });
  }

  end(failure: ConnectionFailure): void {
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

  #settle(outcome: AskOutcome): void {
    const settle = this.#settleAsk;
    this.#settleAsk = undefined;
    settle?.(outcome);
  }

  /** What takes the bytes that come: first the handshake, then the frames. */
  #begin({ name, clusterSecret, clusterId }: ObserverOptions): (chunk: Uint8Array) => void {
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
    if (this.#settleAsk === undefined) return this.end({ kind: 'refused', text: `${this.member.name} answered what was not asked` });
    this.#settle({ head, body });
  }
}
