// A way to call every command on the data, as any client may: one maker of arguments a command, by its full name. Whoever uses
// them checks against the command table that none is missing.
import type { Prng } from '../../src/base/prng.ts';

export type Word = string | number | Uint8Array;

export interface Situation {
  readonly random: Prng;
  /** Log time and index of the machine. */
  readonly timeMs: number;
  readonly appliedIndex: number;
}

type Make = (s: Situation) => Word[];

const KEYS = 8;
const TEXTS = ['', '1', '-7', '12', '3.0', '0', '9223372036854775807', '12345678901234567890', 'abc', 'x'.repeat(44), 'x'.repeat(45), 'y'.repeat(65), 'z'.repeat(300), 'bin\x00\xff'];
const SCORES = ['0', '-0', '1', '-1.5', '3.25', 'inf', '-inf', '1e300', '7', '2'];

function key(prefix: string, { random }: Situation): string {
  // Now and then another type's, so that WRONGTYPE and overwriting come about.
  const own = random.chance(0.93) ? prefix : random.pick(['s', 'h', 'z']);
  return own + random.below(KEYS);
}

const s = (at: Situation): string => key('s', at);
const h = (at: Situation): string => key('h', at);
const z = (at: Situation): string => key('z', at);
const any = (at: Situation): string => at.random.pick([s, h, z])(at);
const text = ({ random }: Situation): string => random.pick(TEXTS);
const whole = ({ random }: Situation): string => random.pick(['1', '-1', '100', '-70000', String(random.below(1e9))]);
const decimal = ({ random }: Situation): string => random.pick(['0.5', '-1', '3', '1e3', '0.1']);
const score = ({ random }: Situation): string => random.pick(SCORES);
const field = ({ random }: Situation): string => `f${random.below(14)}`;
const member = ({ random }: Situation): string => `m${random.below(14)}`;
const many = <T>(at: Situation, max: number, make: (at: Situation) => T[]): T[] => Array.from({ length: at.random.between(1, max) }, () => make(at)).flat();
const maybe = ({ random }: Situation, ...words: Word[]): Word[] => (random.chance(0.4) ? words : []);
const soonMs = ({ random }: Situation): number => random.pick([1, 50, 500, 5000, 1e6]);
const lex = ({ random }: Situation): [string, string] => random.pick([['-', '+'], ['[m1', '(m5'], ['(m3', '+'], ['-', '[m2']]);
const scores = ({ random }: Situation): [string, string] => random.pick([['-inf', '+inf'], ['(0', '3'], ['1', '(7'], ['-2', 'inf']]);
const ranks = ({ random }: Situation): [number, number] => random.pick([[0, 1], [-2, -1], [1, 3], [0, -1]]);
const condition = ({ random }: Situation): Word[] => random.pick([[], [], ['NX'], ['XX'], ['GT'], ['LT']]);
const sources = (at: Situation): Word[] => [2, z(at), z(at), ...maybe(at, 'WEIGHTS', 2, '0.5'), ...maybe(at, 'AGGREGATE', at.random.pick(['SUM', 'MIN', 'MAX']))];
const seconds = (at: Situation): number => Math.ceil((at.timeMs + soonMs(at)) / 1000);

function expiryOption(at: Situation): Word[] {
  return at.random.pick<Word[]>([['EX', 2], ['PX', soonMs(at)], ['EXAT', seconds(at) + 1], ['PXAT', at.timeMs + soonMs(at)]]);
}

