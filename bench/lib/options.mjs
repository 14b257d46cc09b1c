// The command line of `npm run bench`: which benches, and how much of each.
import path from 'node:path';
import { root } from '../../scripts/prepare.mjs';
import { PEER_NAMES } from './peers.mjs';

export const BENCHES = ['throughput', 'latency', 'leaderboard', 'memory', 'del', 'snapshot', 'restart', 'join', 'soak'];
/** What `all` leaves out: it is for by itself. */
const ALONE = ['soak'];
const DEFAULT_BENCHES = ['throughput', 'latency', 'leaderboard'];

/** Where a member that joins has its snapshot from. */
const SOURCES = ['store', 'peer'];

const NUMBERS = {
  /** Alternating rounds; figures are medians over them. */
  rounds: { fallback: 5, min: 1, whole: true },
  /** Factor on requests and sizes, for quick runs. */
  scale: { fallback: 1, min: 1e-4, whole: false },
  /** Members of the board; 5 M times scale unless given. */
  members: { fallback: undefined, min: 1000, whole: true },
  /** Of the benches snapshot, restart, join and soak; 5 M times scale unless given. */
  keys: { fallback: undefined, min: 1000, whole: true },
  /** Snapshots under load; restarts of each kind; members added. */
  repeats: { fallback: 3, min: 1, whole: true },
  /** Of the soak. */
  minutes: { fallback: 60, min: 0.1, whole: false },
  /** First of 40 ports. */
  port: { fallback: 7600, min: 1024, whole: true },
  /** How long the memory bench holds what it has loaded, seconds. */
  hold: { fallback: 10, min: 1, whole: true },
};

export const USAGE = `usage: npm run bench [-- [${BENCHES.join('|')}|all] ...] [--rounds 5] [--scale 1] [--members N] [--hold 10]
       [--keys N] [--repeats 3] [--from ${SOURCES.join('|')}] [--minutes 60]
       [--peers ${PEER_NAMES.join(',')}] [--port 7600] [--out bench/results.ndjson] [--dist DIR]
Without a name: ${DEFAULT_BENCHES.join(', ')}. --dist measures that build and compiles nothing. See bench/README.md.`;

export class UsageError extends Error {}

function numberOption(name, text) {
  const { min, whole } = NUMBERS[name];
  const value = Number(text);
  if (text === undefined || text === '' || !(value >= min) || (whole && !Number.isInteger(value))) {
    throw new UsageError(`--${name} is a ${whole ? 'whole ' : ''}number of at least ${min}, not '${text ?? ''}'`);
  }
  return value;
}

export function parseOptions(words) {
  const options = {
    benches: [],
    peers: PEER_NAMES,
    out: path.join(root, 'bench/results.ndjson'),
    dist: undefined,
    from: SOURCES[0],
    ...Object.fromEntries(Object.entries(NUMBERS).map(([name, { fallback }]) => [name, fallback])),
  };
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === 'all') options.benches.push(...BENCHES.filter((name) => !ALONE.includes(name)));
    else if (BENCHES.includes(word)) options.benches.push(word);
    else if (word === '--out' || word === '--dist') {
      if (words[i + 1] === undefined) throw new UsageError(`${word} needs a path`);
      options[word.slice(2)] = path.resolve(words[++i]);
    } else if (word === '--peers') options.peers = peerList(words[++i]);
    else if (word === '--from') options.from = sourceOf(words[++i]);
    else if (word.startsWith('--') && NUMBERS[word.slice(2)] !== undefined) options[word.slice(2)] = numberOption(word.slice(2), words[++i]);
    else throw new UsageError(`'${word}' is neither a bench nor an option`);
  }
  if (options.benches.length === 0) options.benches = [...DEFAULT_BENCHES];
  options.benches = [...new Set(options.benches)];
  options.members ??= Math.max(1000, Math.round(5_000_000 * options.scale));
  options.keys ??= Math.max(1000, Math.round(5_000_000 * options.scale));
  return options;
}

function sourceOf(text = '') {
  if (!SOURCES.includes(text)) throw new UsageError(`--from is one of ${SOURCES.join(', ')}, not '${text}'`);
  return text;
}

function peerList(text = '') {
  const chosen = text.split(',');
  const unknown = chosen.filter((name) => !PEER_NAMES.includes(name));
  if (unknown.length > 0) throw new UsageError(`--peers: '${unknown.join(',')}' is none of ${PEER_NAMES.join(', ')}`);
  return PEER_NAMES.filter((name) => chosen.includes(name));
}
