// The transport between nodes over TCP, for a book of addresses. Each node dials every other and sends only on
// the connection it dialed (peer-link.ts); what it receives comes on connections that it accepted (here). Bytes:
// peer-handshake.ts until both sides have proved themselves, peer-frame.ts from then on.
//
// What must hold:
// - Before its handshake a connection costs a KiB or so and a few seconds, and there are PENDING_MAX of them at most.
// - Nothing is delivered from a peer that has not proved the cluster secret and been admitted, by both sides.
// - One accepted connection a peer, the newest; both connections of a pair are with the same incarnation.
// - Whatever comes on a connection ends at most that connection.
// - An observer's connection carries its fetches one way and their answers the other, and is no peer's.
//
// `connected` and `disconnected` tell of the way out to a peer; its messages may arrive a little before the one and
// after the other.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { assert } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import { INFLIGHT_BYTES_MAX, KiB, PEER_CHUNK_BYTES_MAX } from '../base/limits.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { Logger } from '../ports/logger.ts';
import type { FeedAnswer, ObserverEvents, ObserverTransport } from '../ports/observers.ts';
import type { PieceAnswer } from '../ports/snapshot-pieces.ts';
import type { PeerAddress, PeerIdentity, Transport, TransportEvents } from '../ports/transport.ts';
import { LogLimiter } from './logger.ts';
import { ObserverBook, type ObserverConnection } from './observer-book.ts';
import { BulkEncoder, FrameDecoder, PONG_FRAME, encodeMessage, peerMessageFault } from './peer-frame.ts';
import { CLUSTER_ID_BYTES_MAX, Handshake, type HandshakeOptions, type HandshakeSelf } from './peer-handshake.ts';
import { IDLE_TICKS, PeerLink, writeAll, type LinkHost, type LinkTimings } from './peer-link.ts';

/** Accepted connections that have not completed their handshake; one more drops the oldest. */
export const PENDING_MAX = 64;
const QUEUE_BYTES_MAX = 2 * INFLIGHT_BYTES_MAX;
/** Pongs that a peer may leave unread. */
const PONG_BYTES_MAX = 64 * KiB;
/** An observer has the lowest priority on its machine: it may be silent for so many times as long as a peer. */
const OBSERVER_PATIENCE = 10;
const SECRET_CHARS_MIN = 16;

const TIMINGS_DEFAULT: LinkTimings = {
  idleTimeoutMs: 3000,
  handshakeTimeoutMs: 5000,
  backoffMinMs: 50,
  backoffMaxMs: 1000,
};

export interface TcpPeersOptions {
  readonly nodeId: number;
  readonly name: string;
  /** Empty while the cluster's id is not known yet. */
  readonly clusterId: string;
  readonly incarnation: string;
  readonly rejoining: boolean;
  readonly clusterSecret: string;
  /** Every node of the cluster as known at the start; this one may be among them. */
  readonly peers: ReadonlyMap<number, PeerAddress>;
  readonly listenHost?: string;
  readonly listenPort: number;
  readonly timings?: Partial<LinkTimings>;
  readonly entropy: Entropy;
  readonly logger: Logger;
}

/** What the operator should know about this secret, or undefined. Throws where the port would be open to anybody. */
export function clusterSecretWarning(secret: string, listenHost: string): string | undefined {
  const loopback = listenHost === 'localhost' || listenHost === '::1' || /^127\.\d+\.\d+\.\d+$/.test(listenHost);
  if (secret === '') {
    if (loopback) return `no cluster-secret is set: any process on this machine can speak as a node of the cluster`;
    throw new OperationalError(
      'CONFIG',
      `the peer port is to listen on ${listenHost} but no cluster-secret is set: set the same long random cluster-secret on every node, or listen on 127.0.0.1`,
    );
  }
  if (!loopback && secret.length < SECRET_CHARS_MIN) {
    return `cluster-secret is shorter than ${SECRET_CHARS_MIN} characters: it can be guessed from a recorded handshake`;
  }
  return undefined;
}

export class TcpPeers implements Transport, ObserverTransport {
  /** For the caller to log, once. */
  readonly warning: string | undefined;

  readonly #options: TcpPeersOptions;
  readonly #timings: LinkTimings;
  readonly #listenHost: string;
  readonly #limiter = new LogLimiter(10_000, 256, () => performance.now());
  readonly #links = new Map<number, PeerLink>();
  /** Accepted and not yet through the handshake, oldest first. */
  readonly #pending = new Set<InboundConnection>();
  /** Accepted and open, by node id. */
  readonly #inbound = new Map<number, InboundConnection>();
  readonly #observers: ObserverBook;
  readonly #server: Server;
  #self: HandshakeSelf;
  #events: TransportEvents | undefined;

