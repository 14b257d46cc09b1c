// A seeded random stream of hash commands against this node and a live redis-server: the replies must be the same bytes.
// While a hash is packed, so must be the order of its fields; a large one's is our own, and is compared sorted.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Harness } from './harness.ts';
import { Oracle, oracleMissing } from './oracle.ts';
import { parseReply } from './recorded-reply.ts';

/** Seeds that failed once. */
const REGRESSIONS: readonly number[] = [];
const COMMANDS_PER_SEED = 15_000;
const FRESH_SEEDS = 3;
/** As on both sides: low, so that hashes of both forms are about. */
const ENTRIES_MAX = 24;
const VALUE_BYTES_MAX = 40;

type Command = (string | number)[];

class Stream {
  readonly #random: Prng;

  constructor(seed: number) {
    this.#random = new Prng(seed);
  }

  key(): string {
    return this.#random.chance(0.02) ? this.#random.pick(['', 's\r\n', 'str']) : `h${this.#random.below(8)}`;
  }

  field(): string {
    const random = this.#random;
    if (random.chance(0.01)) return 'F'.repeat(random.pick([40, 41, 63, 64, 4100]));
    return random.chance(0.1) ? random.pick(['', '0', '-1', '1', '\x00', '9223372036854775807', 'f\xff']) : `f${random.below(random.pick([6, 20, 40]))}`;
  }

