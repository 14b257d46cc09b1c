// The handshake on a new peer connection: who is there, and does each side know the cluster secret? Pure over bytes;
// tcp-peers.ts owns the sockets and the time limit. Version 1, little-endian. D dials, A accepts:
//
//   D → A  1 hello      introduction of D
//   A → D  2 challenge  introduction of A             or 6 rejection: version
//   D → A  3 proof      HMAC(secret, D's label ‖ hello ‖ challenge)
//   A → D  4 welcome    HMAC(secret, A's label ‖ hello ‖ challenge), verdict     or 6 rejection: secret
//   D → A  5 verdict    and then frames (peer-frame.ts), without waiting
//
//   each message:  u16 length of what follows the header, u8 kind, u8 zero, then
//   introduction:  8 magic, u16 version, u32 own node id, u32 node id meant, 16 incarnation, u8 flags (1 = rejoining,
//                  2 = observer), 32 nonce, u8 length of the cluster id, cluster id
//   proof:         32 bytes
//   welcome:       32 bytes of proof, verdict
//   verdict:       u8 (0 = admitted, 1 = refused), text of the refusal
//   rejection:     u8 reason (1 = secret, 2 = version), u16 own version
//
// The HMACs (SHA-256) cover both introductions as they stood on the wire, so every field of them; fresh nonces from both
// sides make a replay worthless, the labels make a reflection worthless. D proves itself first, so whoever can merely
// connect to a node gets nothing that was computed from the secret. Whoever takes over a peer's address gets D's proof,
// against which guesses can be tried: a cluster secret has to be long and random. Nobody is admitted, and no text of
// the other side's is shown, before its proof.
//
// An observer (the snapshotter) is no member: node id 0, incarnation zero, and it may mean whichever member answers
// (node id meant: 0xffffffff). It proves the same secret, and is admitted by a question of its own.
//
// Valid: everything of one side within HANDSHAKE_BYTES_MAX, messages in this order, of exactly these sizes.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { KiB } from '../base/limits.ts';
import type { PeerIdentity } from '../ports/transport.ts';

export const HANDSHAKE_BYTES_MAX = 1 * KiB;
export const CLUSTER_ID_BYTES_MAX = 64;

/** The node id that an observer means: whoever answers. */
export const ANY_MEMBER = 0xffff_ffff;

const VERSION = 1;
const MAGIC = Buffer.from('HOLDPEER', 'latin1');
const HEADER_BYTES = 4;
const NONCE_BYTES = 32;
const PROOF_BYTES = 32;
const INTRODUCTION_BYTES = 8 + 2 + 4 + 4 + 16 + 1 + NONCE_BYTES + 1;
const TEXT_CHARS_MAX = 600;

const HELLO = 1;
const CHALLENGE = 2;
const PROOF = 3;
const WELCOME = 4;
const VERDICT = 5;
const REJECTION = 6;
const FLAG_REJOINING = 1;
const FLAG_OBSERVER = 2;
const REASON_SECRET = 1;
const REASON_VERSION = 2;

const DIALER_LABEL = 'holdfast peer 1: dialer\n';
const ACCEPTOR_LABEL = 'holdfast peer 1: acceptor\n';

export interface HandshakeSelf {
  readonly nodeId: number;
  readonly name: string;
  /** Empty while this node does not know its cluster's id yet; then ids are not compared. */
  readonly clusterId: string;
  readonly incarnation: string;
  readonly rejoining: boolean;
  /** Follows the log and is no member; then `nodeId` is 0. */
  readonly observer?: boolean;
}

export interface HandshakeOptions {
  readonly self: HandshakeSelf;
  readonly secret: string;
  /** Asked once, after the peer's proof and the comparison of ids; a text refuses it. */
  admit(peer: PeerIdentity): string | undefined;
  /** As admit, for an observer. Without it there are none. */
  readonly admitObserver?: () => string | undefined;
}

/** Why a handshake failed; the first three before the peer proved itself, the last two after. */
export type HandshakeFault = 'malformed' | 'version' | 'secret' | 'refused-by-us' | 'refused-by-peer';

