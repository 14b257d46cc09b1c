// Members of a sorted set gathered many at a time, against one after the other.
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { Slices, SLICES_MAX } from '../../src/base/slices.ts';
import { Keyspace } from '../../src/keyspace/keyspace.ts';

const KEY = Buffer.from('board');

function fill(keyspace: Keyspace, random: Prng, count: number): number {
  const { editor } = keyspace.zsets;
  editor.open(keyspace.database(0), 0, KEY, 0, KEY.length, { entriesMax: 0, valueBytesMax: 0 });
  for (let i = 0; i < count; i++) {
    const length = random.chance(0.05) ? 4090 + random.below(10) : random.below(130);
    const member = Buffer.from(`${i}:${'m'.repeat(length)}`);
    editor.find(member, 0, member.length);
    editor.set(random.below(50), member, 0, member.length);
  }
  editor.close();
  return keyspace.database(0).find(KEY, 0, KEY.length);
}

const text = (bytes: Uint8Array, start: number, end: number): string => Buffer.from(bytes.subarray(start, end)).toString('latin1');

test('gathered or one by one, it is the same', () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = new Prng(seed);
  const keyspace = new Keyspace({ databases: 1, hashKey: new Uint8Array(16) });
  const count = 1000;
  const key = fill(keyspace, random, count);
  const view = keyspace.zsets.newView();
  const one = keyspace.zsets.newView();
  view.open(key);
  one.open(key);
  const members = new Slices();
  const scores = new Float64Array(SLICES_MAX);
  for (let n = 0; n < 300; n++) {
    const backwards = random.chance(0.5);
    const rank = random.below(count);
    view.seek(rank);
    one.seek(rank);
    let there = backwards ? rank + 1 : count - rank;
    for (let calls = 0; calls < 4; calls++) {
      const wanted = random.below(random.pick([3, SLICES_MAX, 3 * SLICES_MAX]));
      view.gather(members, scores, wanted, backwards);
      expect(members.count, `seed ${seed}`).toBe(Math.min(wanted, there, SLICES_MAX));
      there -= members.count;
      for (let i = 0; i < members.count; i++) {
        one.load();
        const found = text(members.bytes[members.where[i]!]!, members.starts[i]!, members.ends[i]!);
        expect(`${found} ${scores[i]}` === `${text(one.memberBytes, one.memberStart, one.memberEnd)} ${one.score}`, `seed ${seed}: ${found}`).toBe(true);
        if (backwards) one.previous();
        else one.next();
      }
    }
  }
});
