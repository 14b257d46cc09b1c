// The network between the nodes: connections that come up by a handshake and break, and messages that are late, lost,
// doubled or out of order. Owns who can reach whom.
//
// What must hold here: a message is delivered whole or not at all, never altered, only to the life of the receiver that
// is connected with the sender, and only while the sender's data directory is the one that it came from.
import type { Prng } from '../../src/base/prng.ts';
import type { PeerAddress, PeerIdentity, Transport, TransportEvents } from '../../src/ports/transport.ts';
import type { SimThread } from './clock.ts';
import type { Scheduler } from './scheduler.ts';

export interface NetworkProfile {
  readonly meanMs: number;
  readonly lossChance: number;
  readonly duplicateChance: number;
  /** Chance that a message takes up to `slowMs`. */
  readonly slowChance: number;
  readonly slowMs: number;
  /** Each message has a delay of its own; else those of one direction keep their order. */
  readonly reorder: boolean;
}

export interface NetworkStats {
  sent: number;
  delivered: number;
  lost: number;
  duplicated: number;
  connects: number;
  refusals: number;
}

const RECONNECT_MS = 40;

export class SimNetwork {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly profile: NetworkProfile;
  readonly stats: NetworkStats = { sent: 0, delivered: 0, lost: 0, duplicated: 0, connects: 0, refusals: 0 };
  readonly endpoints = new Map<number, SimTransport>();
  /** Faults apply; off once the cluster heals. */
  faulty = true;
  readonly #blocked = new Set<string>();
  readonly #lastArrivalMs = new Map<string, number>();
  readonly #onRefused: (by: number, node: number, reason: string) => void;

  constructor(scheduler: Scheduler, prng: Prng, profile: NetworkProfile, onRefused: (by: number, node: number, reason: string) => void) {
    this.scheduler = scheduler;
    this.prng = prng;
    this.profile = profile;
    this.#onRefused = onRefused;
  }

  block(from: number, to: number): void {
    this.#blocked.add(`${from}>${to}`);
  }

  unblock(from: number, to: number): void {
    this.#blocked.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#blocked.clear();
  }

  isBlocked(from: number, to: number): boolean {
    return this.#blocked.has(`${from}>${to}`);
  }

  /** The connection between two nodes breaks; both notice, each in its own time. */
  disconnect(a: number, b: number): void {
    this.endpoints.get(a)?.lose(b);
    this.endpoints.get(b)?.lose(a);
  }

  /** Keeps trying to connect every pair that is not. */
  start(nodes: readonly number[]): void {
    for (const a of nodes) {
      for (const b of nodes) if (a < b) this.#tryLater(a, b);
    }
  }

  /** One more node, beside these. */
  add(node: number, others: readonly number[]): void {
    for (const other of others) this.#tryLater(Math.min(node, other), Math.max(node, other));
  }

  #tryLater(a: number, b: number): void {
    this.scheduler.after(RECONNECT_MS * (0.5 + this.prng.unit()), () => {
      this.#tryConnect(a, b);
      this.#tryLater(a, b);
    });
  }

  #tryConnect(a: number, b: number): void {
    const left = this.endpoints.get(a);
    const right = this.endpoints.get(b);
    if (left === undefined || right === undefined || this.isBlocked(a, b) || this.isBlocked(b, a)) return;
    // Either can dial.
    if (!left.known.has(b) && !right.known.has(a)) return;
    if (left.peers.get(b) === right && right.peers.get(a) === left) return;
    if (left.handshaking.get(b) === right || right.handshaking.get(a) === left) return;
    // What one side still takes for a connection to an earlier life is dropped first.
    if (left.peers.has(b) || right.peers.has(a)) {
      this.disconnect(a, b);
      return;
    }
    left.handshaking.set(b, right);
    right.handshaking.set(a, left);
    const end = (): void => {
      if (left.handshaking.get(b) === right) left.handshaking.delete(b);
      if (right.handshaking.get(a) === left) right.handshaking.delete(a);
    };
    const alive = (): boolean => left.open && right.open && !this.isBlocked(a, b) && !this.isBlocked(b, a);
    const hop = (thread: SimThread, step: () => void): void => {
      if (!thread.alive) end();
      thread.post(this.prng.unit() * 2, () => (alive() ? step() : end()));
    };
    const meets = (self: SimTransport, peer: SimTransport): boolean => {
      const reason = self.events.admit(peer.identity);
      if (reason === undefined) return true;
      this.stats.refusals++;
      this.#onRefused(self.identity.nodeId, peer.identity.nodeId, reason);
      peer.thread.post(1, () => peer.open && peer.events.refused(self.identity.nodeId, reason));
      end();
      return false;
    };
    hop(left.thread, () => {
      if (!meets(left, right)) return;
      hop(right.thread, () => {
        if (!meets(right, left)) return;
        right.connect(left);
        hop(left.thread, () => {
          this.stats.connects++;
          left.connect(right);
          end();
        });
      });
    });
  }

  deliver(from: SimTransport, to: number, head: Uint8Array, body: readonly Uint8Array[]): void {
    const { profile, prng, stats } = this;
    stats.sent++;
    const sender = from.identity.nodeId;
    if (this.isBlocked(sender, to) || (this.faulty && prng.chance(profile.lossChance))) {
      stats.lost++;
      return;
    }
    const copies = this.faulty && prng.chance(profile.duplicateChance) ? 2 : 1;
    if (copies === 2) stats.duplicated++;
    // What is sent is on the wire: neither side sees what the other does to its buffers.
    const headBytes = head.slice();
    const bodyBytes = body.map((part) => part.slice());
    const { incarnation } = from.identity;
    for (let copy = 0; copy < copies; copy++) {
      this.scheduler.after(this.#delayMs(sender, to), () => {
        const receiver = this.endpoints.get(to);
        if (receiver === undefined || this.isBlocked(sender, to)) {
          stats.lost++;
          return;
        }
        receiver.thread.post(0, () => {
          if (!receiver.open || receiver.peers.get(sender)?.identity.incarnation !== incarnation) {
            stats.lost++;
            return;
          }
          stats.delivered++;
          receiver.events.message(sender, headBytes, bodyBytes);
        });
      });
    }
  }

  #delayMs(from: number, to: number): number {
    const { profile, prng, scheduler } = this;
    const slow = this.faulty && prng.chance(profile.slowChance);
    const delayMs = slow ? prng.unit() * profile.slowMs : profile.meanMs * (0.2 + 1.6 * prng.unit());
    if (profile.reorder) return delayMs;
    const key = `${from}>${to}`;
    const arrivalMs = Math.max(scheduler.nowMs + delayMs, this.#lastArrivalMs.get(key) ?? 0);
    this.#lastArrivalMs.set(key, arrivalMs);
    return arrivalMs - scheduler.nowMs;
  }
}

