// Client connections over node:net. Owns the listening sockets, the connections and the one buffer that all of them
// read into.
//
// Reads go through net.Socket's `onread` option with one buffer shared by all connections: libuv reads and calls back
// at once, so the buffer is never in use twice (not so on Windows). Measured against 'data' events: half the user CPU a
// read, a fifth less CPU in all. net.Server cannot pass `onread` on, so the accept callback of its handle is
// replaced by one that makes the socket itself; where that handle looks unfamiliar, 'data' events are used instead.
//
// What `writeShort` is given goes straight to the descriptor if the stream holds nothing, and nearly always the kernel takes it
// all; the rest goes through the stream. Measured against the stream alone, at one GET a write: a quarter less user CPU.
import { writeSync } from 'node:fs';
import { chmod, readFile, unlink } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:net';
import { createServer, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { OperationalError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import type { ClientEvents, ClientListener, ClientListenerOptions, ClientSocket } from '../ports/client-listener.ts';

const READ_BYTES = 64 * KiB;
/** Views of the shared buffer up to this length are kept. */
const VIEWS_KEPT = 1024;
/** `drained` follows where more than this was buffered. */
const WRITE_HIGH_WATER_BYTES = 64 * KiB;
/** Troubles are reported at most this often; a full file table would fill the log otherwise. */
const TROUBLE_INTERVAL_MS = 1000;
/**
 * With no descriptor left, libuv accepts with one that it keeps for the purpose and closes at once: clients see a closed
 * connection, nothing spins, and nobody is told. So we tell of it just before: numbers are given out lowest first.
 */
const DESCRIPTORS_SPARE = 8;

/** What we use of a handle of node's; see the opening comment. */
interface ServerHandle {
  onconnection: (this: unknown, error: number, handle: object | undefined) => void;
}

class Connection implements ClientSocket {
  readonly id: number;
  readonly remoteAddr: string;
  readonly localAddr: string;
  readonly fd: number;
  readonly isUnix: boolean;
  readonly isLoopback: boolean;
  readonly #socket: Socket;
  #closing = false;
  /** False: the stream holds nothing. */
  #streaming = false;

  constructor(socket: Socket, id: number, unixPath: string | undefined) {
    this.#socket = socket;
    this.id = id;
    this.isUnix = unixPath !== undefined;
    this.remoteAddr = this.isUnix ? `${unixPath}:0` : formatAddress(socket.remoteAddress, socket.remotePort);
    this.localAddr = this.isUnix ? `${unixPath}:0` : formatAddress(socket.localAddress, socket.localPort);
    this.isLoopback = this.isUnix || isLoopbackAddress(socket.remoteAddress ?? '');
    const handle = (socket as unknown as { _handle?: { fd?: number } | null })._handle;
    this.fd = handle?.fd ?? -1;
  }

  get bufferedBytes(): number {
    return this.#streaming ? this.#socket.writableLength : 0;
  }

  get closing(): boolean {
    return this.#closing || this.#socket.destroyed;
  }

  writeShort(bytes: Uint8Array, end: number): void {
    if (this.closing || end === 0) return;
    let taken = 0;
    if (this.#mayBypass(end)) {
      try {
        taken = writeSync(this.fd, bytes, 0, end);
      } catch {
        // The kernel's buffer is full, or the connection is broken: the stream finds out which, and waits or tells.
      }
      if (taken === end) return;
    }
    this.#streaming = true;
    this.#socket.write(Uint8Array.prototype.slice.call(bytes, taken, end));
  }

  write(buffers: readonly Uint8Array[], done: () => void): void {
    if (this.closing || buffers.length === 0) {
      setImmediate(done);
      return;
    }
    const socket = this.#socket;
    this.#streaming = true;
    socket.cork();
    for (let i = 0; i < buffers.length - 1; i++) socket.write(buffers[i]!);
    socket.write(buffers[buffers.length - 1]!, done);
    socket.uncork();
  }

  /** True if the stream holds nothing, and would have to say `drained` of nothing afterwards. */
  #mayBypass(bytes: number): boolean {
    if (this.fd < 0 || bytes >= WRITE_HIGH_WATER_BYTES) return false;
    if (!this.#streaming) return true;
    this.#streaming = this.#socket.writableLength > 0;
    return !this.#streaming;
  }

  pause(): void {
    if (!this.#socket.destroyed) this.#socket.pause();
  }

  resume(): void {
    if (!this.#socket.destroyed) this.#socket.resume();
  }

  end(): void {
    if (this.closing) return;
    this.#closing = true;
    // A paused socket would leave bytes unread, and closing it then resets the connection under the last reply.
    this.#socket.resume();
    this.#socket.destroySoon();
  }

  destroy(): void {
    this.#closing = true;
    this.#socket.destroy();
  }
}

class NodeClientListener implements ClientListener {
  keepAliveSeconds: number;
  readonly #options: ClientListenerOptions;
  readonly #events: ClientEvents;
  readonly #nextId: () => number;
  readonly #sharedBuffer: Buffer | undefined;
  readonly #views: (Uint8Array | undefined)[] = new Array<undefined>(VIEWS_KEPT + 1).fill(undefined);
  readonly #sockets = new Set<Socket>();
  #servers: Server[] = [];
  #port: number | undefined;
  #whenEmpty: (() => void)[] = [];
  /** Descriptor numbers from here on mean that the process is about to run out. */
  #descriptorsNearlyOut = Infinity;
  #troubles = 0;
  #troubleTimer: NodeJS.Timeout | undefined;

  constructor(options: ClientListenerOptions, events: ClientEvents, shareReadBuffer: boolean) {
    this.#options = options;
    this.#events = events;
    this.keepAliveSeconds = options.keepAliveSeconds;
    let lastId = 0;
    this.#nextId = options.nextId ?? (() => ++lastId);
    this.#sharedBuffer = shareReadBuffer ? Buffer.allocUnsafeSlow(READ_BYTES) : undefined;
  }

  get port(): number | undefined {
    return this.#port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  async listen(): Promise<void> {
    const { bind, port, unixSocket } = this.#options;
    this.#descriptorsNearlyOut = (await descriptorsMax()) - DESCRIPTORS_SPARE;
    try {
      if (port !== undefined) {
        for (const entry of bind) await this.#bindAddress(entry, this.#port ?? port);
        if (bind.length > 0 && this.#servers.length === 0) {
          throw new OperationalError('LISTEN', `none of the addresses ${bind.join(' ')} can be bound; check bind and port`);
        }
      }
      if (unixSocket !== undefined) await this.#bindUnix(unixSocket);
    } catch (thrown) {
      await this.stopAccepting();
      throw thrown;
    }
  }

  async #bindAddress(entry: string, port: number): Promise<void> {
    const optional = entry.startsWith('-');
    const address = optional ? entry.slice(1) : entry;
    const host = address === '*' ? '0.0.0.0' : address === '::*' ? '::' : address;
    try {
      const server = await this.#open({ host, port, backlog: this.#options.backlog, ipv6Only: true }, undefined);
      this.#port ??= (server.address() as AddressInfo).port;
    } catch (thrown) {
      const error = thrown as NodeJS.ErrnoException;
      const missing = error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND';
      if ((missing && optional) || error.code === 'EAFNOSUPPORT' || error.code === 'EPROTONOSUPPORT') {
        this.#events.trouble(`address ${address} port ${port} is not there and is skipped: ${error.message}`);
        return;
      }
      throw new OperationalError('LISTEN', `cannot listen on ${address} port ${port}: ${error.message}`, { cause: thrown });
    }
  }

  async #bindUnix(path: string): Promise<void> {
    try {
      // One that a crash left behind; Redis replaces it likewise.
      await unlink(path).catch(() => undefined);
      await this.#open({ path, backlog: this.#options.backlog }, path);
      if (this.#options.unixSocketPermissions !== undefined) await chmod(path, this.#options.unixSocketPermissions);
    } catch (thrown) {
      const text = (thrown as Error).message;
      throw new OperationalError('LISTEN', `cannot listen on unix socket ${path}: ${text}`, { cause: thrown });
    }
  }

  async #open(where: object, unixPath: string | undefined): Promise<Server> {
    const server = createServer({ allowHalfOpen: true, highWaterMark: WRITE_HIGH_WATER_BYTES });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, () => {
        server.off('error', reject);
        this.#takeConnections(server, unixPath);
        resolve();
      });
    });
    this.#servers.push(server);
    return server;
  }

  #takeConnections(server: Server, unixPath: string | undefined): void {
    server.on('error', (error) => this.#trouble(error.message));
    const shared = this.#sharedBuffer;
    const handle = (server as unknown as { _handle?: Partial<ServerHandle> | null })._handle;
    if (shared === undefined || typeof handle?.onconnection !== 'function') {
      server.on('connection', (socket) => {
        const connection = this.#admit(socket, unixPath);
        socket.on('data', (chunk: Buffer) => {
          if (!connection.closing) this.#events.data(connection, chunk);
        });
      });
      return;
    }
    handle.onconnection = (error, client): void => {
      if (error !== 0 || client === undefined) {
        this.#trouble(`accept: ${getSystemErrorName(error)}`);
        return;
      }
      const socketOptions = {
        handle: client,
        allowHalfOpen: true,
        readable: true,
        writable: true,
        writableHighWaterMark: WRITE_HIGH_WATER_BYTES,
        onread: {
          buffer: shared,
          callback: (bytes: number): boolean => {
            if (!connection.closing) this.#events.data(connection, this.#viewOf(shared, bytes));
            return true;
          },
        },
      };
      const socket = new Socket(socketOptions);
      const connection = this.#admit(socket, unixPath);
    };
  }

  /** The first bytes of the shared buffer. Requests come in few sizes, and a view costs more than finding one. */
  #viewOf(shared: Buffer, bytes: number): Uint8Array {
    if (bytes > VIEWS_KEPT) return new Uint8Array(shared.buffer, 0, bytes);
    return (this.#views[bytes] ??= new Uint8Array(shared.buffer, 0, bytes));
  }

  #admit(socket: Socket, unixPath: string | undefined): Connection {
    const connection = new Connection(socket, this.#nextId(), unixPath);
    if (!connection.isUnix) {
      socket.setNoDelay(true);
      if (this.keepAliveSeconds > 0) socket.setKeepAlive(true, this.keepAliveSeconds * 1000);
    }
    if (connection.fd >= this.#descriptorsNearlyOut) {
      this.#trouble(`file descriptors are used up at ${this.#sockets.size + 1} connections; further ones are dropped. Raise ulimit -n or lower maxclients`);
    }
    let failure: Error | undefined;
    socket.on('error', (error) => (failure ??= error));
    socket.on('end', () => {
      if (!connection.closing) this.#events.ended(connection);
    });
    socket.on('drain', () => {
      if (!connection.closing) this.#events.drained(connection);
    });
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#events.closed(connection, failure);
      if (this.#sockets.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    });
    this.#sockets.add(socket);
    this.#events.connected(connection);
    return connection;
  }

  #trouble(text: string): void {
    this.#troubles++;
    if (this.#troubleTimer !== undefined) return;
    this.#events.trouble(`client listener: ${text}`);
    this.#troubles = 0;
    this.#troubleTimer = setTimeout(() => {
      this.#troubleTimer = undefined;
      if (this.#troubles > 0) this.#trouble(`${text} (${this.#troubles} times)`);
    }, TROUBLE_INTERVAL_MS);
    this.#troubleTimer.unref();
  }

  async stopAccepting(): Promise<void> {
    clearTimeout(this.#troubleTimer);
    const servers = this.#servers.splice(0);
    for (const server of servers) server.close();
    // Not the servers' 'close', which waits for connections; a handle closes within a turn of the event loop.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  async close(): Promise<void> {
    await this.stopAccepting();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#sockets.size > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }
}

/** The soft limit on open files, where the system tells. */
async function descriptorsMax(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const soft = /^Max open files +(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? Infinity : Number(soft);
}

function formatAddress(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return '?:0';
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

/** `shareReadBuffer` is for tests; the default suits the platform. */
export function createClientListener(
  options: ClientListenerOptions,
  events: ClientEvents,
  shareReadBuffer = process.platform !== 'win32',
): ClientListener {
  return new NodeClientListener(options, events, shareReadBuffer);
}
