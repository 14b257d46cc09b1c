// The client libraries behind one face, each command by the library's own method where it has one. Nothing is sent twice and
// nothing is held back; an error says what became of the command (`outcomeOfDriverError`).
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { outcomeOfError, type Word } from './clients.ts';
import type { Pair, Score } from './leaderboard-model.ts';
import type { Outcome } from './load.ts';
import type { TestNode } from './node-process.ts';
import { findPython, PythonError, type PythonProcess } from './redis-py.ts';

export const DRIVERS = ['ioredis', 'node-redis', 'redis-py'] as const;
export type DriverName = (typeof DRIVERS)[number];

/** What a check of a board reads. */
export interface BoardReader {
  zScore(key: string, member: string): Promise<Score>;
  zRank(key: string, member: string): Promise<number | null>;
  zRevRank(key: string, member: string): Promise<number | null>;
  zRange(key: string, start: number, stop: number): Promise<Pair[]>;
  /** ZRANGE with REV. */
  zRangeRev(key: string, start: number, stop: number): Promise<Pair[]>;
  zRevRange(key: string, start: number, stop: number): Promise<Pair[]>;
  zRangeByScore(key: string, min: string, max: string): Promise<string[]>;
  zCount(key: string, min: string, max: string): Promise<number>;
  zLexCount(key: string, min: string, max: string): Promise<number>;
  /** MULTI, the commands, EXEC; null if a watched key had changed. An error of one of the commands is thrown. */
  multi(commands: readonly (readonly Word[])[]): Promise<readonly unknown[] | null>;
}

export interface ScanPage {
  readonly cursor: string;
  readonly entries: readonly (readonly [string, string])[];
}

export interface Driver extends BoardReader {
  /** False once the connection is known to be gone. */
  readonly usable: boolean;
  call(...words: readonly Word[]): Promise<unknown>;
  watch(...keys: readonly string[]): Promise<void>;
  unwatch(): Promise<void>;
  /** With CH: 1 if the score changed. */
  zAdd(key: string, score: number, member: string, mode: 'plain' | 'gt'): Promise<number>;
  zIncrBy(key: string, by: number, member: string): Promise<number>;
  zRem(key: string, member: string): Promise<number>;
  hSet(key: string, fields: Readonly<Record<string, Word>>): Promise<number>;
  hIncrBy(key: string, field: string, by: number): Promise<number>;
  hGetAll(key: string): Promise<Readonly<Record<string, string>>>;
  hmGet(key: string, fields: readonly string[]): Promise<(string | null)[]>;
  hDel(key: string, ...fields: readonly string[]): Promise<number>;
  hScan(key: string, cursor: string, count: number): Promise<ScanPage>;
  close(): void;
}

/** Members and scores as any of the libraries and protocols gives them: flat, in pairs, as objects. */
export function pairsOf(reply: unknown): Pair[] {
  const items = reply as readonly unknown[];
  if (typeof items[0] !== 'string') {
    return items.map((item) => {
      const [member, score] = Array.isArray(item) ? (item as unknown[]) : [(item as { value: unknown }).value, (item as { score: unknown }).score];
      return [String(member), Number(score)];
    });
  }
  return Array.from({ length: items.length / 2 }, (_, i) => [String(items[2 * i]), Number(items[2 * i + 1])]);
}

const scoreOf = (reply: unknown): Score => (reply === null || reply === undefined ? null : Number(reply));

class IoredisDriver implements Driver {
  readonly #redis: Redis;

