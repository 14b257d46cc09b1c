// Messages between nodes. Real: src/adapters/tcp-peers.ts. Simulated: test/simulation.
// Delivery is best effort: messages may be lost, duplicated or reordered, whole or not at all, never altered.
// What a message means is the replica's business (src/replica/peer-message.ts); the transport carries bytes.

export interface PeerIdentity {
  /** Raft id, ≥ 1. */
  readonly nodeId: number;
  /** Random id of the data directory: 16 bytes as 32 hex digits. */
  readonly incarnation: string;
  /** True while the peer asks to be taken in again as a replaced member: it never votes and its acknowledgements do not count. */
  readonly rejoining: boolean;
}

/** Where a peer is. */
export interface PeerAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface TransportEvents {
  /** Decides whether to talk with a peer that has proved knowledge of the cluster secret, one of no known address included; a text refuses it, and is sent to it. */
  admit(peer: PeerIdentity): string | undefined;
  connected(peer: PeerIdentity): void;
  disconnected(nodeId: number): void;
  message(from: number, head: Uint8Array, body: readonly Uint8Array[]): void;
  /** The peer refused us with this text. */
  refused(nodeId: number, reason: string): void;
}

export interface Transport {
  start(events: TransportEvents): void;
  /** Those to connect with, by id, from now on; connections with others end. */
  setPeers(peers: ReadonlyMap<number, PeerAddress>): void;
  /**
   * Sends a head (msgpack, small) and body parts (log entries). Small messages (no body) overtake big ones between chunks.
   * Dropped without an error if the peer is not connected or its queue is full.
   */
  send(to: number, head: Uint8Array, body: readonly Uint8Array[]): void;
  /** Bytes queued for this peer and not yet taken by the kernel. */
  queuedBytes(to: number): number;
  close(): void;
}
