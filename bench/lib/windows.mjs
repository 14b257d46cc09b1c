// Windows of a load that goes on all the time: what clients of a server felt while something else was done, its longest stalls
// meanwhile, and a process that only burns as much CPU.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Histogram } from './histogram.mjs';
import { fixed } from './results.mjs';

/** Of a window the longest of each. */
const STALLS = { engineMs: 'engineStallMsMax', engineOwnMs: 'engineOwnMsMax', consensusMs: 'consensusStallMsMax', consensusOwnMs: 'consensusOwnMsMax', machineMs: 'machineMsMax' };

/** A window of the load with the server's longest stalls in it. */
export async function windowOf(server, load, run) {
  await server.resetStalls?.();
  const { window, result } = await load.during(run);
  return { window, result, stalls: await server.stalls?.() };
}

/**
 * Uses so many cores; resolves to the seconds of CPU that it got. At the priority of a thread that is given as `nice`, or in a session
 * of its own with that priority, `sessionNice`.
 */
export function burn(cores, seconds, { nice = 0, sessionNice }) {
  const args = [fileURLToPath(new URL('./burn.mjs', import.meta.url)), cores, seconds, nice, ...(sessionNice === undefined ? [] : [sessionNice])];
  const child = spawn(process.execPath, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'], detached: sessionNice !== undefined });
  let text = '';
  child.stdout.on('data', (data) => (text += data));
  return new Promise((resolve, reject) => child.once('error', reject).once('close', (code) => (code === 0 ? resolve(Number(text)) : reject(new Error(`the burner ended with ${code}`)))));
}

/** Sums the windows of a kind, over all rounds. */
export class Windows {
  #kinds = new Map();

  /** `cores` that a process beside the server used meanwhile. */
  add(kind, { window, result, stalls = {} }, cores) {
    let sum = this.#kinds.get(kind);
    if (sum === undefined) this.#kinds.set(kind, (sum = { waits: new Histogram(), late: new Histogram(), seconds: 0, cpuSeconds: undefined, longest: {} }));
    sum.waits.add(window.waits);
    sum.late.add(window.late);
    sum.seconds += window.seconds;
    if (cores !== undefined) sum.cpuSeconds = (sum.cpuSeconds ?? 0) + cores * window.seconds;
    const note = (field, ms) => {
      if (ms !== undefined) sum.longest[field] = Math.max(sum.longest[field] ?? 0, ms);
    };
    for (const [name, field] of Object.entries(STALLS)) note(field, stalls[name]);
    note('forkMsMax', result?.forkMs);
  }

  rows(server, order) {
    return order.filter((kind) => this.#kinds.has(kind)).map((kind) => {
      const { waits, late, seconds, cpuSeconds, longest } = this.#kinds.get(kind);
      return {
        server, window: kind, seconds, requests: waits.count, ...waits.summary(), lateP999: late.percentile(0.999),
        ...(cpuSeconds === undefined ? {} : { coresBeside: cpuSeconds / seconds }), ...longest,
      };
    });
  }
}

const COLUMNS = {
  seconds: (row) => fixed(row.seconds, 1), p50: (row) => fixed(row.p50), p99: (row) => fixed(row.p99), 'p99.9': (row) => fixed(row.p999), max: (row) => fixed(row.max, 1),
  'engine stall': (row) => fixed(row.engineStallMsMax, 1), own: (row) => fixed(row.engineOwnMsMax, 1), 'consensus stall': (row) => fixed(row.consensusStallMsMax, 1), 'own ': (row) => fixed(row.consensusOwnMsMax, 1),
  machine: (row) => fixed(row.machineMsMax, 1), fork: (row) => fixed(row.forkMsMax, 1), 'cores beside': (row) => fixed(row.coresBeside), 'sent late p99.9': (row) => fixed(row.lateP999),
};

/** Head and lines of a table of such rows, for `printTable`; columns that no row has are left out. */
export function windowTable(rows) {
  const names = Object.keys(COLUMNS).filter((name) => rows.some((row) => COLUMNS[name](row) !== undefined));
  return [['server', 'window', ...names.map((name) => name.trim())], rows.map((row) => [row.server, row.window, ...names.map((name) => COLUMNS[name](row))])];
}
