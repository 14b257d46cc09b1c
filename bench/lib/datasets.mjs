// The data that benches load before they measure. The same bytes for every peer.
import { load, Random, twelveDigits } from './load.mjs';
import { encode } from './resp.mjs';

/** Elements in one HSET or ZADD while loading. */
const ELEMENTS_PER_COMMAND = 16;
const LOAD_SEED = 20_26;

/** `player:000000000000` … under `key`, with scores from 0 to members − 1, by chance. Resolves to the seconds it took. */
export async function loadBoard(peer, members, key = 'board') {
  const random = new Random(LOAD_SEED);
  const seconds = await load({
    port: peer.port,
    count: Math.ceil(members / ELEMENTS_PER_COMMAND),
    command: (i) => {
      const args = ['ZADD', key];
      const end = Math.min(members, (i + 1) * ELEMENTS_PER_COMMAND);
      for (let m = i * ELEMENTS_PER_COMMAND; m < end; m++) args.push(String(random.below(members)), `player:${twelveDigits(m)}`);
      return encode(args);
    },
  });
  await expectCount(peer, members, 'ZCARD', key);
  return seconds;
}

export async function expectCount(peer, expected, ...command) {
  const count = await peer.control.call(...command);
  if (count !== expected) throw new Error(`${peer.name}: ${command.join(' ')} is ${count} after loading, not ${expected}`);
}

const letters = (length) => 'abcdefghijklmnopqrstuvwxyz'.repeat(Math.ceil(length / 26)).slice(0, length);

/** Keys of 20 bytes with values of 100. */
export async function loadStrings(peer, count) {
  await load({ port: peer.port, count, command: stringOf });
  await expectCount(peer, count, 'DBSIZE');
}

const TAIL = letters(88);

/** The SET of one of them. */
export function stringOf(i) {
  const digits = twelveDigits(i);
  return `*3\r\n$3\r\nSET\r\n$20\r\nkeyspace${digits}\r\n$100\r\n${digits}${TAIL}\r\n`;
}

/** Hashes of 10 fields of 6 bytes with values of 12. */
async function smallHashes(peer, count) {
  const command = (i) => {
    const args = ['HSET', `user:${twelveDigits(i)}`];
    for (let f = 0; f < 10; f++) args.push(`field${f}`, twelveDigits(i * 10 + f));
    return encode(args);
  };
  await load({ port: peer.port, count, command });
  await expectCount(peer, count, 'DBSIZE');
}

/** One hash: fields of 18 bytes with values of 12. */
async function bigHash(peer, count) {
  const command = (i) => {
    const args = ['HSET', 'hash'];
    const end = Math.min(count, (i + 1) * ELEMENTS_PER_COMMAND);
    for (let f = i * ELEMENTS_PER_COMMAND; f < end; f++) args.push(`field:${twelveDigits(f)}`, twelveDigits(f));
    return encode(args);
  };
  await load({ port: peer.port, count: Math.ceil(count / ELEMENTS_PER_COMMAND), command });
  await expectCount(peer, count, 'HLEN', 'hash');
}

export const MEMORY_CASES = [
  { name: '5 M strings', title: '5 M keys of 20 B with 100 B values', count: 5_000_000, load: loadStrings },
  { name: '1 M hashes', title: '1 M hashes of 10 fields', count: 1_000_000, load: smallHashes },
  { name: 'hash of 5 M', title: 'one hash of 5 M fields', count: 5_000_000, load: bigHash },
  { name: 'sorted set of 5 M', title: 'one sorted set of 5 M members', count: 5_000_000, load: (peer, count) => loadBoard(peer, count) },
];