  fields(longest: number): string[] {
    return Array.from({ length: this.#random.between(1, longest) }, () => this.field());
  }

  integer(): string {
    const random = this.#random;
    if (random.chance(0.15)) return random.pick(['9223372036854775807', '-9223372036854775808', '9223372036854775806', '9007199254740991', '-9007199254740993']);
    if (random.chance(0.08)) return random.pick(['', '-', '+1', ' 1', '01', '1.0', 'x', '9223372036854775808', '99999999999999999999']);
    return String(random.below(3000) - 1000);
  }

  float(): string {
    const random = this.#random;
    if (random.chance(0.15)) return random.pick(['nan', 'inf', '-inf', '1e400', '1e4931', '-1e4931', 'x', '', ' 1', '1e-20', '0x1p3', '+inf', 'Infinity']);
    return random.chance(0.5) ? `${random.below(2000) - 1000}.${random.below(10_000)}` : String(random.below(100) - 50);
  }

  value(): string {
    const random = this.#random;
    switch (random.below(6)) {
      case 0:
        return this.integer();
      case 1:
        return this.float();
      case 2:
        return random.chance(0.1) ? 'x'.repeat(random.pick([39, 40, 41, 70, 5000])) : 'y'.repeat(random.below(30));
      default:
        return String(random.below(100_000));
    }
  }

  case(word: string): string {
    return this.#random.chance(0.2) ? word.toLowerCase() : word;
  }

  next(): Command {
    const random = this.#random;
    const command = random.pick(this.#makers)();
    // Without WITHVALUES a huge count would keep redis-server busy for ever.
    const isWhole = command[0] === 'HRANDFIELD';
    if (!isWhole && random.chance(0.01)) command.push(random.pick(['x', 'WITHVALUES', '']));
    if (!isWhole && random.chance(0.01) && command.length > 1) command.pop();
    command[0] = this.case(String(command[0]));
    return command;
  }

  #pairs(longest: number): string[] {
    return this.fields(longest).flatMap((field) => [field, this.value()]);
  }

  readonly #makers: readonly (() => Command)[] = [
    () => ['HSET', this.key(), this.field(), this.value()],
    () => [this.#random.pick(['HSET', 'HMSET']), this.key(), ...this.#pairs(6)],
    () => [this.#random.pick(['HSET', 'HMSET']), this.key(), ...this.#pairs(this.#random.chance(0.1) ? 40 : 3)],
    () => ['HSETNX', this.key(), this.field(), this.value()],
    () => ['HGET', this.key(), this.field()],
    () => ['HMGET', this.key(), ...this.fields(5)],
    () => ['HDEL', this.key(), ...this.fields(8)],
    () => ['HDEL', this.key(), this.field()],
    () => [this.#random.pick(['HEXISTS', 'HSTRLEN']), this.key(), this.field()],
    () => ['HLEN', this.key()],
    () => [this.#random.pick(['HGETALL', 'HKEYS', 'HVALS']), this.key()],
    () => ['HINCRBY', this.key(), this.field(), this.integer()],
    () => ['HINCRBYFLOAT', this.key(), this.field(), this.float()],
    () => ['HRANDFIELD', this.key()],
    () => ['HRANDFIELD', this.key(), this.#random.chance(0.2) ? this.integer().slice(0, 4) : this.#random.below(60), ...this.#withValues()],
    () => ['HRANDFIELD', this.key(), this.#random.pick(['-9223372036854775808', '-9223372036854775807', '-4611686018427387904', '0', '-3', 'x']), 'WITHVALUES'],
    () => ['HSCAN', this.key(), this.#random.pick(['0', '0', '0', 'x', '-', '18446744073709551616']), 'COUNT', 100_000, ...this.#scanOptions()],
    () => ['OBJECT', 'ENCODING', this.key()],
    () => ['TYPE', this.key()],
    () => ['EXISTS', this.key()],
    () => [this.#random.pick(['RENAME', 'RENAMENX']), this.key(), this.key()],
    () => ['COPY', this.key(), this.key(), ...(this.#random.chance(0.5) ? ['REPLACE'] : [])],
    () => (this.#random.chance(0.2) ? ['DEL', this.key()] : ['HLEN', this.key()]),
    () => (this.#random.chance(0.1) ? ['SET', this.key(), this.value()] : ['GET', this.key()]),
    () => [this.#random.pick(['APPEND', 'SETNX', 'GETSET', 'INCRBY', 'SETRANGE']), this.key(), this.value()],
    () => ['SCAN', '0', 'COUNT', 100_000, 'TYPE', 'hash'],
    () => ['EXPIRE', this.key(), 100_000],
    () => ['PERSIST', this.key()],
    () => ['STRLEN', this.key()],
  ];

  #withValues(): string[] {
    return this.#random.chance(0.4) ? [this.#random.pick(['WITHVALUES', 'withvalues', 'WITHVALUE'])] : [];
  }

  #scanOptions(): Command {
    const options: Command = [];
    if (this.#random.chance(0.3)) options.push('MATCH', this.#random.pick(['*', 'f1*', 'f?', '[0-9]*']));
    if (this.#random.chance(0.1)) options.push(this.#random.pick(['TYPE', 'BAD', 'COUNT']), this.#random.pick(['hash', '0', '-1', 'x']));
    return options;
  }
}

/** Pairs of a flat array, sorted. */
function sortedPairs(flat: string[]): string[][] {
  const pairs = flat.flatMap((field, i) => (i % 2 === 0 ? [[field, flat[i + 1]!]] : []));
  return pairs.sort((a, b) => (a[0]! < b[0]! ? -1 : 1));
}

/** Replies that may differ, made the same. Both sides go through it. */
function normalise(command: Command, wire: string, isPacked: boolean): string {
  if (wire.startsWith('-')) return wire;
  const name = String(command[0]).toUpperCase();
  if (name === 'HRANDFIELD') {
    const reply = parseReply(wire);
    return Array.isArray(reply) ? `${reply.length} picks` : reply === null ? 'null' : 'a field';
  }
  if (name === 'SCAN') return JSON.stringify((parseReply(wire) as [string, string[]])[1].sort());
  if (isPacked) return wire;
  if (name === 'HGETALL') return JSON.stringify(sortedPairs(parseReply(wire) as string[]));
  if (name === 'HKEYS' || name === 'HVALS') return JSON.stringify((parseReply(wire) as string[]).sort());
  if (name === 'HSCAN') return JSON.stringify(sortedPairs((parseReply(wire) as [string, string[]])[1]));
  return wire;
}

async function redisDirty(oracle: Oracle): Promise<number> {
  const info = await oracle.one('INFO', 'persistence');
  return Number(/rdb_changes_since_last_save:(\d+)/.exec(info)?.[1]);
}

describe.skipIf(oracleMissing !== undefined)(`hashes: the same replies as redis-server${oracleMissing === undefined ? '' : ` (skipped: ${oracleMissing})`}`, () => {
  let oracle: Oracle;
  beforeAll(async () => {
    oracle = await Oracle.start('--hash-max-listpack-entries', String(ENTRIES_MAX), '--hash-max-listpack-value', String(VALUE_BYTES_MAX));
  });
  afterAll(() => oracle.stop());

  const seeds = [...REGRESSIONS, ...Array.from({ length: FRESH_SEEDS }, () => Math.floor(Math.random() * 2 ** 32))];
  test.each(seeds)('seed %i', async (seed) => {
    const stream = new Stream(seed);
    const ours = new Harness({ protocol: seed % 2 === 0 ? 2 : 3 });
    ours.settings['hash-max-listpack-entries'] = ENTRIES_MAX;
    ours.settings['hash-max-listpack-value'] = VALUE_BYTES_MAX;
    await oracle.wire([['HELLO', seed % 2 === 0 ? 2 : 3], ['FLUSHALL']]);
    const dirtyBefore = await redisDirty(oracle);
    ours.nowMs = Date.now();
    const commands = Array.from({ length: COMMANDS_PER_SEED }, () => stream.next());
    const theirs = await oracle.wire(commands);
    commands.forEach((command, i) => {
      const isPacked = ours.run('OBJECT', 'ENCODING', String(command[1])) === 'listpack';
      const trail = (): string => commands.slice(Math.max(0, i - 12), i + 1).map((words) => JSON.stringify(words).slice(0, 200)).join('\n');
      const reply = normalise(command, ours.wire(...command), isPacked);
      expect(reply, `seed ${seed}, command ${i}, after\n${trail()}\n`).toBe(normalise(command, theirs[i]!, isPacked));
    });
    expect(ours.keyspace.digest(), `seed ${seed}: digest`).toEqual(ours.keyspace.digestSlow());
    expect(ours.dirtyTotal, `seed ${seed}: changes counted`).toBe((await redisDirty(oracle)) - dirtyBefore);
  });
});
