// The way to one peer: the connection that this node dials, keeps up and sends on. Nothing but pongs comes back on it;
// what the peer has to say comes on the connection that it dials (tcp-peers.ts).
//
// What must hold:
// - Messages without a body go to the socket at once. Of messages with a body at most one chunk is with the socket and
//   not yet with the kernel, so that a message without one waits behind a chunk at most.
// - At most `queueBytesMax` of either class is queued, and the one message that crosses it; more is dropped.
// - A buffer that was handed to the socket is not written to again: body parts are immutable, all else is our own.
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { MiB, PEER_CHUNK_BYTES_MAX } from '../base/limits.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { PeerAddress, PeerIdentity } from '../ports/transport.ts';
import { BulkEncoder, FRAME_HEADER_BYTES, FrameDecoder, PING_FRAME, encodeMessage } from './peer-frame.ts';
import { Handshake, type HandshakeOptions } from './peer-handshake.ts';

/** Silence is measured in ticks of our own timer, so that a pause of this process does not count as the peer's. */
export const IDLE_TICKS = 4;
/** Bulk bytes handed to the kernel before other work of this thread gets its turn. */
const TURN_BYTES_MAX = 4 * MiB;

export interface LinkTimings {
  /** A peer that has not been heard for this long is taken for gone: a few election timeouts. */
  readonly idleTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
}

export interface LinkHost {
  readonly timings: LinkTimings;
  readonly queueBytesMax: number;
  readonly entropy: Entropy;
  handshakeOptions(): HandshakeOptions;
  linkOpened(peer: PeerIdentity): void;
  linkLost(nodeId: number): void;
  linkRefused(nodeId: number, reason: string): void;
  /** Logs, but not the same key over and over. */
  report(level: 'debug' | 'info' | 'warn' | 'error', key: string, fields: object, message: string): void;
}

export class PeerLink {
  readonly #host: LinkHost;
  readonly #nodeId: number;
  readonly #address: PeerAddress;

  /** waiting: for #timer to dial; handshake: #timer ends it; open: messages go out, #pinger runs; closed: for good. */
  #phase: 'waiting' | 'handshake' | 'open' | 'closed' = 'waiting';
  #timer: NodeJS.Timeout | undefined;
  #pinger: NodeJS.Timeout | undefined;
  #socket: Socket | undefined;
  #peer: PeerIdentity | undefined;
  /** Dials that came to nothing, or to little, in a row. */
  #failures = 0;
  #openedMs = 0;
  #silentTicks = 0;

  /** Messages with a body that are not wholly with the socket: #queue from #queueAt on; the first may be begun. */
  #queue: BulkEncoder[] = [];
  #queueAt = 0;
  /** Sum of bytesLeft over the queue. */
  #queueBytes = 0;
  #turnBytes = 0;
  #turnTaken: NodeJS.Immediate | undefined;

  constructor(host: LinkHost, nodeId: number, address: PeerAddress) {
    this.#host = host;
    this.#nodeId = nodeId;
    this.#address = address;
  }

  get address(): PeerAddress {
    return this.#address;
  }

  /** Who is at the other end; undefined unless messages go out. */
  get peer(): PeerIdentity | undefined {
    return this.#peer;
  }

  get queuedBytes(): number {
    return this.#phase === 'open' && this.#socket !== undefined ? this.#queueBytes + this.#socket.writableLength : 0;
  }

