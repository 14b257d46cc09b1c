// Writes the newest line of bench/results.ndjson into the README, between its figures markers.
import fs from 'node:fs';
import path from 'node:path';
import { root } from '../scripts/prepare.mjs';

const lines = fs.readFileSync(path.join(root, 'bench/results.ndjson'), 'utf8').trim().split('\n');
const { at, commit, rounds, cpus, loads } = JSON.parse(lines.at(-1));
const targets = ['redis', 'redis-aof-always', 'holdfast-1', 'holdfast-3'];
const titles = ['redis-server, nothing on disk', 'redis-server, `appendfsync always`', 'Holdfast, one node', 'Holdfast, three nodes (leader)'];
const cell = (row) => `${Math.round(row.rps / 1000)} k (${row.ofRedis.toFixed(2)} / ${row.ofAof.toFixed(2)})`;
const names = Object.keys(loads);
const table = [
  `Requests a second, and in brackets the ratio to redis-server with nothing on disk and to \`appendfsync always\`. \`redis-benchmark -c 50 -d 64 -r 100000\`, medians of ${rounds} alternating runs, ${cpus} cores for everything, load generator and all nodes included; ${at.slice(0, 10)}, commit ${commit}.`,
  '',
  `| | ${names.join(' | ')} |`,
  `|---|${names.map(() => '---').join('|')}|`,
  ...targets.map((target, i) => `| ${titles[i]} | ${names.map((name) => cell(loads[name][target])).join(' | ')} |`),
].join('\n');
const file = path.join(root, 'README.md');
const readme = fs.readFileSync(file, 'utf8');
const marked = /<!-- figures:start -->[\s\S]*<!-- figures:end -->/;
if (!marked.test(readme)) throw new Error('README.md has no figures markers');
fs.writeFileSync(file, readme.replace(marked, `<!-- figures:start -->\n${table}\n<!-- figures:end -->`));