  constructor(options: TcpPeersOptions) {
    assert(options.nodeId >= 1, 'a node id is at least 1');
    assert(/^[0-9a-f]{32}$/.test(options.incarnation), 'an incarnation is 32 hex digits');
    this.#options = options;
    this.#observers = new ObserverBook(options.name);
    this.#listenHost = options.listenHost ?? '127.0.0.1';
    this.#timings = { ...TIMINGS_DEFAULT, ...options.timings };
    this.warning = clusterSecretWarning(options.clusterSecret, this.#listenHost);
    const { nodeId, name, clusterId, incarnation, rejoining } = options;
    this.#self = { nodeId, name, clusterId: checkedClusterId(clusterId), incarnation, rejoining };
    for (const { name: peer, port } of options.peers.values()) {
      if (!(port >= 1 && port <= 65535)) throw new OperationalError('CONFIG', `peer ${peer} has port ${port}: a port is 1 to 65535`);
    }
    this.setPeers(options.peers);
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: this.#timings.idleTimeoutMs });
    this.#server.on('connection', (socket) => this.#accept(socket));
  }

  /** Binds the peer port and gives its number. Connections are turned away until start(). */
  async listen(): Promise<number> {
    const host = this.#listenHost;
    await new Promise<void>((resolve, reject) => {
      const onError = (cause: Error): void => {
        const message = `the peer port ${host}:${this.#options.listenPort} cannot be bound: ${cause.message}`;
        reject(new OperationalError('LISTEN', message, { cause }));
      };
      this.#server.once('error', onError);
      this.#server.listen(this.#options.listenPort, host, () => {
        this.#server.off('error', onError);
        // Out of descriptors, say: this connection is lost, the next may not be.
        this.#server.on('error', (error) => this.#report('warn', 'accept', { error }, 'a peer connection was not accepted'));
        resolve();
      });
    });
    return (this.#server.address() as AddressInfo).port;
  }