  constructor(port: number) {
    this.#redis = new Redis({
      port,
      host: '127.0.0.1',
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      retryStrategy: () => null,
    });
    this.#redis.on('error', () => undefined);
  }

  connect(): Promise<void> {
    return this.#redis.connect();
  }

  get usable(): boolean {
    return this.#redis.status === 'ready';
  }

  call(...words: readonly Word[]): Promise<unknown> {
    const [name, ...args] = words;
    return this.#redis.call(String(name), ...args);
  }

  async multi(commands: readonly (readonly Word[])[]): Promise<readonly unknown[] | null> {
    const results = await this.#redis.multi(commands.map(([name, ...args]) => [String(name).toLowerCase(), ...args])).exec();
    if (results === null) return null;
    return results.map(([error, value]) => {
      if (error !== null) throw error;
      return value;
    });
  }

  async watch(...keys: readonly string[]): Promise<void> {
    await this.#redis.watch(...keys);
  }

  async unwatch(): Promise<void> {
    await this.#redis.unwatch();
  }

  async zAdd(key: string, score: number, member: string, mode: 'plain' | 'gt'): Promise<number> {
    return Number(mode === 'gt' ? await this.#redis.zadd(key, 'GT', 'CH', score, member) : await this.#redis.zadd(key, 'CH', score, member));
  }

  async zIncrBy(key: string, by: number, member: string): Promise<number> {
    return Number(await this.#redis.zincrby(key, by, member));
  }

  zRem(key: string, member: string): Promise<number> {
    return this.#redis.zrem(key, member);
  }

  async zScore(key: string, member: string): Promise<Score> {
    return scoreOf(await this.#redis.zscore(key, member));
  }

  zRank(key: string, member: string): Promise<number | null> {
    return this.#redis.zrank(key, member);
  }

  zRevRank(key: string, member: string): Promise<number | null> {
    return this.#redis.zrevrank(key, member);
  }

  async zRange(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.#redis.zrange(key, start, stop, 'WITHSCORES'));
  }

  async zRangeRev(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.#redis.zrange(key, start, stop, 'REV', 'WITHSCORES'));
  }

  async zRevRange(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.#redis.zrevrange(key, start, stop, 'WITHSCORES'));
  }

  zRangeByScore(key: string, min: string, max: string): Promise<string[]> {
    return this.#redis.zrangebyscore(key, min, max);
  }

  zCount(key: string, min: string, max: string): Promise<number> {
    return this.#redis.zcount(key, min, max);
  }

  zLexCount(key: string, min: string, max: string): Promise<number> {
    return this.#redis.zlexcount(key, min, max);
  }

  hSet(key: string, fields: Readonly<Record<string, Word>>): Promise<number> {
    return this.#redis.hset(key, fields);
  }

  hIncrBy(key: string, field: string, by: number): Promise<number> {
    return this.#redis.hincrby(key, field, by);
  }

  hGetAll(key: string): Promise<Readonly<Record<string, string>>> {
    return this.#redis.hgetall(key);
  }

  hmGet(key: string, fields: readonly string[]): Promise<(string | null)[]> {
    return this.#redis.hmget(key, ...fields);
  }

  hDel(key: string, ...fields: readonly string[]): Promise<number> {
    return this.#redis.hdel(key, ...fields);
  }

  async hScan(key: string, cursor: string, count: number): Promise<ScanPage> {
    const [next, words] = await this.#redis.hscan(key, cursor, 'COUNT', count);
    return { cursor: next, entries: Array.from({ length: words.length / 2 }, (_, i) => [words[2 * i] ?? '', words[2 * i + 1] ?? '']) };
  }

  close(): void {
    this.#redis.disconnect();
  }
}

function nodeRedis(port: number) {
  return createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: false }, disableOfflineQueue: true, RESP: 3 });
}

/** RESP3. */
class NodeRedisDriver implements Driver {
  readonly #client: ReturnType<typeof nodeRedis>;

  constructor(port: number) {
    this.#client = nodeRedis(port);
    this.#client.on('error', () => undefined);
  }

  async connect(): Promise<void> {
    await this.#client.connect();
  }