export const WRITES: Readonly<Record<string, Make>> = {
  getdel: (at) => ['GETDEL', s(at)],
  getex: (at) => ['GETEX', s(at), ...at.random.pick([[], ['PERSIST'], expiryOption(at)])],
  getset: (at) => ['GETSET', s(at), text(at)],
  mset: (at) => ['MSET', ...many(at, 3, () => [s(at), text(at)])],
  msetnx: (at) => ['MSETNX', ...many(at, 2, () => [s(at), text(at)])],
  psetex: (at) => ['PSETEX', s(at), soonMs(at), text(at)],
  set: (at) => ['SET', s(at), text(at), ...at.random.pick([[], [], ['NX'], ['XX'], ['GET'], ['KEEPTTL'], expiryOption(at)])],
  setex: (at) => ['SETEX', s(at), 1, text(at)],
  setnx: (at) => ['SETNX', s(at), text(at)],
  append: (at) => ['APPEND', s(at), text(at)],
  setrange: (at) => ['SETRANGE', s(at), at.random.below(60), text(at)],
  incr: (at) => ['INCR', s(at)],
  incrby: (at) => ['INCRBY', s(at), whole(at)],
  decr: (at) => ['DECR', s(at)],
  decrby: (at) => ['DECRBY', s(at), whole(at)],
  incrbyfloat: (at) => ['INCRBYFLOAT', s(at), decimal(at)],
  hdel: (at) => ['HDEL', h(at), ...many(at, 3, () => [field(at)])],
  hincrby: (at) => ['HINCRBY', h(at), field(at), whole(at)],
  hincrbyfloat: (at) => ['HINCRBYFLOAT', h(at), field(at), decimal(at)],
  hmset: (at) => ['HMSET', h(at), ...many(at, 4, () => [field(at), text(at)])],
  hset: (at) => ['HSET', h(at), ...many(at, 6, () => [field(at), text(at)])],
  hsetnx: (at) => ['HSETNX', h(at), field(at), text(at)],
  zadd: (at) => ['ZADD', z(at), ...condition(at), ...maybe(at, 'CH'), ...many(at, 6, () => [score(at), member(at)])],
  zincrby: (at) => ['ZINCRBY', z(at), decimal(at), member(at)],
  zrem: (at) => ['ZREM', z(at), ...many(at, 3, () => [member(at)])],
  zpopmin: (at) => ['ZPOPMIN', z(at), ...maybe(at, 2)],
  zpopmax: (at) => ['ZPOPMAX', z(at), ...maybe(at, 2)],
  zmpop: (at) => ['ZMPOP', 2, z(at), z(at), at.random.pick(['MIN', 'MAX']), ...maybe(at, 'COUNT', 2)],
  zremrangebylex: (at) => ['ZREMRANGEBYLEX', z(at), ...lex(at)],
  zremrangebyrank: (at) => ['ZREMRANGEBYRANK', z(at), ...ranks(at)],
  zremrangebyscore: (at) => ['ZREMRANGEBYSCORE', z(at), ...scores(at)],
  zrangestore: (at) => ['ZRANGESTORE', z(at), z(at), ...ranks(at), ...maybe(at, 'REV')],
  zunionstore: (at) => ['ZUNIONSTORE', z(at), ...sources(at)],
  zinterstore: (at) => ['ZINTERSTORE', z(at), ...sources(at)],
  zdiffstore: (at) => ['ZDIFFSTORE', z(at), 2, z(at), z(at)],
  copy: (at) => ['COPY', any(at), any(at), ...maybe(at, 'DB', at.random.below(3)), ...maybe(at, 'REPLACE')],
  del: (at) => ['DEL', any(at), ...maybe(at, any(at))],
  unlink: (at) => ['UNLINK', any(at)],
  rename: (at) => ['RENAME', any(at), any(at)],
  renamenx: (at) => ['RENAMENX', any(at), any(at)],
  move: (at) => ['MOVE', any(at), at.random.below(3)],
  expire: (at) => ['EXPIRE', any(at), at.random.pick([1, 2, 1000, -1]), ...condition(at)],
  expireat: (at) => ['EXPIREAT', any(at), seconds(at), ...condition(at)],
  pexpire: (at) => ['PEXPIRE', any(at), soonMs(at), ...condition(at)],
  pexpireat: (at) => ['PEXPIREAT', any(at), at.timeMs + soonMs(at), ...condition(at)],
  persist: (at) => ['PERSIST', any(at)],
  flushall: (at) => ['FLUSHALL', ...maybe(at, 'ASYNC')],
  flushdb: (at) => ['FLUSHDB', ...maybe(at, 'SYNC')],
  swapdb: (at) => ['SWAPDB', at.random.below(3), at.random.below(3)],
  'function|flush': () => ['FUNCTION', 'FLUSH'],
  'holdfast|publish': ({ random, appliedIndex }) => ['HOLDFAST', 'PUBLISH', Math.max(1, appliedIndex - random.below(10)), 1, `snapshots/${appliedIndex}`, 'ab'.repeat(32), '0123456789abcdef'],
};