  start(events: TransportEvents): void {
    assert(this.#events === undefined, 'a transport starts once');
    assert(this.#server.listening, 'listen() comes before start()');
    this.#events = events;
    for (const link of this.#links.values()) link.dial();
  }

  setPeers(peers: ReadonlyMap<number, PeerAddress>): void {
    for (const [id, link] of this.#links) {
      const address = peers.get(id);
      if (address?.host === link.address.host && address.port === link.address.port) continue;
      const reason = address === undefined ? 'it is no peer any more' : 'it has another address';
      this.#links.delete(id);
      link.drop(reason);
      link.close();
      this.#inbound.get(id)?.drop(reason);
    }
    for (const [id, address] of peers) {
      if (id === this.#options.nodeId || this.#links.has(id)) continue;
      const link = new PeerLink(this.#linkHost(), id, address);
      this.#links.set(id, link);
      if (this.#events !== undefined) link.dial();
    }
  }

  send(to: number, head: Uint8Array, body: readonly Uint8Array[]): void {
    const link = this.#links.get(to);
    if (link?.peer === undefined) return;
    const fault = peerMessageFault(head, body);
    if (fault === undefined) link.send(head, body);
    else this.#report('error', `send ${to}`, { nodeId: to, fault }, 'message to peer dropped');
  }

  queuedBytes(to: number): number {
    return this.#links.get(to)?.queuedBytes ?? 0;
  }

  observe(events: ObserverEvents): void {
    this.#observers.observe(events);
  }

  answer(observer: number, answer: FeedAnswer): void {
    this.#observers.answer(observer, answer);
  }

  answerPiece(observer: number, answer: PieceAnswer): void {
    this.#observers.answerPiece(observer, answer);
  }

  dropObserver(observer: number, reason: string): void {
    this.#observers.drop(observer, reason);
  }

  /** Changes what this node says of itself. Peers learn of it by new handshakes: may call `disconnected` before it returns. */
  setRejoining(rejoining: boolean): void {
    if (this.#self.rejoining !== rejoining) this.#introduceAgain({ ...this.#self, rejoining });
  }

  /** As setRejoining, for a node that has learned which cluster it belongs to. */
  setClusterId(clusterId: string): void {
    if (this.#self.clusterId !== clusterId) this.#introduceAgain({ ...this.#self, clusterId: checkedClusterId(clusterId) });
  }

  /** For INFO and tests. */
  get pendingConnections(): number {
    return this.#pending.size;
  }

  close(): void {
    this.#events = undefined;
    this.#server.close();
    this.#observers.closeAll('shutdown');
    for (const connection of [...this.#pending, ...this.#inbound.values()]) connection.drop('shutdown');
    for (const link of this.#links.values()) link.close();
  }

  #introduceAgain(self: HandshakeSelf): void {
    this.#self = self;
    const reason = 'this node introduces itself anew';
    for (const connection of [...this.#pending, ...this.#inbound.values()]) connection.drop(reason);
    for (const link of this.#links.values()) link.drop(reason);
  }

  #handshakeOptions(): HandshakeOptions {
    return {
      self: this.#self,
      secret: this.#options.clusterSecret,
      admit: (peer) => {
        if (this.#events === undefined) return 'this node is shutting down';
        return this.#events.admit(peer);
      },
      admitObserver: () => (this.#events === undefined ? 'this node is shutting down' : this.#observers.refusal()),
    };
  }

  #report(level: 'debug' | 'info' | 'warn' | 'error', key: string, fields: object, message: string): void {
    const heldBack = this.#limiter.pass(`${level} ${key}`);
    if (heldBack === undefined) return;
    this.#options.logger[level](heldBack === 0 ? fields : { ...fields, heldBack }, message);
  }

  #linkHost(): LinkHost {
    return {
      timings: this.#timings,
      queueBytesMax: QUEUE_BYTES_MAX,
      entropy: this.#options.entropy,
      handshakeOptions: () => this.#handshakeOptions(),
      linkOpened: (peer) => {
        const inbound = this.#inbound.get(peer.nodeId);
        if (inbound !== undefined && !sameIdentity(inbound.peer, peer)) inbound.drop('the peer has come back as another incarnation');
        this.#events?.connected(peer);
      },
      linkLost: (nodeId) => this.#events?.disconnected(nodeId),
      linkRefused: (nodeId, reason) => this.#events?.refused(nodeId, reason),
      report: (level, key, fields, message) => this.#report(level, key, fields, message),
    };
  }

  #accept(socket: Socket): void {
    if (this.#events === undefined) {
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    if (this.#pending.size >= PENDING_MAX) {
      for (const oldest of this.#pending) {
        oldest.drop(`more than ${PENDING_MAX} connections wait for their handshake`);
        break;
      }
    }
    const connection: InboundConnection = new InboundConnection(socket, this.#timings, this.#handshakeOptions(), {
      opened: (peer) => this.#inboundOpened(connection, peer),
      observerOpened: () => {
        this.#pending.delete(connection);
        this.#observers.opened(connection);
      },
      observerMessage: (head, body) => this.#observers.message(connection, head, body),
      message: (from, head, body) => this.#events?.message(from, head, body),
      refused: (nodeId, reason) => this.#events?.refused(nodeId, reason),
      closed: (peer) => {
        this.#pending.delete(connection);
        this.#observers.closed(connection);
        if (peer !== undefined && this.#inbound.get(peer.nodeId) === connection) this.#inbound.delete(peer.nodeId);
      },
      report: (level, key, fields, message) => this.#report(level, key, fields, message),
    });
    this.#pending.add(connection);
  }

  #inboundOpened(connection: InboundConnection, peer: PeerIdentity): void {
    this.#pending.delete(connection);
    this.#inbound.get(peer.nodeId)?.drop('replaced by a newer connection of this peer');
    this.#inbound.set(peer.nodeId, connection);
    const link = this.#links.get(peer.nodeId);
    if (link?.peer !== undefined && !sameIdentity(link.peer, peer)) link.drop('the peer has come back as another incarnation');
    // It is up, so there is no reason to wait on.
    link?.dial();
  }
}

function checkedClusterId(clusterId: string): string {
  assert(Buffer.byteLength(clusterId) <= CLUSTER_ID_BYTES_MAX, 'a cluster id is short');
  return clusterId;
}

function sameIdentity(a: PeerIdentity | undefined, b: PeerIdentity): boolean {
  return a?.incarnation === b.incarnation && a.rejoining === b.rejoining;
}

interface InboundHost {
  opened(peer: PeerIdentity): void;
  observerOpened(): void;
  observerMessage(head: Uint8Array, body: readonly Uint8Array[]): void;
  message(from: number, head: Uint8Array, body: readonly Uint8Array[]): void;
  refused(nodeId: number, reason: string): void;
  closed(peer: PeerIdentity | undefined): void;
  report: LinkHost['report'];
}

/** One accepted connection, from the first byte to its end. */
class InboundConnection implements ObserverConnection {
  readonly #socket: Socket;
  readonly #timings: LinkTimings;
  readonly #host: InboundHost;
  readonly #remote: string;
  readonly #handshake: Handshake;
  readonly #decoder: FrameDecoder;
  /** Ends the handshake; later, the watch over the peer's silence. */
  #timer: NodeJS.Timeout;
  #silentTicks = 0;
  /** parting: a refusal is on its way out, what comes in is ignored. */
  #phase: 'handshake' | 'open' | 'parting' | 'closed' = 'handshake';
  /** Who is at the other end once it is open: a peer, or an observer. */
  #peer: PeerIdentity | undefined;
  #observer = false;

  constructor(socket: Socket, timings: LinkTimings, handshakeOptions: HandshakeOptions, host: InboundHost) {
    this.#socket = socket;
    this.#timings = timings;
    this.#host = host;
    this.#remote = socket.remoteAddress ?? 'unknown';
    this.#handshake = new Handshake(handshakeOptions, 0, (bytes) => socket.write(bytes));
    this.#decoder = new FrameDecoder({
      message: (head, body) => {
        if (this.#peer !== undefined) host.message(this.#peer.nodeId, head, body);
        else if (this.#observer) host.observerMessage(head, body);
      },
      ping: () => this.#onPing(),
      pong: () => this.drop('it sent a pong on a connection that is its own to ping'),
    });
    const { handshakeTimeoutMs } = timings;
    this.#timer = setTimeout(() => this.drop(`no handshake within ${handshakeTimeoutMs} ms`), handshakeTimeoutMs);
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', (error) => this.drop(error.message || String(error)));
    socket.on('close', () => this.drop('the peer closed the connection'));
  }

  /** Undefined until the handshake is done, and for an observer. */
  get peer(): PeerIdentity | undefined {
    return this.#peer;
  }

  drop(reason: string): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    clearTimeout(this.#timer);
    this.#decoder.stop();
    this.#socket.destroy();
    const peer = this.#peer;
    this.#host.report('debug', `closed ${this.#remote} ${peer?.nodeId}`, { ...this.#fields(), reason }, 'connection from peer closed');
    this.#host.closed(peer);
  }

  /** A chunk is handed over only when the kernel has taken the one before it. */
  send(head: Uint8Array, body: readonly Uint8Array[], sent: () => void): void {
    const bulk = body.length === 0 ? undefined : new BulkEncoder(head, body);
    const next = (error?: Error | null): void => {
      if ((error !== undefined && error !== null) || this.#phase !== 'open') return;
      if (bulk === undefined || bulk.done) sent();
      else writeAll(this.#socket, bulk.next(), next);
    };
    if (bulk === undefined) this.#socket.write(encodeMessage(head), next);
    else next();
  }

  #fields(): object {
    return { address: this.#remote, nodeId: this.#observer ? 'observer' : this.#peer?.nodeId };
  }

  #onData(chunk: Uint8Array): void {
    this.#silentTicks = 0;
    if (this.#phase === 'open') this.#onFrames(chunk);
    if (this.#phase !== 'handshake') return;
    const outcome = this.#handshake.push(chunk);
    if (outcome.kind === 'pending') return;
    if (outcome.kind === 'open') {
      this.#onOpen(outcome.peer, outcome.observer);
      if (outcome.rest.length > 0) this.#onFrames(outcome.rest);
      return;
    }
    const { fault, nodeId, text } = outcome;
    // Before the proof a node id is a claim, and the key must not be of the other side's choosing.
    const proved = fault === 'refused-by-us' || fault === 'refused-by-peer';
    const message = fault === 'refused-by-peer' ? 'refused by peer' : 'connection refused on the peer port';
    const fields = { address: this.#remote, [proved ? 'nodeId' : 'claimedNodeId']: nodeId, reason: text };
    this.#host.report('warn', `${fault} ${this.#remote} ${proved ? nodeId : ''}`, fields, message);
    this.#phase = 'parting';
    this.#socket.destroySoon();
    if (fault === 'refused-by-peer') this.#host.refused(nodeId, text);
  }

  #onOpen(peer: PeerIdentity, observer: boolean): void {
    this.#phase = 'open';
    this.#peer = observer ? undefined : peer;
    this.#observer = observer;
    clearTimeout(this.#timer);
    const idleTimeoutMs = this.#timings.idleTimeoutMs * (observer ? OBSERVER_PATIENCE : 1);
    this.#timer = setInterval(() => {
      if (++this.#silentTicks >= IDLE_TICKS) this.drop(`not heard of for ${idleTimeoutMs} ms`);
    }, idleTimeoutMs / IDLE_TICKS);
    // What an observer has to say fits in a head; nothing is gathered for it.
    if (observer) {
      this.#decoder.bulkBytesMax = 0;
      this.#host.observerOpened();
    } else this.#host.opened(peer);
  }

  #onFrames(chunk: Uint8Array): void {
    const fault = this.#decoder.push(chunk);
    if (fault === undefined) return;
    this.#host.report('warn', `fault ${this.#peer?.nodeId}`, { ...this.#fields(), fault }, 'peer sent invalid bytes');
    this.drop(fault);
  }

  #onPing(): void {
    const queueBytesMax = PONG_BYTES_MAX + (this.#observer ? PEER_CHUNK_BYTES_MAX : 0);
    if (this.#socket.writableLength > queueBytesMax) this.drop('it does not read our pongs');
    else this.#socket.write(PONG_FRAME);
  }
}
