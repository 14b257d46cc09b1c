// `npm run bench:plot [-- --in FILE --to FILE]`: draws bench/results.ndjson as bench/results.svg.
import fs from 'node:fs';
import path from 'node:path';
import { root } from '../scripts/prepare.mjs';
import { parseResults, plotOf } from './lib/points.mjs';
import { svgOf } from './lib/svg.mjs';

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? path.join(root, fallback) : path.resolve(process.argv[at + 1]);
};
const from = option('in', 'bench/results.ndjson');
const to = option('to', 'bench/results.svg');
try {
  const plot = plotOf(parseResults(fs.readFileSync(from, 'utf8')));
  fs.writeFileSync(to, svgOf(plot));
  console.log(`${to}: ${plot.commits.length} commits`);
} catch (error) {
  console.error(`bench:plot: ${error.message} (${from})`);
  process.exit(1);
}