  get usable(): boolean {
    return this.#client.isReady;
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

  async unwatch(): Promise<void> {
    await this.#client.unwatch();
  }

  zAdd(key: string, score: number, member: string, mode: 'plain' | 'gt'): Promise<number> {
    return this.#client.zAdd(key, { score, value: member }, { CH: true, ...(mode === 'gt' ? { comparison: 'GT' as const } : {}) });
  }

  zIncrBy(key: string, by: number, member: string): Promise<number> {
    return this.#client.zIncrBy(key, by, member);
  }

  zRem(key: string, member: string): Promise<number> {
    return this.#client.zRem(key, member);
  }

  async zScore(key: string, member: string): Promise<Score> {
    return scoreOf(await this.#client.zScore(key, member));
  }

  zRank(key: string, member: string): Promise<number | null> {
    return this.#client.zRank(key, member);
  }

  zRevRank(key: string, member: string): Promise<number | null> {
    return this.#client.zRevRank(key, member);
  }

  async zRange(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.#client.zRangeWithScores(key, start, stop));
  }

  async zRangeRev(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.#client.zRangeWithScores(key, start, stop, { REV: true }));
  }

  /** The library has no method for it. */
  async zRevRange(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.call('ZREVRANGE', key, start, stop, 'WITHSCORES'));
  }

  zRangeByScore(key: string, min: string, max: string): Promise<string[]> {
    return this.#client.zRangeByScore(key, min, max);
  }

  zCount(key: string, min: string, max: string): Promise<number> {
    return this.#client.zCount(key, min, max);
  }

  zLexCount(key: string, min: string, max: string): Promise<number> {
    return this.#client.zLexCount(key, min, max);
  }

  hSet(key: string, fields: Readonly<Record<string, Word>>): Promise<number> {
    return this.#client.hSet(key, { ...fields });
  }

  hIncrBy(key: string, field: string, by: number): Promise<number> {
    return this.#client.hIncrBy(key, field, by);
  }

  async hGetAll(key: string): Promise<Readonly<Record<string, string>>> {
    return { ...(await this.#client.hGetAll(key)) };
  }

  hmGet(key: string, fields: readonly string[]): Promise<(string | null)[]> {
    return this.#client.hmGet(key, [...fields]);
  }

  hDel(key: string, ...fields: readonly string[]): Promise<number> {
    return this.#client.hDel(key, [...fields]);
  }

  async hScan(key: string, cursor: string, count: number): Promise<ScanPage> {
    const page = await this.#client.hScan(key, cursor, { COUNT: count });
    return { cursor: page.cursor, entries: page.entries.map(({ field, value }) => [field, value]) };
  }

  close(): void {
    if (this.#client.isOpen) this.#client.destroy();
  }
}

/** One thread of the Python process with one redis.Redis; redis-py speaks RESP2. */
class RedisPyDriver implements Driver {
  readonly #python: PythonProcess;
  #connection = -1;
  #failed = false;

  constructor(python: PythonProcess) {
    this.#python = python;
  }

  async connect(port: number): Promise<void> {
    this.#connection = await this.#python.open(port);
  }

  get usable(): boolean {
    return !this.#failed;
  }

  async #ask(op: Readonly<Record<string, unknown>>): Promise<unknown> {
    try {
      return await this.#python.ask({ ...op, connection: this.#connection });
    } catch (thrown) {
      if (thrown instanceof PythonError && thrown.isOfConnection) this.#failed = true;
      throw thrown;
    }
  }

  #method(name: string, args: readonly unknown[], options: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return this.#ask({ op: 'method', name, args, options });
  }

  call(...words: readonly Word[]): Promise<unknown> {
    return this.#method('execute_command', words);
  }

  async multi(commands: readonly (readonly Word[])[]): Promise<readonly unknown[] | null> {
    return (await this.#ask({ op: 'multi', commands })) as readonly unknown[] | null;
  }

  async watch(...keys: readonly string[]): Promise<void> {
    await this.#ask({ op: 'watch', keys });
  }

  async unwatch(): Promise<void> {
    await this.#ask({ op: 'unwatch' });
  }

  async zAdd(key: string, score: number, member: string, mode: 'plain' | 'gt'): Promise<number> {
    return Number(await this.#method('zadd', [key, { [member]: score }], { ch: true, gt: mode === 'gt' }));
  }

  async zIncrBy(key: string, by: number, member: string): Promise<number> {
    return Number(await this.#method('zincrby', [key, by, member]));
  }

  async zRem(key: string, member: string): Promise<number> {
    return Number(await this.#method('zrem', [key, member]));
  }

  async zScore(key: string, member: string): Promise<Score> {
    return scoreOf(await this.#method('zscore', [key, member]));
  }

  async zRank(key: string, member: string): Promise<number | null> {
    return scoreOf(await this.#method('zrank', [key, member]));
  }

  async zRevRank(key: string, member: string): Promise<number | null> {
    return scoreOf(await this.#method('zrevrank', [key, member]));
  }

  async zRange(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.#method('zrange', [key, start, stop], { withscores: true }));
  }

  async zRangeRev(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.call('ZRANGE', key, start, stop, 'REV', 'WITHSCORES'));
  }

  async zRevRange(key: string, start: number, stop: number): Promise<Pair[]> {
    return pairsOf(await this.#method('zrevrange', [key, start, stop], { withscores: true }));
  }

  async zRangeByScore(key: string, min: string, max: string): Promise<string[]> {
    return (await this.#method('zrangebyscore', [key, min, max])) as string[];
  }

  async zCount(key: string, min: string, max: string): Promise<number> {
    return Number(await this.#method('zcount', [key, min, max]));
  }

  async zLexCount(key: string, min: string, max: string): Promise<number> {
    return Number(await this.#method('zlexcount', [key, min, max]));
  }

  async hSet(key: string, fields: Readonly<Record<string, Word>>): Promise<number> {
    return Number(await this.#method('hset', [key], { mapping: fields }));
  }

  async hIncrBy(key: string, field: string, by: number): Promise<number> {
    return Number(await this.#method('hincrby', [key, field, by]));
  }

  async hGetAll(key: string): Promise<Readonly<Record<string, string>>> {
    return (await this.#method('hgetall', [key])) as Record<string, string>;
  }

  async hmGet(key: string, fields: readonly string[]): Promise<(string | null)[]> {
    return (await this.#method('hmget', [key, fields])) as (string | null)[];
  }

  async hDel(key: string, ...fields: readonly string[]): Promise<number> {
    return Number(await this.#method('hdel', [key, ...fields]));
  }

  async hScan(key: string, cursor: string, count: number): Promise<ScanPage> {
    const [next, entries] = (await this.#method('hscan', [key, Number(cursor)], { count })) as [number, Record<string, string>];
    return { cursor: String(next), entries: Object.entries(entries) };
  }

  close(): void {
    this.#python.closeConnection(this.#connection);
  }
}

/** Why this driver cannot be had on this machine. */
export function driverMissing(name: DriverName): string | undefined {
  return name === 'redis-py' && findPython() === undefined ? 'redis-py is not installed (python3-redis)' : undefined;
}

/** Fails if the node does not take the connection. */
export async function openDriver(name: DriverName, node: TestNode, python: () => PythonProcess): Promise<Driver> {
  const driver = name === 'ioredis' ? new IoredisDriver(node.port) : name === 'node-redis' ? new NodeRedisDriver(node.port) : new RedisPyDriver(python());
  try {
    await driver.connect(node.port);
    return driver;
  } catch (thrown) {
    driver.close();
    throw thrown;
  }
}

/** What became of a command that threw; throws on what is a fault of the test or the server. */
export function outcomeOfDriverError(thrown: unknown): Exclude<Outcome, 'acked'> {
  if (thrown instanceof PythonError) return thrown.outcome;
  // A command of the transaction was refused while it was queued; nothing of it is applied.
  if (thrown instanceof Error && /^EXECABORT /.test(thrown.message)) return 'refused';
  return outcomeOfError(thrown);
}

