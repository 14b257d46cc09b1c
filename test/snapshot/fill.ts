// A seeded keyspace with every type and encoding in it, made by commands.
import type { Prng } from '../../src/base/prng.ts';
import type { Argument, Harness } from '../commands/harness.ts';

const NOW = 1_000_000;

/** Commands that make keys of all kinds, in a few databases; the same for us and for redis-server. */
export function* fillCommands(random: Prng, keys: number, farMs: number, zeros: readonly string[] = ['0', '-0']): Generator<{ db: number; words: Argument[] }> {
  const text = (): string => {
    const length = random.pick([0, 1, 5, 20, 44, 45, 64, 65, 300, 5000]);
    const unit = random.pick(['a', 'xy', String.fromCharCode(random.below(256)), '0123456789abcdef']);
    return unit.repeat(length).slice(0, length) + random.pick(['', String(random.below(1000))]);
  };
  const integer = (): string => String(random.pick([0, 1, -1, 12, 127, 128, -128, -129, 32767, 32768, -32769, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, '9223372036854775807', '-9223372036854775808', random.below(1e6)]));
  const score = (): string => random.pick([...zeros, '1', '-1.5', '3.14', '1e300', '-1e-300', 'inf', '-inf', '0.1', '123456789012', '4611686018427387904', '9.3e18', String(random.below(100)), String(random.unit())]);
  for (let i = 0; i < keys; i++) {
    const db = random.pick([0, 0, 0, 1, 9]);
    const key = random.pick([`k${i}`, `${i}`, `bin\x00\xff${i}`, `long${'k'.repeat(random.pick([50, 200, 5000]))}${i}`]);
    switch (random.below(10)) {
      case 0:
      case 1:
        yield { db, words: ['SET', key, text()] };
        break;
      case 2:
        yield { db, words: ['SET', key, integer()] };
        break;
      case 3:
        yield { db, words: ['SET', key, random.pick(['', '1', 'x'])] };
        yield { db, words: ['APPEND', key, random.pick(['', '2', 'yz'])] };
        break;
      case 4:
        yield { db, words: ['SETRANGE', key, random.below(70), random.pick(['7', 'abc'])] };
        break;
      case 5:
      case 6: {
        const fields = random.pick([1, 2, 8, 9, 60, 512, 513, 700]);
        const words: Argument[] = ['HSET', key];
        for (let f = 0; f < fields; f++) words.push(random.pick([`f${f}`, String(f)]), random.chance(0.5) ? integer() : random.chance(0.02) ? text() : `v${f}`);
        yield { db, words };
        if (random.chance(0.3)) yield { db, words: ['HDEL', key, 'f0', '1', 'f5'] };
        break;
      }
      default: {
        const members = random.pick([1, 2, 8, 9, 60, 128, 129, 400]);
        const words: Argument[] = ['ZADD', key];
        for (let m = 0; m < members; m++) words.push(score(), random.chance(0.01) ? text() + m : random.pick([`m${m}`, String(m * 7)]));
        yield { db, words };
        if (random.chance(0.3)) yield { db, words: ['ZREM', key, 'm0', '7', 'm5'] };
      }
    }
    if (random.chance(0.3)) yield { db, words: ['PEXPIREAT', key, farMs + random.below(1e9)] };
    // The last key moves into the hole, so the order is not that of making.
    if (random.chance(0.1)) yield { db, words: ['DEL', `k${random.below(i + 1)}`] };
  }
}

export function fill(harness: Harness, random: Prng, keys: number): void {
  for (const { db, words } of fillCommands(random, keys, NOW * 1000)) {
    harness.db = db;
    harness.wire(...words);
  }
}
