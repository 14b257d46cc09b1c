// `node bench/readme-figures.mjs`: writes the newest run of each bench in bench/results.ndjson into the README, between
// its figures markers. A bench that was never run has no table.
import fs from 'node:fs';
import path from 'node:path';
import { root } from '../scripts/prepare.mjs';
import { MEMORY_CASES } from './lib/datasets.mjs';
import { LEADERBOARD_FLOORS } from './lib/floors.mjs';
import { PEER_NAMES, titleOf } from './lib/peers.mjs';
import { newest, parseResults } from './lib/points.mjs';

const MiB = 2 ** 20;

const markdownTable = (head, rows) =>
  [`| ${head.join(' | ')} |`.replace('|  |', '| |'), `|${head.map(() => '---').join('|')}|`, ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
const thousands = (rps) => `${(rps / 1000).toFixed(rps < 10_000 ? 1 : 0)} k`;
const share = (value) => (value === undefined ? '–' : value.toFixed(2));
const both = (row) => `${thousands(row.rps)} (${share(row.ofRedis)} / ${share(row.ofAof)})`;
const when = (run) => `${run.at.slice(0, 10)}, commit ${run.commit}${run.changed === true ? ' with changes' : ''}`;
const peersIn = (rows) => PEER_NAMES.filter((name) => rows[name] !== undefined);

function throughput(run) {
  const names = Object.keys(run.loads);
  return [
    `Requests a second, and in brackets the ratio to redis-server with nothing on disk and to \`appendfsync always\`. \`redis-benchmark -c 50 -d 64 -r 100000\`, medians of ${run.rounds} alternating runs, ${run.cpus} cores for everything, load generator and all nodes included; ${when(run)}.`,
    markdownTable(['', ...names], peersIn(run.loads[names[0]]).map((peer) => [titleOf(peer), ...names.map((name) => both(run.loads[name][peer]))])),
  ];
}

/** The commands of a kind, each once. */
const listOf = (names, kind) =>
  [...new Set(names.map((name) => name.replace(/ P\d+$/, '')))].filter((name) => (kind === 'write') === /^Z(ADD|INCRBY)/.test(name)).join(', ');

function leaderboard(run) {
  const names = Object.keys(run.loads);
  const peers = peersIn(run.loads[names[0]]);
  const summarized = Object.keys(LEADERBOARD_FLOORS);
  return [
    `A leaderboard: one sorted set of ${(run.members / 1e6).toLocaleString('en')} M members, 50 clients, the same way: geometric means of the ratios, of ${listOf(names, 'read')} to redis-server with nothing on disk, of ${listOf(names, 'write')} to \`appendfsync always\`; ${when(run)}.`,
    markdownTable(
      ['', ...summarized],
      [
        ...peers.filter((peer) => peer.startsWith('holdfast')).map((peer) => [titleOf(peer), ...summarized.map((name) => share(run.summary[peer][name]))]),
        ['to be reached', ...Object.values(LEADERBOARD_FLOORS).map((floor) => share(floor.share))],
      ],
    ),
  ];
}

function memory(run) {
  const row = ({ name, title }) => {
    const { redis, 'holdfast-1': ours } = run.cases[name];
    const size = (bytes, ratio) => `${Math.round(bytes / MiB)} MiB${ratio === undefined ? '' : ` (${ratio.toFixed(2)})`}`;
    return [
      title, size(redis.usedBytes), size(ours.usedBytes, ours.usedOfRedis), size(redis.rssBytes), size(ours.rssBytes, ours.rssOfRedis),
      `${ours.loadStallMsMax.toFixed(0)} / ${ours.holdStallMsMax.toFixed(0)} ms`,
    ];
  };
  return [
    `Memory for the same data, an empty server taken off, and in brackets the ratio; the longest stall of Holdfast's event loop while loading and while holding for ${run.hold} s; ${when(run)}${run.scale === 1 ? '' : `, at ${run.scale} of the sizes named`}.`,
    markdownTable(
      ['', 'redis-server, `used_memory`', 'Holdfast, `used_memory`', 'redis-server, resident', 'Holdfast, resident', 'Stall'],
      MEMORY_CASES.filter(({ name }) => run.cases[name] !== undefined).map(row),
    ),
  ];
}

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? path.join(root, fallback) : path.resolve(process.argv[at + 1]);
};
const runs = parseResults(fs.readFileSync(option('in', 'bench/results.ndjson'), 'utf8'));
const parts = Object.entries({ throughput, leaderboard, memory }).flatMap(([bench, write]) => {
  const run = newest(runs, bench);
  return run === undefined ? [] : write(run);
});
const file = option('to', 'README.md');
const readme = fs.readFileSync(file, 'utf8');
const marked = /<!-- figures:start -->[\s\S]*<!-- figures:end -->/;
if (!marked.test(readme)) throw new Error(`${file} has no figures markers`);
fs.writeFileSync(file, readme.replace(marked, () => `<!-- figures:start -->\n${parts.join('\n\n')}\n<!-- figures:end -->`));
