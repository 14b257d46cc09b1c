// A small RESP2 client: pipelined, without promises on its hot path. Owns one socket a connection.
//
// What must hold: replies are handed over in the order of the commands, each once and whole; an error reply ends the
// bench unless the caller asked for it, for a figure over refused commands would be a lie.
import net from 'node:net';

const CR = 13;
const MINUS = 0x2d;
const DOLLAR = 0x24;
const STAR = 0x2a;
const COLON = 0x3a;

/** A command as RESP, for arguments that are strings. */
export function encode(args) {
  let text = `*${args.length}\r\n`;
  for (const arg of args) text += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`;
  return text;
}

/** Where the reply that begins at `at` ends, or −1 if it is not whole yet. */
export function replyEnd(bytes, at) {
  const line = bytes.indexOf(CR, at);
  if (line < 0 || line + 1 >= bytes.length) return -1;
  const next = line + 2;
  const type = bytes[at];
  if (type !== DOLLAR && type !== STAR) return next;
  const count = integerAt(bytes, at);
  if (count < 0) return next;
  if (type === DOLLAR) return next + count + 2 <= bytes.length ? next + count + 2 : -1;
  let end = next;
  for (let i = 0; i < count; i++) {
    end = replyEnd(bytes, end);
    if (end < 0) return -1;
  }
  return end;
}

/** The number behind the type byte at `at`. */
export function integerAt(bytes, at) {
  let i = at + 1;
  const negative = bytes[i] === MINUS;
  if (negative) i++;
  let value = 0;
  for (; bytes[i] !== CR; i++) value = value * 10 + bytes[i] - 48;
  return negative ? -value : value;
}

/** A whole reply as a JavaScript value; error replies as Error. */
export function parseReply(bytes, at = 0) {
  const line = bytes.indexOf(CR, at);
  const head = bytes.toString('utf8', at + 1, line);
  switch (bytes[at]) {
    case MINUS:
      return new Error(head);
    case COLON:
      return Number(head);
    case DOLLAR:
      return head === '-1' ? null : bytes.toString('utf8', line + 2, line + 2 + Number(head));
    case STAR: {
      if (head === '-1') return null;
      const list = [];
      for (let i = 0, from = line + 2; i < Number(head); i++, from = replyEnd(bytes, from)) list.push(parseReply(bytes, from));
      return list;
    }
    default:
      return head;
  }
}

export class Connection {
  #socket;
  #rest = undefined;
  /** Called for each whole reply with (bytes, start); the bytes are valid during the call only. */
  onReply = () => {};
  /** Called once if the connection fails, or a reply is an error. */
  onFailure = (error) => {
    throw error;
  };

  static async open(port) {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Connection(socket, port);
  }

  constructor(socket, port) {
    this.#socket = socket;
    socket.removeAllListeners('error');
    socket.on('data', (chunk) => this.#data(chunk));
    socket.on('error', (error) => this.onFailure(error));
    socket.on('close', () => this.onFailure(new Error(`port ${port} closed the connection`)));
  }

  send(data) {
    return this.#socket.write(data);
  }

  close() {
    this.onFailure = () => {};
    this.#socket.destroy();
  }

  #data(chunk) {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at < bytes.length) {
      const end = replyEnd(bytes, at);
      if (end < 0) break;
      if (bytes[at] === MINUS) {
        this.onFailure(parseReply(bytes, at));
        return;
      }
      this.onReply(bytes, at);
      at = end;
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined;
  }
}

/** One connection for single commands: INFO, CONFIG, counts. */
export class Client {
  #connection;
  #waiting = [];

  static async open(port) {
    return new Client(await Connection.open(port));
  }

  constructor(connection) {
    this.#connection = connection;
    connection.onReply = (bytes, at) => this.#waiting.shift().resolve(parseReply(bytes, at));
    connection.onFailure = (error) => {
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
  }

  call(...args) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#connection.send(encode(args));
    });
  }

  /** The fields of INFO's sections. */
  async info(...sections) {
    const text = await this.call('INFO', ...sections);
    return new Map(text.split('\r\n').flatMap((line) => (/^[^#:]+:/.test(line) ? [[line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]] : [])));
  }

  close() {
    this.#connection.close();
  }
}