/** They would leave little to compare. */
export const RARE: ReadonlySet<string> = new Set(['flushall', 'flushdb', 'swapdb']);

/** Of what is each node's own: when a key was last used, and what its tables take. */
export const LOCAL_READS: ReadonlySet<string> = new Set(['object|freq', 'object|idletime', 'memory|usage']);

/** Of these the order is that of a hash table, which is each node's own; what they give, and their cursors (hashes), are not. */
export const UNORDERED_READS: ReadonlySet<string> = new Set(['zscan']);

export const READS: Readonly<Record<string, Make>> = {
  get: (at) => ['GET', s(at)],
  mget: (at) => ['MGET', s(at), s(at)],
  getrange: (at) => ['GETRANGE', s(at), 0, 50],
  substr: (at) => ['SUBSTR', s(at), -3, -1],
  strlen: (at) => ['STRLEN', s(at)],
  lcs: (at) => ['LCS', s(at), s(at)],
  hexists: (at) => ['HEXISTS', h(at), field(at)],
  hget: (at) => ['HGET', h(at), field(at)],
  hgetall: (at) => ['HGETALL', h(at)],
  hkeys: (at) => ['HKEYS', h(at)],
  hlen: (at) => ['HLEN', h(at)],
  hmget: (at) => ['HMGET', h(at), field(at), field(at)],
  hstrlen: (at) => ['HSTRLEN', h(at), field(at)],
  hvals: (at) => ['HVALS', h(at)],
  hrandfield: (at) => ['HRANDFIELD', h(at), at.random.pick([3, -3, 20]), ...maybe(at, 'WITHVALUES')],
  hscan: (at) => ['HSCAN', h(at), at.random.pick([0, 1, 3]), 'COUNT', 3],
  zcard: (at) => ['ZCARD', z(at)],
  zscore: (at) => ['ZSCORE', z(at), member(at)],
  zmscore: (at) => ['ZMSCORE', z(at), member(at), member(at)],
  zrank: (at) => ['ZRANK', z(at), member(at)],
  zrevrank: (at) => ['ZREVRANK', z(at), member(at)],
  zrange: (at) => ['ZRANGE', z(at), ...ranks(at), 'WITHSCORES'],
  zrangebylex: (at) => ['ZRANGEBYLEX', z(at), ...lex(at)],
  zrangebyscore: (at) => ['ZRANGEBYSCORE', z(at), ...scores(at)],
  zrevrange: (at) => ['ZREVRANGE', z(at), ...ranks(at)],
  zrevrangebylex: (at) => ['ZREVRANGEBYLEX', z(at), '+', '-'],
  zrevrangebyscore: (at) => ['ZREVRANGEBYSCORE', z(at), '+inf', '-inf'],
  zcount: (at) => ['ZCOUNT', z(at), ...scores(at)],
  zlexcount: (at) => ['ZLEXCOUNT', z(at), ...lex(at)],
  zunion: (at) => ['ZUNION', ...sources(at)],
  zinter: (at) => ['ZINTER', ...sources(at)],
  zintercard: (at) => ['ZINTERCARD', 2, z(at), z(at)],
  zdiff: (at) => ['ZDIFF', 2, z(at), z(at)],
  zrandmember: (at) => ['ZRANDMEMBER', z(at), at.random.pick([3, -3, 20])],
  zscan: (at) => ['ZSCAN', z(at), 0, 'COUNT', 1000],
  exists: (at) => ['EXISTS', any(at), any(at)],
  touch: (at) => ['TOUCH', any(at)],
  type: (at) => ['TYPE', any(at)],
  ttl: (at) => ['TTL', any(at)],
  pttl: (at) => ['PTTL', any(at)],
  expiretime: (at) => ['EXPIRETIME', any(at)],
  pexpiretime: (at) => ['PEXPIRETIME', any(at)],
  keys: () => ['KEYS', '*'],
  randomkey: () => ['RANDOMKEY'],
  scan: (at) => ['SCAN', at.random.pick([0, 1, 7]), 'COUNT', 5],
  'object|encoding': (at) => ['OBJECT', 'ENCODING', any(at)],
  'object|refcount': (at) => ['OBJECT', 'REFCOUNT', any(at)],
  dbsize: () => ['DBSIZE'],
};
