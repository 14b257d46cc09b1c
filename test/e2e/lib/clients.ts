// The two client libraries behind one face, with everything switched off that would send a command again or hold it back:
// an unknown outcome has to reach the test as what it is.
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { onTestFinished } from 'vitest';
import type { Outcome } from './load.ts';
import type { TestNode } from './node-process.ts';
import { pause, until } from './until.ts';

const RECONNECT_MS = 20;
export const LIBRARIES = ['ioredis', 'node-redis'] as const;
export type Library = (typeof LIBRARIES)[number];

export type Word = string | number;

/** One connection of one library. Errors of the server and of the library alike are thrown. */
export interface TestClient {
  readonly node: TestNode;
  /** One command, by the library's own way of sending any command. */
  call(...words: readonly Word[]): Promise<unknown>;
  /** MULTI, the commands, EXEC in the library's own way; null if a watched key had changed. */
  multi(commands: readonly (readonly Word[])[]): Promise<readonly unknown[] | null>;
  watch(...keys: readonly string[]): Promise<void>;
  close(): void;
}

class IoredisClient implements TestClient {
  readonly node: TestNode;
  readonly redis: Redis;

  constructor(node: TestNode) {
    this.node = node;
    this.redis = new Redis({
      port: node.port,
      host: '127.0.0.1',
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      retryStrategy: () => RECONNECT_MS,
    });
    this.redis.on('error', () => undefined);
  }

  call(...words: readonly Word[]): Promise<unknown> {
    const [name, ...args] = words;
    return this.redis.call(String(name), ...args);
  }

  async multi(commands: readonly (readonly Word[])[]): Promise<readonly unknown[] | null> {
    const results = await this.redis.multi(commands.map(([name, ...args]) => [String(name).toLowerCase(), ...args])).exec();
    return results === null ? null : results.map(([error, value]) => error ?? value);
  }

  async watch(...keys: readonly string[]): Promise<void> {
    await this.redis.watch(...keys);
  }

  close(): void {
    this.redis.disconnect();
  }
}

class NodeRedisClient implements TestClient {
  readonly node: TestNode;
  readonly #client;

  constructor(node: TestNode, resp: 2 | 3) {
    this.node = node;
    this.#client = createClient({
      socket: { host: '127.0.0.1', port: node.port, reconnectStrategy: () => RECONNECT_MS },
      disableOfflineQueue: true,
      RESP: resp,
    });
    this.#client.on('error', () => undefined);
    void this.#client.connect().catch(() => undefined);
  }

  call(...words: readonly Word[]): Promise<unknown> {
    return this.#client.sendCommand(words.map(String));
  }

  async multi(commands: readonly (readonly Word[])[]): Promise<readonly unknown[] | null> {
    const multi = this.#client.multi();
    for (const words of commands) multi.addCommand(words.map(String));
    try {
      return await multi.exec();
    } catch (thrown) {
      if (thrown instanceof Error && thrown.constructor.name === 'WatchError' && !/reconnect/i.test(thrown.message)) return null;
      throw thrown;
    }
  }

  async watch(...keys: readonly string[]): Promise<void> {
    await this.#client.watch([...keys]);
  }

  close(): void {
    this.#client.destroy();
  }
}

/** Closed with the running test. */
export async function connectLibrary(library: Library, node: TestNode, resp: 2 | 3 = 3): Promise<TestClient> {
  const client = library === 'ioredis' ? new IoredisClient(node) : new NodeRedisClient(node, resp);
  onTestFinished(() => {
    try {
      client.close();
    } catch {
      // Closed already.
    }
  });
  await until(`${library} to connect to ${node.name}`, async () => (await client.call('PING')) === 'PONG');
  return client;
}

/** What became of a command whose promise was rejected. */
export function outcomeOfError(thrown: unknown): Exclude<Outcome, 'acked'> {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const text = error.message;
  if (/^UNCERTAIN /.test(text)) return 'unknown';
  if (/^(CLUSTERDOWN|LOADING|MISCONF|READONLY|MOVED|OOM) /.test(text)) return 'refused';
  // Not connected, or the connection that a WATCH was made on is gone: nothing was sent.
  if (/isn't writeable|client is offline|client is closed|reconnected/i.test(text)) return 'refused';
  if (/max retries per request|socket closed|ECONNRE|EPIPE|disconnect|due to connection close|connection is closed/i.test(text)) return 'unknown';
  throw error;
}

export type Attempt<T> = { readonly outcome: 'acked'; readonly value: T } | { readonly outcome: 'refused' | 'unknown' };

export async function attempt<T>(run: () => Promise<T>): Promise<Attempt<T>> {
  try {
    return { outcome: 'acked', value: await run() };
  } catch (thrown) {
    const outcome = outcomeOfError(thrown);
    await pause(RECONNECT_MS);
    return { outcome };
  }
}
