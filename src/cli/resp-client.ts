// A client connection to a node, for the tools of the command line: pipelined, replies in order, no retries. What is thrown is an
// OperationalError that names the address.
import net from 'node:net';
import { OperationalError, errorText } from '../base/errors.ts';
import { ReplyParser, type RespValue } from '../resp/reply-parser.ts';

export type Word = string | number | Uint8Array;

export interface RespAddress {
  readonly host: string;
  readonly port: number;
  /** A Unix socket, in the place of host and port. */
  readonly path?: string;
  /** Empty: none is asked for. */
  readonly password: string;
}

const CONNECT_MS_MAX = 10_000;
/** A machine that is gone is found out even while an answer may take its time. */
const KEEP_ALIVE_MS = 10_000;
/** Commands gathered before they are written; and unanswered ones above which `room` waits. */
const WRITE_BYTES = 64 * 1024;
const PENDING_BYTES_MAX = 4 * 1024 * 1024;
const PENDING_COMMANDS_MAX = 10_000;

interface Waiting {
  readonly bytes: number;
  resolve(reply: RespValue): void;
  reject(error: OperationalError): void;
}

/** "host:port", "[::1]:port" or "port". */
export function parseAddress(text: string, password: string): RespAddress {
  const match = /^(?:(.+):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port < 1 || port > 65_535) throw new OperationalError('CONFIG', `command line: '${text}' is no address; write host:port`);
  return { host: (match[1] ?? '127.0.0.1').replace(/^\[(.*)\]$/, '$1'), port, password };
}

export class RespClient {
  readonly address: string;
  readonly #socket: net.Socket;
  readonly #parser = new ReplyParser();
  readonly #waiting: Waiting[] = [];
  #pendingBytes = 0;
  #unwritten: Uint8Array[] = [];
  #unwrittenBytes = 0;
  #closed: OperationalError | undefined;
  #wakeRoom: (() => void) | undefined;

  private constructor(socket: net.Socket, address: string) {
    this.#socket = socket;
    this.address = address;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#data(chunk));
    socket.on('error', (error) => this.#end(errorText(error)));
    socket.on('close', () => this.#end('the connection ended'));
  }

  static async connect({ host, port, path, password }: RespAddress, timeoutMs = CONNECT_MS_MAX): Promise<RespClient> {
    const address = path ?? `${host}:${port}`;
    const socket = await new Promise<net.Socket>((resolve, reject) => {
      const dialled = net.connect({ ...(path === undefined ? { host, port } : { path }), timeout: timeoutMs });
      const fail = (reason: string): void => {
        dialled.destroy();
        reject(new OperationalError('PEER', `no connection to ${address}: ${reason}; is the node running there?`));
      };
      dialled.once('error', (error) => fail(errorText(error)));
      dialled.once('timeout', () => fail('no answer'));
      dialled.once('connect', () => {
        dialled.removeAllListeners();
        dialled.setTimeout(0);
        resolve(dialled);
      });
    });
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const client = new RespClient(socket, address);
    if (password === '') return client;
    // A node that is stopped takes connections and answers nothing.
    const timer = setTimeout(() => client.#end('no answer to AUTH'), timeoutMs);
    try {
      await client.ask('AUTH', password);
    } catch (thrown) {
      client.close();
      throw thrown;
    } finally {
      clearTimeout(timer);
    }
    return client;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Sends a command; an error reply rejects. */
  async ask(...words: readonly Word[]): Promise<RespValue> {
    const reply = this.send(words);
    this.flush();
    return okay(await reply, words, this.address);
  }

  async askText(...words: readonly Word[]): Promise<string> {
    return textOf(await this.ask(...words));
  }

  /** Queues a command; it leaves with `flush`, or once enough has gathered. The reply may be an error. */
  send(words: readonly Word[]): Promise<RespValue> {
    const parts = encode(words);
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const reply = new Promise<RespValue>((resolve, reject) => {
      if (this.#closed !== undefined) reject(this.#closed);
      else this.#waiting.push({ bytes, resolve, reject });
    });
    if (this.#closed === undefined) {
      this.#pendingBytes += bytes;
      this.#unwritten.push(...parts);
      this.#unwrittenBytes += bytes;
      if (this.#unwrittenBytes >= WRITE_BYTES) this.flush();
    }
    return reply;
  }

  flush(): void {
    if (this.#unwritten.length === 0 || this.#closed !== undefined) return;
    this.#socket.write(Buffer.concat(this.#unwritten));
    this.#unwritten = [];
    this.#unwrittenBytes = 0;
  }

  /** True where enough is unanswered; `room` waits then. */
  get full(): boolean {
    return this.#pendingBytes >= PENDING_BYTES_MAX || this.#waiting.length >= PENDING_COMMANDS_MAX;
  }

  /** Until less is unanswered. */
  async room(): Promise<void> {
    this.flush();
    while (this.full && this.#closed === undefined) await new Promise<void>((resolve) => (this.#wakeRoom = resolve));
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(): void {
    this.#socket.destroy();
  }

  #data(chunk: Buffer): void {
    this.#parser.feed(chunk);
    for (let reply = this.#parser.next(); reply !== undefined; reply = this.#parser.next()) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) continue;
      this.#pendingBytes -= waiting.bytes;
      waiting.resolve(reply);
    }
    if (this.#parser.error !== undefined) this.#end(this.#parser.error);
    if (!this.full) this.#wakeRoom?.();
  }

  #end(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = new OperationalError('PEER', `the connection to ${this.address} is lost: ${reason}`);
    this.#socket.destroy();
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#closed);
    this.#wakeRoom?.();
  }
}

function encode(words: readonly Word[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let head = `*${words.length}\r\n`;
  for (const word of words) {
    const bytes = word instanceof Uint8Array ? word : Buffer.from(String(word), 'utf8');
    parts.push(Buffer.from(`${head}$${bytes.length}\r\n`, 'latin1'), bytes);
    head = '\r\n';
  }
  parts.push(Buffer.from('\r\n', 'latin1'));
  return parts;
}

export function errorOf(reply: RespValue): string | undefined {
  if (reply.kind === 'error') return reply.text;
  return reply.kind === 'blobError' ? Buffer.from(reply.bytes).toString('utf8') : undefined;
}

function okay(reply: RespValue, words: readonly Word[], address: string): RespValue {
  const error = errorOf(reply);
  if (error === undefined) return reply;
  const command = words[0] === 'AUTH' ? 'AUTH' : words.slice(0, 2).filter((word) => typeof word === 'string').join(' ');
  throw new OperationalError('PEER', `${address} answered ${command} with: ${error}`);
}

export function textOf(reply: RespValue): string {
  switch (reply.kind) {
    case 'simple':
    case 'error':
    case 'bigNumber':
      return reply.text;
    case 'bulk':
    case 'blobError':
    case 'verbatim':
      return Buffer.from(reply.bytes).toString('utf8');
    case 'integer':
      return String(reply.value);
    default:
      return '';
  }
}
