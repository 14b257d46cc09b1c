// A live redis-server as an oracle. Tests that use it skip themselves, and say so, where it is not installed.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { replyEnd } from './recorded-reply.ts';

/** "7.0.15", or undefined where there is no redis-server. */
export function installedRedisVersion(): string | undefined {
  const found = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  return found.status === 0 ? /v=(\S+)/.exec(found.stdout)?.[1] : undefined;
}

/** Why tests against the oracle are skipped, or undefined. Only 7.0 answers as we want to. */
export const oracleMissing: string | undefined = ((): string | undefined => {
  const version = installedRedisVersion();
  if (version === undefined) return 'redis-server is not installed';
  return version.startsWith('7.0.') ? undefined : `redis-server is ${version}, not 7.0`;
})();

const PORT_FIRST = 7900;
const PORT_COUNT = 100;

type Word = string | number | bigint | Uint8Array;

export class Oracle {
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  #received = '';
  #wake: (() => void) | undefined;

  private constructor(child: ChildProcess, socket: Socket) {
    this.#child = child;
    this.#socket = socket;
    socket.on('data', (bytes) => {
      this.#received += bytes.toString('latin1');
      this.#wake?.();
    });
  }

  /** Starts one on a free port; `stop` it in the end. */
  static async start(...options: string[]): Promise<Oracle> {
    for (let tries = 0; tries < 20; tries++) {
      const port = PORT_FIRST + Math.floor(Math.random() * PORT_COUNT);
      const child = spawn(
        'redis-server',
        ['--port', String(port), '--save', '', '--daemonize', 'no', '--enable-debug-command', 'yes', ...options],
        { stdio: ['ignore', 'pipe', 'ignore'] },
      );
      if (await isReady(child)) return new Oracle(child, await open(port));
      child.kill('SIGKILL');
    }
    throw new Error(`no free port from ${PORT_FIRST} on for redis-server`);
  }

  /** Sends the commands at once and returns each one's reply as wire text (latin1). */
  async wire(commands: ReadonlyArray<readonly Word[]>): Promise<string[]> {
    this.#socket.write(Buffer.concat(commands.map(encode)));
    const replies: string[] = [];
    let at = 0;
    while (replies.length < commands.length) {
      const end = replyEnd(this.#received, at);
      if (end >= 0) {
        replies.push(this.#received.slice(at, end));
        at = end;
        continue;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    this.#received = this.#received.slice(at);
    return replies;
  }

  async one(...words: Word[]): Promise<string> {
    const [reply] = await this.wire([words]);
    return reply!;
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }
}

function encode(words: readonly Word[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = word instanceof Uint8Array ? Buffer.from(word) : Buffer.from(String(word), 'latin1');
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/** Resolves true at "Ready to accept connections", false if the process ends first (the port is taken). */
function isReady(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    let log = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      log += bytes.toString('latin1');
      if (log.includes('Ready to accept connections')) resolve(true);
    });
    child.once('exit', () => resolve(false));
    child.once('error', () => resolve(false));
  });
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.once('error', reject);
  });
}
