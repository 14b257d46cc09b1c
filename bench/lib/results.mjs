// What all benches do with their samples: medians, ratios, tables, and one line a run in results.ndjson.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { root } from '../../scripts/prepare.mjs';

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function geometricMean(values) {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/**
 * Measures every load on every peer, `rounds` times, the peers next to each other, so that the machine's moods hit all alike.
 * Those whose turn it is not are frozen: on two cores the timers of an idle cluster cost its neighbours 12 % of their GETs.
 */
export async function alternate({ rounds, loads, peers, measure }) {
  const samples = new Map();
  for (const peer of peers) peer.freeze();
  for (let round = 0; round < rounds; round++) {
    for (const load of loads) {
      for (const peer of peers) {
        const key = `${load.name}|${peer.name}`;
        if (!samples.has(key)) samples.set(key, []);
        await peer.thaw();
        samples.get(key).push(await measure(peer, load));
        peer.freeze();
      }
    }
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  for (const peer of peers) await peer.thaw();
  return (load, peer) => samples.get(`${load}|${peer}`) ?? [];
}

/** The medians of each field of a peer's samples; none if it did not take part. */
export function medians(samples) {
  const [example] = samples;
  if (example === undefined) return undefined;
  return Object.fromEntries(Object.keys(example).map((field) => [field, median(samples.map((sample) => sample[field]))]));
}

/** { load: { peer: { rps, …, ofRedis, ofAof } } }; a ratio to a peer that did not take part is left out. */
export function ratioTable(loads, peers, samplesOf) {
  const table = {};
  for (const { name } of loads) {
    const rows = (table[name] = {});
    for (const peer of peers) rows[peer.name] = medians(samplesOf(name, peer.name));
    for (const row of Object.values(rows)) {
      if (rows.redis !== undefined) row.ofRedis = row.rps / rows.redis.rps;
      if (rows['redis-aof-always'] !== undefined) row.ofAof = row.rps / rows['redis-aof-always'].rps;
    }
  }
  return table;
}

/** Prints rows with columns as wide as they need be; the first column to the left, the others to the right. */
export function printTable(head, rows) {
  const text = [head, ...rows].map((row) => row.map((cell) => String(cell ?? '–')));
  const widths = head.map((_, i) => Math.max(...text.map((row) => row[i].length)));
  for (const row of text) console.log(row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd());
  console.log('');
}

export const fixed = (value, digits = 2) => (value === undefined ? undefined : value.toFixed(digits));

export function printRatioTable(table) {
  printTable(
    ['load', 'peer', 'a second', 'p50 ms', 'p99 ms', 'of redis', 'of redis-aof-always'],
    Object.entries(table).flatMap(([load, rows]) =>
      Object.entries(rows).map(([peer, row]) => [load, peer, Math.round(row.rps), fixed(row.p50), fixed(row.p99), fixed(row.ofRedis), fixed(row.ofAof)]),
    ),
  );
}

/** Appends one line for a run. */
export function record(options, bench, fields) {
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.trim();
  const line = {
    at: new Date().toISOString(),
    bench,
    commit: git('rev-parse', '--short', 'HEAD'),
    date: git('log', '-1', '--format=%cI'),
    // What is not committed is measured too; the line says so.
    ...(git('status', '--porcelain', '--', 'src').length > 0 ? { changed: true } : {}),
    ...(options.dist === undefined ? {} : { dist: options.dist }),
    scale: options.scale,
    cpus: os.cpus().length,
    node: process.version,
    ...fields,
  };
  fs.appendFileSync(options.out, `${JSON.stringify(line)}\n`);
}