  send(head: Uint8Array, body: readonly Uint8Array[]): void {
    const socket = this.#socket;
    if (this.#phase !== 'open' || socket === undefined) return;
    const { queueBytesMax } = this.#host;
    if (body.length === 0) {
      if (socket.writableLength > queueBytesMax + PEER_CHUNK_BYTES_MAX) return;
      socket.write(encodeMessage(head), this.#onWritten);
      return;
    }
    if (this.#queueBytes > queueBytesMax) return;
    const bulk = new BulkEncoder(head, body);
    this.#queue.push(bulk);
    this.#queueBytes += bulk.bytesLeft + FRAME_HEADER_BYTES;
    this.#pump();
    bulk.ownHead();
  }

  /** Dials, unless that is under way or done. */
  dial(): void {
    if (this.#phase !== 'waiting') return;
    clearTimeout(this.#timer);
    this.#phase = 'handshake';
    const { handshakeTimeoutMs, idleTimeoutMs } = this.#host.timings;
    const { host, port } = this.#address;
    const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: idleTimeoutMs });
    this.#socket = socket;
    let error = 'the peer closed the connection';
    let take: ((chunk: Uint8Array) => void) | undefined;
    socket.on('connect', () => {
      if (this.#socket === socket) take = this.#begin(socket);
    });
    socket.on('data', (chunk) => {
      if (this.#socket !== socket) return;
      this.#silentTicks = 0;
      take?.(chunk);
    });
    socket.on('error', (thrown) => {
      error = thrown.message || String(thrown);
    });
    socket.on('close', () => {
      if (this.#socket === socket) this.drop(error);
    });
    this.#timer = setTimeout(() => this.drop(`no connection within ${handshakeTimeoutMs} ms`), handshakeTimeoutMs);
  }

  /** Ends the connection, if there is one, and dials again later. */
  drop(reason: string): void {
    if (this.#phase === 'waiting' || this.#phase === 'closed') return;
    const wasOpen = this.#phase === 'open';
    const level = wasOpen ? 'info' : 'debug';
    this.#host.report(level, `lost ${wasOpen} ${this.#nodeId}`, { ...this.#fields(), reason }, 'no connection to peer');
    this.#wait();
    if (wasOpen) this.#host.linkLost(this.#nodeId);
  }

  #wait(): void {
    const { backoffMaxMs, backoffMinMs } = this.#host.timings;
    if (this.#phase === 'open' && performance.now() - this.#openedMs >= backoffMaxMs) this.#failures = 0;
    this.#reset();
    this.#phase = 'waiting';
    const ceilingMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(this.#failures, 20));
    this.#failures++;
    const delayMs = ceilingMs * (0.5 + this.#host.entropy.uint32() / 0x2_0000_0000);
    this.#timer = setTimeout(() => this.dial(), delayMs);
  }

  close(): void {
    const socket = this.#phase === 'open' ? this.#socket : undefined;
    this.#reset(socket);
    this.#phase = 'closed';
    if (socket === undefined) return;
    // What is queued in the kernel or nearly so (a leadership transfer, say) still goes out; it does not hold us up.
    socket.destroySoon();
    setTimeout(() => socket.destroy(), 200).unref();
  }

  #reset(keep?: Socket): void {
    clearTimeout(this.#timer);
    clearInterval(this.#pinger);
    if (this.#turnTaken !== undefined) clearImmediate(this.#turnTaken);
    const socket = this.#socket;
    this.#turnTaken = undefined;
    this.#socket = undefined;
    this.#peer = undefined;
    this.#queue = [];
    this.#queueAt = 0;
    this.#queueBytes = 0;
    if (socket !== keep) socket?.destroy();
  }

  #fields(): object {
    const { name, host, port } = this.#address;
    return { peer: name, nodeId: this.#nodeId, address: `${host}:${port}` };
  }

  /** What takes the bytes of a new connection: first the handshake, then the frames. */
  #begin(socket: Socket): (chunk: Uint8Array) => void {
    const handshake = new Handshake(this.#host.handshakeOptions(), this.#nodeId, (bytes) => socket.write(bytes));
    const decoder = new FrameDecoder({
      message: () => this.drop('it sent a message on a connection that is not for its messages'),
      ping: () => this.drop('it sent a ping on a connection that is ours to ping'),
      pong: () => {},
    });
    let open = false;
    return (chunk) => {
      let bytes = chunk;
      if (!open) {
        const outcome = handshake.push(chunk);
        if (outcome.kind === 'pending') return;
        if (outcome.kind === 'failed') {
          this.#onRefusal(outcome.fault, outcome.text, socket);
          return;
        }
        open = true;
        bytes = outcome.rest;
        this.#onOpen(outcome.peer);
      }
      const fault = decoder.push(bytes);
      if (fault === undefined || this.#socket !== socket) return;
      this.#host.report('warn', `fault ${this.#nodeId}`, { ...this.#fields(), fault }, 'peer sent invalid bytes');
      this.drop(fault);
    };
  }

  #onRefusal(fault: string, text: string, socket: Socket): void {
    this.#failures = 20;
    this.#host.report('warn', `${fault} ${this.#nodeId}`, { ...this.#fields(), reason: text }, refusalMessage(fault));
    // A last word of ours (our own refusal) has to get out before the end.
    this.#socket = undefined;
    socket.destroySoon();
    setTimeout(() => socket.destroy(), 200).unref();
    this.#wait();
    if (fault === 'refused-by-peer') this.#host.linkRefused(this.#nodeId, text);
  }

  #onOpen(peer: PeerIdentity): void {
    clearTimeout(this.#timer);
    this.#phase = 'open';
    this.#peer = peer;
    this.#openedMs = performance.now();
    this.#silentTicks = 0;
    this.#turnBytes = 0;
    const { idleTimeoutMs } = this.#host.timings;
    this.#pinger = setInterval(() => {
      if (++this.#silentTicks >= IDLE_TICKS) this.drop(`not heard of for ${idleTimeoutMs} ms`);
      else this.#socket?.write(PING_FRAME, this.#onWritten);
    }, idleTimeoutMs / IDLE_TICKS);
    this.#host.report('info', `open ${this.#nodeId}`, { ...this.#fields(), incarnation: peer.incarnation }, 'connected to peer');
    this.#host.linkOpened(peer);
  }

  readonly #onWritten = (): void => {
    if (this.#queueAt < this.#queue.length) this.#pump();
  };

  /** Writes chunks as long as the kernel takes them whole; the callback of the last write goes on from there. */
  #pump(): void {
    const socket = this.#socket;
    while (socket !== undefined && this.#socket === socket && socket.writableLength === 0) {
      const bulk = this.#queue[this.#queueAt];
      if (bulk === undefined || this.#turnTaken !== undefined) return;
      if (this.#turnBytes >= TURN_BYTES_MAX) {
        this.#turnTaken = setImmediate(() => {
          this.#turnTaken = undefined;
          this.#turnBytes = 0;
          this.#pump();
        });
        return;
      }
      const before = bulk.bytesLeft;
      const buffers = bulk.next();
      const written = before - bulk.bytesLeft;
      this.#turnBytes += written;
      this.#queueBytes -= written;
      if (bulk.done) this.#dequeue();
      writeAll(socket, buffers, this.#onWritten);
    }
  }

  #dequeue(): void {
    this.#queueBytes -= FRAME_HEADER_BYTES;
    this.#queueAt++;
    if (this.#queueAt === this.#queue.length) this.#queue.length = 0;
    else if (this.#queueAt >= 1024) this.#queue.splice(0, this.#queueAt);
    else return;
    this.#queueAt = 0;
  }
}

function refusalMessage(fault: string): string {
  if (fault === 'refused-by-peer') return 'refused by peer';
  if (fault === 'refused-by-us') return 'peer refused';
  return 'handshake with peer failed';
}

/** In one system call, where the kernel has room. */
export function writeAll(socket: Socket, buffers: readonly Uint8Array[], done: (error?: Error | null) => void): void {
  const last = buffers.length - 1;
  if (last === 0) {
    socket.write(buffers[0] as Uint8Array, done);
    return;
  }
  socket.cork();
  for (let i = 0; i < last; i++) socket.write(buffers[i] as Uint8Array);
  socket.write(buffers[last] as Uint8Array, done);
  socket.uncork();
}
