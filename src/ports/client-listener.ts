// The clients' connections, as src/server sees them. Real: src/adapters/client-listener.ts. Built for the hot path: one
// event a read, one call a write, no promises, no streams.
//
// What must hold:
// - For each connection: `connected` once and first; then `data`, `ended` and `drained` in any number; `closed` once and
//   last, whoever closed it and however, never from inside a call on the socket.
// - A chunk belongs to the listener and is overwritten by the next read of any connection: it is valid during the call only.
// - Buffers given to `write` belong to the socket until `done`, which is called exactly once, never from inside `write`;
//   also where the connection has failed or is closed, then perhaps after `closed`.
// - After `end` or `destroy` no `data` comes.

export interface ClientSocket {
  /** Unique in this process, ascending; CLIENT ID shows it. */
  readonly id: number;
  /** "127.0.0.1:50000", "[::1]:50000", for a unix socket "/path:0", as CLIENT LIST shows it. */
  readonly remoteAddr: string;
  readonly localAddr: string;
  /** −1 where the platform has none. */
  readonly fd: number;
  readonly isUnix: boolean;
  /** True if the peer is this machine: 127.0.0.0/8, ::1 or a unix socket (protected mode lets it in). */
  readonly isLoopback: boolean;
  /** Bytes given to `write` and not yet taken by the kernel. */
  readonly bufferedBytes: number;
  /** True once `end` or `destroy` was called or the connection failed: what is written goes nowhere. */
  readonly closing: boolean;
  /** Sends bytes[0, end), which are the caller's again when it returns: what the kernel does not take at once is copied. For short ones. */
  writeShort(bytes: Uint8Array, end: number): void;
  write(buffers: readonly Uint8Array[], done: () => void): void;
  /** Stops reading: the peer is held back by TCP. */
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes. Does not wait for the peer to close; what it still sends is discarded. */
  end(): void;
  /** Closes at once; what was written and not sent is lost. */
  destroy(): void;
}

export interface ClientEvents {
  connected(socket: ClientSocket): void;
  data(socket: ClientSocket, chunk: Uint8Array): void;
  /**
   * The peer will send no more (it may still read): answer what it has asked and then `end`, or the connection stays.
   * `printf 'SET a 1\r\n' | nc` needs its reply; a blocked client that ends is as good as gone.
   */
  ended(socket: ClientSocket): void;
  /** bufferedBytes is 0 again after having been large. */
  drained(socket: ClientSocket): void;
  /** `error` where the connection failed: ECONNRESET, EPIPE, ETIMEDOUT… */
  closed(socket: ClientSocket, error: Error | undefined): void;
  /** A connection could not be accepted (EMFILE…), or an optional address not bound; the listener goes on. For the log. */
  trouble(text: string): void;
}

export interface ClientListenerOptions {
  /** Addresses as in redis.conf: "127.0.0.1", "*" (all IPv4), "::*" (all IPv6), with a leading "-" where it may be missing. */
  readonly bind: readonly string[];
  /** undefined: no TCP. 0: any free port, the same for all addresses. */
  readonly port: number | undefined;
  /** Path of a unix socket; one that is there already is replaced. */
  readonly unixSocket?: string;
  /** Mode bits of the unix socket, 0o700 for example. */
  readonly unixSocketPermissions?: number;
  /** tcp-backlog */
  readonly backlog: number;
  /** tcp-keepalive; 0: off. */
  readonly keepAliveSeconds: number;
  /** Where ids come from; counted from 1 if absent. Give the same function to a listener that replaces another. */
  readonly nextId?: () => number;
}

export interface ClientListener {
  /** The TCP port once listening; undefined without TCP. */
  readonly port: number | undefined;
  /** Connections not closed yet. */
  readonly connections: number;
  /** tcp-keepalive for connections to come. */
  keepAliveSeconds: number;
  /** Binds all addresses, or none: rejects with OperationalError LISTEN that names the address. */
  listen(): Promise<void>;
  /** Stops accepting; connections stay. */
  stopAccepting(): Promise<void>;
  /** Stops accepting and destroys every connection; resolves when all are closed. */
  close(): Promise<void>;
}