export type HandshakeOutcome =
  | { readonly kind: 'pending' }
  | { readonly kind: 'open'; readonly peer: PeerIdentity; readonly observer: boolean; readonly clusterId: string; readonly rest: Uint8Array }
  | { readonly kind: 'failed'; readonly fault: HandshakeFault; readonly nodeId: number; readonly text: string };

interface Introduction {
  readonly version: number;
  readonly nodeId: number;
  readonly meantId: number;
  readonly incarnation: string;
  readonly rejoining: boolean;
  readonly observer: boolean;
  readonly clusterId: string;
}

const PENDING: HandshakeOutcome = { kind: 'pending' };

/** What a peer says, fit for a log line: printable ASCII of bounded length. */
function cleanText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, TEXT_CHARS_MAX);
}

function encode(kind: number, ...pieces: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(pieces);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16LE(body.length, 0);
  header[2] = kind;
  return Buffer.concat([header, body]);
}

function encodeIntroduction(kind: number, self: HandshakeSelf, meantId: number): Buffer {
  const fixed = Buffer.alloc(INTRODUCTION_BYTES);
  const clusterId = Buffer.from(self.clusterId, 'utf8');
  MAGIC.copy(fixed, 0);
  fixed.writeUInt16LE(VERSION, 8);
  fixed.writeUInt32LE(self.nodeId, 10);
  fixed.writeUInt32LE(meantId, 14);
  Buffer.from(self.incarnation, 'hex').copy(fixed, 18);
  fixed[34] = (self.rejoining ? FLAG_REJOINING : 0) | (self.observer === true ? FLAG_OBSERVER : 0);
  randomBytes(NONCE_BYTES).copy(fixed, 35);
  fixed[67] = clusterId.length;
  return encode(kind, fixed, clusterId);
}

/** The introduction in the body of a message; undefined if the bytes are none. One of another version is not read beyond that. */
function decodeIntroduction(body: Buffer): Introduction | undefined {
  if (body.length < INTRODUCTION_BYTES || !MAGIC.equals(body.subarray(0, 8))) return undefined;
  const version = body.readUInt16LE(8);
  if (version === VERSION) {
    const clusterIdBytes = body[67] ?? 0;
    if (clusterIdBytes > CLUSTER_ID_BYTES_MAX || body.length !== INTRODUCTION_BYTES + clusterIdBytes) return undefined;
  }
  const flags = body[34] ?? 0;
  return {
    version,
    nodeId: body.readUInt32LE(10),
    meantId: body.readUInt32LE(14),
    incarnation: body.toString('hex', 18, 34),
    rejoining: (flags & FLAG_REJOINING) !== 0,
    observer: (flags & FLAG_OBSERVER) !== 0,
    clusterId: body.toString('utf8', INTRODUCTION_BYTES),
  };
}

function encodeVerdict(refusal: string | undefined): Buffer {
  return Buffer.concat([Buffer.from([refusal === undefined ? 0 : 1]), Buffer.from(cleanText(refusal ?? ''), 'latin1')]);
}

/** The refusal in a verdict, undefined for an admission. */
function decodeVerdict(verdict: Buffer): string | undefined {
  if (verdict[0] === 0) return undefined;
  return cleanText(verdict.toString('latin1', 1)) || 'no reason given';
}

