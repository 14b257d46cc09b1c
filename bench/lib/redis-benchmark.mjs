// redis-benchmark as a function: runs one load and reads its CSV.
import { spawn } from 'node:child_process';

/** `args` as on its command line, without port and output format. Resolves to { rps, p50, p99 }, in ms. */
export async function redisBenchmark(port, args) {
  const first = await attempt(port, args);
  if (first.result !== undefined) return first.result;
  // The load generator died, not the server: a run of many minutes need not die with it.
  console.error(`bench: redis-benchmark ${args.join(' ')} was ended by ${first.signal}; this sample is taken again`);
  const second = await attempt(port, args);
  if (second.result === undefined) throw new Error(`redis-benchmark ${args.join(' ')} was ended by ${second.signal} again`);
  return second.result;
}

async function attempt(port, args) {
  const child = spawn('redis-benchmark', ['-p', String(port), '--csv', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (errors += data));
  const { code, signal } = await new Promise((resolve, reject) => child.once('close', (code, signal) => resolve({ code, signal })).once('error', reject));
  if (signal !== null) return { signal };
  const lines = out.trim().split('\n');
  if (code !== 0 || lines.length < 2) throw new Error(`redis-benchmark ${args.join(' ')} failed (${code}): ${errors}${out}`);
  return { result: readCsv(lines.at(0), lines.at(-1)) };
}

/** Columns by name, from the end: the test's name may hold commas. */
function readCsv(head, row) {
  const cells = (line) => line.split(',').map((cell) => cell.replaceAll('"', ''));
  const names = cells(head);
  const values = cells(row);
  const column = (name) => {
    const value = Number(values[values.length - (names.length - names.indexOf(name))]);
    if (!names.includes(name) || !Number.isFinite(value)) throw new Error(`redis-benchmark's CSV has no ${name}: ${head} / ${row}`);
    return value;
  };
  return { rps: column('rps'), p50: column('p50_latency_ms'), p99: column('p99_latency_ms') };
}
