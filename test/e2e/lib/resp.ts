// A plain RESP2 client for the harness: one socket, no retries, no reconnecting, nothing hidden. What a library would
// smooth over is what the tests want to see.
import net from 'node:net';
import { ReplyParser, type RespValue } from '../../../src/resp/reply-parser.ts';

/** A reply as plain JavaScript; errors are values of their own. */
export type Reply = string | number | null | ErrorReply | readonly Reply[];

export class ErrorReply {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  get code(): string {
    return this.text.split(' ', 1)[0] ?? '';
  }
}

/** The connection ended while commands were waiting: what became of them is not known. */
export class ConnectionLost extends Error {}

function plain(value: RespValue): Reply {
  switch (value.kind) {
    case 'simple':
    case 'bigNumber':
      return value.text;
    case 'error':
      return new ErrorReply(value.text);
    case 'blobError':
      return new ErrorReply(Buffer.from(value.bytes).toString('latin1'));
    case 'integer':
      return Number(value.value);
    case 'bulk':
    case 'verbatim':
      return Buffer.from(value.bytes).toString('latin1');
    case 'null':
      return null;
    case 'double':
      return value.value;
    case 'boolean':
      return value.value ? 1 : 0;
    case 'array':
    case 'set':
    case 'push':
      return value.items.map(plain);
    case 'map':
      return value.entries.flatMap(([key, item]) => [plain(key), plain(item)]);
    case 'attribute':
      return plain(value.value);
  }
}

export function encodeCommand(words: readonly (string | number)[]): string {
  let text = `*${words.length}\r\n`;
  for (const word of words) {
    const chars = String(word);
    text += `$${Buffer.byteLength(chars, 'latin1')}\r\n${chars}\r\n`;
  }
  return text;
}

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

export class RespClient {
  readonly #socket: net.Socket;
  readonly #parser = new ReplyParser();
  readonly #waiting: Waiting[] = [];
  #closed: Error | undefined;
  readonly closed: Promise<void>;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    let ended: () => void = () => undefined;
    this.closed = new Promise((resolve) => (ended = resolve));
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#data(chunk));
    socket.on('error', (error) => this.#end(new ConnectionLost(error.message)));
    socket.on('close', () => {
      this.#end(new ConnectionLost('the connection was closed'));
      ended();
    });
  }

  static connect(port: number, host = '127.0.0.1'): Promise<RespClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ port, host });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RespClient(socket));
      });
    });
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  #data(chunk: Buffer): void {
    this.#parser.feed(chunk);
    for (let value = this.#parser.next(); value !== undefined; value = this.#parser.next()) {
      this.#waiting.shift()?.resolve(plain(value));
    }
    if (this.#parser.error !== undefined) {
      this.#end(new ConnectionLost(`the server sent what is no reply: ${this.#parser.error}`));
      this.#socket.destroy();
    }
  }

  #end(error: Error): void {
    this.#closed ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#closed);
  }

  /** Error replies are results here; only a lost connection throws. */
  send(...words: readonly (string | number)[]): Promise<Reply> {
    return this.sendRaw(encodeCommand(words));
  }

  sendRaw(bytes: string): Promise<Reply> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(bytes, 'latin1');
    });
  }

  /** Several commands in one write. */
  pipeline(commands: readonly (readonly (string | number)[])[]): Promise<Reply[]> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const replies = commands.map(
      () => new Promise<Reply>((resolve, reject) => this.#waiting.push({ resolve, reject })),
    );
    this.#socket.write(commands.map(encodeCommand).join(''), 'latin1');
    return Promise.all(replies);
  }

  /** As `send`, but an error reply throws. */
  async ask(...words: readonly (string | number)[]): Promise<Exclude<Reply, ErrorReply>> {
    const reply = await this.send(...words);
    if (reply instanceof ErrorReply) throw new Error(`${words.join(' ').slice(0, 80)}: ${reply.text}`);
    return reply;
  }

  /** Bytes on the wire, with no reply expected. */
  writeRaw(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#socket.write(bytes, () => resolve()));
  }

  close(): void {
    this.#socket.destroy();
  }
}