/** One side of one handshake. Give it bytes until it is open or has failed; what it hands to `write` goes to the peer. */
export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #write: (bytes: Uint8Array) => void;
  /** The node that a dialer means to reach, or ANY_MEMBER; 0 for an acceptor. */
  readonly #meantId: number;
  readonly #received = Buffer.allocUnsafe(HANDSHAKE_BYTES_MAX);
  #fill = 0;
  /** Bytes of #received that were taken as messages. */
  #at = 0;
  #expected: number;
  #hello: Buffer | undefined;
  #challenge: Buffer | undefined;
  #peer: Introduction | undefined;

  constructor(options: HandshakeOptions, meantId: number, write: (bytes: Uint8Array) => void) {
    this.#options = options;
    this.#write = write;
    this.#meantId = meantId;
    this.#expected = meantId === 0 ? HELLO : CHALLENGE;
    if (meantId !== 0) {
      this.#hello = encodeIntroduction(HELLO, options.self, meantId);
      write(this.#hello);
    }
  }

  push(chunk: Uint8Array): HandshakeOutcome {
    const room = HANDSHAKE_BYTES_MAX - this.#fill;
    const taken = Math.min(room, chunk.length);
    this.#received.set(chunk.subarray(0, taken), this.#fill);
    this.#fill += taken;
    for (;;) {
      if (this.#fill - this.#at < HEADER_BYTES) break;
      const length = this.#received.readUInt16LE(this.#at);
      const kind = this.#received.readUInt16LE(this.#at + 2);
      const end = this.#at + HEADER_BYTES + length;
      if (kind < HELLO || kind > REJECTION || end > HANDSHAKE_BYTES_MAX) {
        return this.#fail('malformed', 'it does not speak the Holdfast peer protocol');
      }
      if (end > this.#fill) break;
      const message = Buffer.from(this.#received.subarray(this.#at, end));
      this.#at = end;
      const outcome = this.#step(kind, message);
      if (outcome.kind !== 'open') {
        if (outcome.kind === 'failed') return outcome;
        continue;
      }
      const rest = this.#fill - this.#at + (chunk.length - taken);
      return { ...outcome, rest: chunk.subarray(chunk.length - rest) };
    }
    if (this.#fill === HANDSHAKE_BYTES_MAX) {
      return this.#fail('malformed', `it sent ${HANDSHAKE_BYTES_MAX} bytes without completing the handshake`);
    }
    return PENDING;
  }

  #step(kind: number, message: Buffer): HandshakeOutcome {
    const body = message.subarray(HEADER_BYTES);
    if (kind === REJECTION && (this.#expected === CHALLENGE || this.#expected === WELCOME)) return this.#onRejection(body);
    if (kind !== this.#expected) return this.#fail('malformed', `it sent message ${kind} where ${this.#expected} belongs`);
    switch (kind) {
      case HELLO:
      case CHALLENGE:
        return this.#onIntroduction(kind, message, body);
      case PROOF:
        return this.#onProof(body);
      case WELCOME:
        return this.#onWelcome(body);
      default:
        return this.#onVerdict(body);
    }
  }

  #onIntroduction(kind: number, message: Buffer, body: Buffer): HandshakeOutcome {
    const peer = decodeIntroduction(body);
    if (peer === undefined) return this.#fail('malformed', 'it does not speak the Holdfast peer protocol');
    this.#peer = peer;
    if (peer.version !== VERSION) {
      if (kind === HELLO) this.#reject(REASON_VERSION);
      return this.#fail('version', versionText(peer.version));
    }
    if (kind === HELLO) {
      this.#hello = message;
      this.#challenge = encodeIntroduction(CHALLENGE, this.#options.self, peer.nodeId);
      this.#write(this.#challenge);
      this.#expected = PROOF;
    } else {
      this.#challenge = message;
      this.#write(encode(PROOF, this.#proof(DIALER_LABEL)));
      this.#expected = WELCOME;
    }
    return PENDING;
  }

  #onProof(body: Buffer): HandshakeOutcome {
    if (!this.#proves(body, DIALER_LABEL)) {
      this.#reject(REASON_SECRET);
      return this.#fail('secret', secretText(this.#options.self.name));
    }
    const refusal = this.#refusal();
    this.#write(encode(WELCOME, this.#proof(ACCEPTOR_LABEL), encodeVerdict(refusal)));
    if (refusal !== undefined) return this.#fail('refused-by-us', refusal);
    this.#expected = VERDICT;
    return PENDING;
  }

  #onWelcome(body: Buffer): HandshakeOutcome {
    if (!this.#proves(body.subarray(0, PROOF_BYTES), ACCEPTOR_LABEL)) {
      return this.#fail('secret', secretText(this.#options.self.name));
    }
    const theirs = decodeVerdict(body.subarray(PROOF_BYTES));
    if (theirs !== undefined) return this.#fail('refused-by-peer', theirs);
    const ours = this.#refusal();
    this.#write(encode(VERDICT, encodeVerdict(ours)));
    return ours === undefined ? this.#opened() : this.#fail('refused-by-us', ours);
  }

  #onVerdict(body: Buffer): HandshakeOutcome {
    const theirs = decodeVerdict(body);
    return theirs === undefined ? this.#opened() : this.#fail('refused-by-peer', theirs);
  }

  #onRejection(body: Buffer): HandshakeOutcome {
    if (body.length !== 3) return this.#fail('malformed', 'it sent a rejection that has no reason');
    return body[0] === REASON_VERSION
      ? this.#fail('version', versionText(body.readUInt16LE(1)))
      : this.#fail('secret', secretText(this.#options.self.name));
  }

  #reject(reason: number): void {
    this.#write(encode(REJECTION, Buffer.from([reason, VERSION & 0xff, VERSION >>> 8])));
  }

  /** Why we do not talk with a peer that has proved itself, or undefined. */
  #refusal(): string | undefined {
    const { self } = this.#options;
    const peer = this.#peer;
    if (peer === undefined) return 'the peer has not introduced itself';
    if (self.observer !== true && peer.observer) return this.#observerRefusal(peer);
    if (peer.nodeId === self.nodeId) {
      return `both sides are node ${self.nodeId}: two nodes were started with one node id, or node ${self.nodeId}'s peers name its own address for another node`;
    }
    if (this.#meantId === 0 && peer.meantId !== self.nodeId) {
      return `node ${peer.nodeId} meant to reach node ${peer.meantId}, but this is node ${self.nodeId} (${self.name}): correct the address of node ${peer.meantId} in the peers of node ${peer.nodeId}`;
    }
    if (this.#meantId !== 0 && this.#meantId !== ANY_MEMBER && peer.nodeId !== this.#meantId) {
      return `node ${self.nodeId} meant to reach node ${this.#meantId}, but node ${peer.nodeId} answered: correct the address of node ${this.#meantId} in the peers of node ${self.nodeId}`;
    }
    return this.#clusterRefusal(peer) ?? this.#options.admit(identityOf(peer));
  }

  #observerRefusal(peer: Introduction): string | undefined {
    const { self, admitObserver } = this.#options;
    if (peer.nodeId !== 0) return `an observer has no node id, and this one says ${peer.nodeId}`;
    if (peer.meantId !== ANY_MEMBER && peer.meantId !== self.nodeId) {
      return `the observer meant to reach node ${peer.meantId}, but this is node ${self.nodeId} (${self.name})`;
    }
    if (admitObserver === undefined) return `node ${self.nodeId} (${self.name}) takes no observers`;
    return this.#clusterRefusal(peer) ?? admitObserver();
  }

  #clusterRefusal(peer: Introduction): string | undefined {
    const { self } = this.#options;
    if (peer.clusterId === self.clusterId || peer.clusterId === '' || self.clusterId === '') return undefined;
    const called = (observer: boolean | undefined, nodeId: number): string => (observer === true ? 'the observer' : `node ${nodeId}`);
    return `cluster ids differ: ${called(self.observer, self.nodeId)} (${self.name}) belongs to cluster ${self.clusterId}, ${called(peer.observer, peer.nodeId)} to cluster ${peer.clusterId}: one of them has the data directory or the peers of another cluster`;
  }

  #opened(): HandshakeOutcome {
    const peer = this.#peer;
    if (peer === undefined) return this.#fail('malformed', 'the peer has not introduced itself');
    return { kind: 'open', peer: identityOf(peer), observer: peer.observer, clusterId: peer.clusterId, rest: new Uint8Array(0) };
  }

  #proof(label: string): Buffer {
    const hmac = createHmac('sha256', this.#options.secret).update(label);
    return hmac.update(this.#hello ?? '').update(this.#challenge ?? '').digest();
  }

  #proves(proof: Buffer, label: string): boolean {
    return proof.length === PROOF_BYTES && timingSafeEqual(proof, this.#proof(label));
  }

  #fail(fault: HandshakeFault, text: string): HandshakeOutcome {
    return { kind: 'failed', fault, nodeId: this.#peer?.nodeId ?? this.#meantId, text };
  }
}

function identityOf(peer: Introduction): PeerIdentity {
  return { nodeId: peer.nodeId, incarnation: peer.incarnation, rejoining: peer.rejoining };
}

function secretText(selfName: string): string {
  return `cluster-secret differs between ${selfName} and this peer: set the same cluster-secret on every node`;
}

function versionText(theirs: number): string {
  return `peer protocol version ${theirs} is not ${VERSION}: the nodes run releases that cannot talk with each other`;
}
