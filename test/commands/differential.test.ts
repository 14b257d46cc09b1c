// A seeded random stream of string and key commands against this node and a live redis-server: the replies must be the same bytes.
// What the oracle cannot say the same is normalised in `normalise`; deadlines are far away or long past.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Harness } from './harness.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import { parseReply } from './recorded-reply.ts';

/** Seeds that failed once. */
const REGRESSIONS: readonly number[] = [];
const COMMANDS_PER_SEED = 20_000;
const FRESH_SEEDS = 4;

type Command = (string | number)[];

/** A moment that no test lives to see: 2086. */
const FAR_MS = 3_660_000_000_000;

class Stream {
  readonly #random: Prng;

  constructor(seed: number) {
    this.#random = new Prng(seed);
  }

  key(): string {
    const random = this.#random;
    return random.chance(0.02) ? random.pick(['', '\x00k', 'k\r\n', '\xff\xfe', 'K1']) : `k${random.below(14)}`;
  }

  keys(longest: number): string[] {
    return Array.from({ length: this.#random.between(1, longest) }, () => this.key());
  }

  integer(): string {
    const random = this.#random;
    switch (random.below(8)) {
      case 0:
        return String(random.between(0, 3) - 1);
      case 1:
        return random.pick(['9223372036854775807', '-9223372036854775808', '9223372036854775806', '9223372036854775808', '-9223372036854775809']);
      case 2:
        return random.pick(['9007199254740991', '9007199254740992', '-9007199254740993', '4611686018427387904', '9223372036854775', '9223372036854776']);
      case 3:
        return random.pick(['', '-', '+1', ' 1', '1 ', '01', '-0', '1.0', '1e3', 'abc', '0x10']);
      default:
        return String(random.below(2000) - 1000);
    }
  }

  value(): string {
    const random = this.#random;
    switch (random.below(7)) {
      case 0:
        return this.integer();
      case 1:
        return this.float();
      case 2:
        return 'x'.repeat(random.pick([43, 44, 45, 100, 1000, 20_000]));
      case 3:
        return Array.from({ length: random.below(12) }, () => String.fromCharCode(random.below(256))).join('');
      case 4:
        return String(random.below(20_000));
      default:
        return Array.from({ length: random.below(30) }, () => random.pick(['a', 'b', 'c', 'ab'])).join('');
    }
  }

  float(): string {
    const random = this.#random;
    if (random.chance(0.1)) return random.pick(['nan', 'inf', '-inf', '1e400', '1e5000', '1e-20', 'x', '', ' 1', '0x1p3']);
    return `${random.below(2000) - 1000}.${random.below(10_000)}`;
  }

  /** Absolute, far away or long past, or nonsense. */
  momentMs(): string {
    const random = this.#random;
    if (random.chance(0.15)) return this.integer();
    if (random.chance(0.2)) return String(random.below(2_000_000) + 1);
    return String(FAR_MS + random.below(100_000));
  }

  momentSeconds(): string {
    const random = this.#random;
    if (random.chance(0.15)) return this.integer();
    if (random.chance(0.2)) return String(random.below(2_000) + 1);
    return String(Math.floor(FAR_MS / 1000) + random.below(100));
  }

  /** A span that ends in a day at the least, or that is refused or past at once. As milliseconds or as seconds. */
  span(): string {
    if (this.#random.chance(0.5)) return String(86_400_000 + this.#random.uint32());
    return this.#random.pick(['0', '-1', '-100', '9223372036854775807', '-9223372036854775808', '9223372036854775', '9223372036854776', 'x', '1.5']);
  }

  case(word: string): string {
    return this.#random.chance(0.2) ? word.toLowerCase() : word;
  }

  some(words: readonly string[], p: number): string[] {
    return words.filter(() => this.#random.chance(p)).map((word) => this.case(word));
  }

  timeOption(): Command {
    const random = this.#random;
    switch (random.below(5)) {
      case 0:
        return [this.case('EXAT'), this.momentSeconds()];
      case 1:
        return [this.case('PXAT'), this.momentMs()];
      case 2:
        return [this.case(random.pick(['EX', 'PX'])), this.span()];
      case 3:
        return [this.case('PERSIST')];
      default:
        return [random.pick(['EX', 'PXAT', 'BAD', 'KEEPTTL', 'GET'])];
    }
  }

  next(): Command {
    const random = this.#random;
    const make = random.pick(this.#makers);
    const command = make();
    if (random.chance(0.01)) command.push(random.pick(['x', 'GET', '']));
    if (random.chance(0.01) && command.length > 1) command.pop();
    // Deadlines past 2^53 are kept as 2^53 − 1, so that two of them compare equal: a known difference.
    if (/^p?expire/i.test(String(command[0])) && command.length > 3 && /^\d{13,}$/.test(String(command[2])) && !this.#isNear(command[2]!)) {
      command[2] = 'x';
    }
    command[0] = this.case(String(command[0]));
    return command;
  }

  #isNear(moment: string | number): boolean {
    return Number(moment) <= 2 * FAR_MS;
  }

  readonly #makers: readonly (() => Command)[] = [
    () => ['SET', this.key(), this.value()],
    () => ['SET', this.key(), this.value()],
    () => ['SET', this.key(), this.value(), ...this.some(['NX', 'XX', 'GET', 'KEEPTTL'], 0.3)],
    () => ['SET', this.key(), this.value(), ...this.some(['NX', 'XX', 'GET'], 0.2), ...this.timeOption(), ...this.some(['GET', 'KEEPTTL'], 0.1)],
    () => ['SETNX', this.key(), this.value()],
    () => ['SETEX', this.key(), this.span(), this.value()],
    () => ['PSETEX', this.key(), this.span(), this.value()],
    () => ['GET', this.key()],
    () => ['GETSET', this.key(), this.value()],
    () => ['GETDEL', this.key()],
    () => ['GETEX', this.key()],
    () => ['GETEX', this.key(), ...this.timeOption()],
    () => ['GETEX', this.key(), ...this.timeOption(), ...this.timeOption()],
    () => ['APPEND', this.key(), this.value()],
    () => ['STRLEN', this.key()],
    () => ['SETRANGE', this.key(), this.#random.chance(0.2) ? this.integer() : this.#random.below(60), this.value()],
    () => [this.#random.pick(['GETRANGE', 'SUBSTR']), this.key(), this.#index(), this.#index()],
    () => [this.#random.pick(['INCR', 'DECR']), this.key()],
    () => [this.#random.pick(['INCRBY', 'DECRBY']), this.key(), this.integer()],
    () => ['INCRBYFLOAT', this.key(), this.float()],
    () => ['MGET', ...this.keys(5)],
    () => ['MSET', ...this.keys(4).flatMap((key) => [key, this.value()])],
    () => ['MSETNX', ...this.keys(2).flatMap((key) => [key, this.value()])],
    () => ['LCS', this.key(), this.key(), ...this.some(['IDX', 'LEN', 'WITHMATCHLEN'], 0.4), ...(this.#random.chance(0.3) ? ['MINMATCHLEN', this.integer()] : [])],
    () => [this.#random.pick(['DEL', 'UNLINK', 'EXISTS', 'TOUCH']), ...this.keys(3)],
    () => [this.#random.pick(['TTL', 'PTTL', 'EXPIRETIME', 'PEXPIRETIME', 'TYPE', 'PERSIST']), this.key()],
    () => ['PEXPIREAT', this.key(), this.momentMs(), ...this.some(['NX', 'XX', 'GT', 'LT'], 0.2)],
    () => ['EXPIREAT', this.key(), this.momentSeconds(), ...this.some(['NX', 'XX', 'GT', 'LT'], 0.2)],
    () => [this.#random.pick(['EXPIRE', 'PEXPIRE']), this.key(), this.span(), ...this.some(['NX', 'XX', 'GT', 'LT', 'ZZ'], 0.15)],
    () => [this.#random.pick(['RENAME', 'RENAMENX']), this.key(), this.key()],
    () => ['COPY', this.key(), this.key(), ...(this.#random.chance(0.5) ? ['DB', this.#db()] : []), ...this.some(['REPLACE'], 0.5)],
    () => ['MOVE', this.key(), this.#db()],
    () => ['SELECT', this.#random.pick([0, 0, 0, 1, 2])],
    () => ['OBJECT', this.#random.pick(['ENCODING', 'encoding', 'IDLETIME', 'FREQ', 'HELP', 'NOPE']), this.key()],
    () => ['OBJECT', ...this.some(['HELP', 'ENCODING'], 0.5)],
    () => ['DBSIZE'],
    () => ['RANDOMKEY'],
    () => ['KEYS', this.#random.pick(['*', 'k*', 'k1?', 'k[0-5]', 'K1', '', 'k\\1', '[^k]*'])],
    () => ['SCAN', this.#random.pick(['0', '0', '0', '', '+0', 'x', '-', ' 0', '0x', '18446744073709551616']), ...this.#scanOptions()],
    () => (this.#random.chance(0.1) ? [this.#random.pick(['FLUSHDB', 'FLUSHALL']), ...this.some(['ASYNC', 'SYNC', 'NOW'], 0.3)] : ['DBSIZE']),
    () => ['SWAPDB', this.#db(), this.#db()],
    () => ['FUNCTION', ...this.some(['FLUSH', 'NOPE'], 0.8), ...this.some(['SYNC', 'ASYNC', 'BAD'], 0.3)],
    () => ['MEMORY', 'USAGE', this.key(), ...(this.#random.chance(0.5) ? ['SAMPLES', this.integer()] : this.some(['SAMPLES', 'x'], 0.3))],
    () => [this.#random.pick(['nosuch', 'GETT', '']), ...this.keys(2)],
  ];

  #index(): string | number {
    return this.#random.chance(0.1) ? this.integer() : this.#random.below(80) - 40;
  }

  #db(): string | number {
    return this.#random.chance(0.15) ? this.#random.pick(['16', '-1', 'x', '2147483648', '99999999999999999999']) : this.#random.below(3);
  }

  #scanOptions(): Command {
    const options: Command = ['COUNT', 100_000];
    if (this.#random.chance(0.3)) options.push('MATCH', this.#random.pick(['*', 'k1*', 'k?']));
    if (this.#random.chance(0.3)) options.push('TYPE', this.#random.pick(['string', 'STRING', 'list', 'nope']));
    if (this.#random.chance(0.1)) options.push(this.#random.pick(['COUNT', 'BAD']));
    if (this.#random.chance(0.1)) options.push('COUNT', this.#random.pick(['0', '-1', 'x']));
    return options;
  }
}

/**
 * Redis's RANDOMKEY deletes the expired keys that it happens to meet, its MEMORY USAGE sees those not deleted yet, and our KEYS
 * deletes them where Redis's does not: before these, a SCAN has both sides delete them.
 */
function sweepFirst(command: Command): Command[] {
  return /^(randomkey|memory|keys)$/i.test(String(command[0])) ? [['SCAN', 0, 'COUNT', 100_000], command] : [command];
}

/** server.dirty. */
async function redisDirty(oracle: Oracle): Promise<number> {
  const info = await oracle.one('INFO', 'persistence');
  return Number(/rdb_changes_since_last_save:(\d+)/.exec(info)?.[1]);
}

/** Replies that may differ, made the same. Both sides go through it. */
function normalise(command: Command, wire: string): string {
  if (wire.startsWith('-')) return wire;
  const name = String(command[0]).toUpperCase();
  const sub = String(command[1] ?? '').toUpperCase();
  // Help is in our own words.
  if (sub === 'HELP') return 'help';
  // Ours keeps the result of a float addition with the encoding that SET would give it: 3 is int, theirs embstr.
  if (name === 'OBJECT' && sub === 'ENCODING') return /\n(int|embstr)\r/.test(wire) ? 'int or embstr' : wire;
  if (name === 'RANDOMKEY') return wire.startsWith('$-1') ? wire : 'a key';
  if (name === 'OBJECT' && sub === 'IDLETIME') return wire.startsWith('$-1') ? wire : 'a time';
  if (name === 'MEMORY') return wire.startsWith('$-1') ? wire : 'a size';
  if (name === 'TTL' || name === 'PTTL') {
    const left = parseReply(wire) as number;
    return left > 0 ? 'a time to live' : wire;
  }
  if (name === 'EXPIRETIME' || name === 'PEXPIRETIME') {
    // Deadlines past 2^53 are kept as 2^53 − 1.
    const moment = BigInt(parseReply(wire) as number | bigint);
    if (moment >= 9007199254740n) return 'past all times';
    // Spans began at slightly different moments on the two sides.
    const ms = name === 'PEXPIRETIME' ? moment : moment * 1000n;
    return moment > 0n && (ms < FAR_MS || ms > FAR_MS + 101_000) ? 'a moment' : wire;
  }
  if (name === 'KEYS') return JSON.stringify((parseReply(wire) as string[]).sort());
  if (name === 'SCAN') {
    const [cursor, names] = parseReply(wire) as [string, string[]];
    return JSON.stringify([cursor, names.sort()]);
  }
  return wire;
}

describe.skipIf(oracleMissing !== undefined)(`the same replies as redis-server${oracleMissing === undefined ? '' : ` (skipped: ${oracleMissing})`}`, () => {
  let oracle: Oracle;
  beforeAll(async () => {
    oracle = await Oracle.start();
    await oracle.one('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
  });
  afterAll(() => oracle.stop());

  const seeds = [...REGRESSIONS, ...Array.from({ length: FRESH_SEEDS }, () => Math.floor(Math.random() * 2 ** 32))];
  test.each(seeds)('seed %i', async (seed) => {
    const stream = new Stream(seed);
    const ours = new Harness();
    await oracle.wire([['SELECT', 0], ['FLUSHALL']]);
    const dirtyBefore = await redisDirty(oracle);
    ours.nowMs = Date.now();
    const commands = Array.from({ length: COMMANDS_PER_SEED }, () => stream.next()).flatMap(sweepFirst);
    const theirs = await oracle.wire(commands);
    commands.forEach((command, i) => {
      const reply = theirs[i]!;
      if (String(command[0]).toUpperCase() === 'SELECT') {
        // A session command; here only the number matters.
        if (reply.startsWith('+OK')) ours.db = Number(command[1]);
        return;
      }
      const trail = (): string => commands.slice(Math.max(0, i - 12), i + 1).map((words) => JSON.stringify(words).slice(0, 200)).join('\n');
      expect(normalise(command, ours.wire(...command)), `seed ${seed}, command ${i}, after\n${trail()}\n`).toBe(normalise(command, reply));
    });
    expect({ ...ours.keyspace.digest() }, `seed ${seed}: digest`).toEqual({ ...ours.keyspace.digestSlow() });
    expect(ours.dirtyTotal, `seed ${seed}: changes counted`).toBe((await redisDirty(oracle)) - dirtyBefore);
  });
});