const NO_EVENTS: TransportEvents = {
  admit: () => 'not started',
  connected: () => undefined,
  disconnected: () => undefined,
  message: () => undefined,
  refused: () => undefined,
};

/** One life of one node on the network. */
export class SimTransport implements Transport {
  identity: PeerIdentity;
  readonly thread: SimThread;
  readonly #network: SimNetwork;
  readonly #onSend: (to: number, head: Uint8Array) => void;
  events: TransportEvents = NO_EVENTS;
  open = false;
  readonly peers = new Map<number, SimTransport>();
  readonly handshaking = new Map<number, SimTransport>();
  /** Whose address it has: only to those it can send. */
  known: ReadonlySet<number> = new Set();
  /** Of whom it has said that they are connected. */
  readonly #reached = new Set<number>();

  constructor(network: SimNetwork, identity: PeerIdentity, thread: SimThread, onSend: (to: number, head: Uint8Array) => void) {
    this.#network = network;
    this.identity = identity;
    this.thread = thread;
    this.#onSend = onSend;
  }

  start(events: TransportEvents): void {
    this.events = events;
    this.open = true;
    this.#network.endpoints.set(this.identity.nodeId, this);
  }

  /** On this node's thread. */
  connect(peer: SimTransport): void {
    this.peers.set(peer.identity.nodeId, peer);
    this.#reach(peer);
  }

  #reach(peer: SimTransport): void {
    const { nodeId } = peer.identity;
    if (!this.known.has(nodeId) || this.#reached.has(nodeId)) return;
    this.#reached.add(nodeId);
    this.events.connected(peer.identity);
  }

  #leave(node: number): void {
    this.peers.delete(node);
    if (this.#reached.delete(node)) this.events.disconnected(node);
  }

  setPeers(peers: ReadonlyMap<number, PeerAddress>): void {
    this.known = new Set(peers.keys());
    for (const [node, peer] of this.peers) {
      if (this.known.has(node)) {
        this.thread.post(this.#network.prng.unit() * 5, () => {
          if (this.open && this.peers.get(node) === peer) this.#reach(peer);
        });
      } else {
        this.#network.endpoints.get(node)?.lose(this.identity.nodeId);
        this.#leave(node);
      }
    }
  }

  lose(node: number): void {
    const peer = this.peers.get(node);
    if (peer === undefined) return;
    this.thread.post(this.#network.prng.unit() * 5, () => {
      if (!this.open || this.peers.get(node) !== peer) return;
      this.#leave(node);
    });
  }

  send(to: number, head: Uint8Array, body: readonly Uint8Array[]): void {
    if (!this.open || !this.peers.has(to) || !this.known.has(to)) return;
    this.#onSend(to, head);
    this.#network.deliver(this, to, head, body);
  }

  queuedBytes(): number {
    return 0;
  }

  /** As the TCP transport's setRejoining: peers are met anew under the new description. */
  setRejoining(rejoining: boolean): void {
    this.identity = { ...this.identity, rejoining };
    for (const node of [...this.peers.keys()]) this.#network.disconnect(this.identity.nodeId, node);
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    const { nodeId } = this.identity;
    if (this.#network.endpoints.get(nodeId) === this) this.#network.endpoints.delete(nodeId);
    for (const node of this.peers.keys()) this.#network.endpoints.get(node)?.lose(nodeId);
    this.peers.clear();
    this.#reached.clear();
  }
}
