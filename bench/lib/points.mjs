// From bench/results.ndjson to the points of the plot: pure functions. Types in points.d.mts.
//
// A line is one run of one bench: { at, bench, commit, date, … }. Lines of before there were several benches have neither
// `bench` nor `date`: they are throughput, and as old as they say in `at`.
import { LEADERBOARD_FLOORS, THROUGHPUT_FLOORS } from './floors.mjs';

export const SERIES = ['holdfast-1', 'holdfast-3'];

const RATIO_FIELD = { redis: 'ofRedis', 'redis-aof-always': 'ofAof' };

const throughputPanel = (load, of) => ({
  title: load,
  of,
  floor: THROUGHPUT_FLOORS[load]?.share,
  bench: 'throughput',
  ratio: (run, peer) => run.loads[load]?.[peer]?.[RATIO_FIELD[of]],
});

const leaderboardPanel = (name) => ({
  title: `leaderboard ${name}`,
  of: LEADERBOARD_FLOORS[name].of,
  floor: LEADERBOARD_FLOORS[name].share,
  bench: 'leaderboard',
  ratio: (run, peer) => run.summary?.[peer]?.[name],
});

const PANELS = [
  throughputPanel('SET P1', 'redis-aof-always'),
  throughputPanel('GET P1', 'redis'),
  throughputPanel('SET P16', 'redis-aof-always'),
  throughputPanel('GET P16', 'redis'),
  leaderboardPanel('writes P1'),
  leaderboardPanel('reads P1'),
  leaderboardPanel('writes P16'),
  leaderboardPanel('reads P16'),
];

/** The runs of a results file in its order. A line that cannot be used is named by its number. */
export function parseResults(text) {
  const runs = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const fail = (what) => {
      throw new Error(`results, line ${i + 1}: ${what}`);
    };
    let run;
    try {
      run = JSON.parse(line);
    } catch (error) {
      fail(`not JSON (${error.message})`);
    }
    if (typeof run !== 'object' || run === null || Array.isArray(run)) fail('not an object');
    if (typeof run.commit !== 'string' || run.commit === '') fail('no commit');
    if (typeof run.at !== 'string' || Number.isNaN(Date.parse(run.at))) fail('no time in `at`');
    if (run.date !== undefined && (typeof run.date !== 'string' || Number.isNaN(Date.parse(run.date)))) fail('no time in `date`');
    const bench = run.bench ?? 'throughput';
    if (typeof bench !== 'string') fail('no name in `bench`');
    if ((bench === 'throughput' || bench === 'leaderboard') && (typeof run.loads !== 'object' || run.loads === null)) fail('no loads');
    runs.push({ ...run, bench, date: run.date ?? run.at });
  }
  return runs;
}

/** The newest run of a bench, by when it ran. */
export function newest(runs, bench) {
  return runs.filter((run) => run.bench === bench).reduce((best, run) => (best === undefined || Date.parse(run.at) >= Date.parse(best.at) ? run : best), undefined);
}

/** What was measured: a commit, with a star where the sources had changed since. */
const labelOf = (run) => (run.changed === true ? `${run.commit}*` : run.commit);

/**
 * Commits by date, and for each panel its series' points over them: x is the commit's place, y the ratio. Of several runs of
 * a commit the newest counts; a commit without one leaves a gap.
 */
export function plotOf(runs) {
  const drawn = runs.filter((run) => PANELS.some(({ bench }) => bench === run.bench));
  const dates = new Map();
  for (const run of drawn) dates.set(labelOf(run), Math.min(Date.parse(run.date), dates.get(labelOf(run)) ?? Infinity));
  const commits = [...dates].sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1)).map(([label]) => label);
  const panels = PANELS.map(({ title, of, floor, bench, ratio }) => ({
    title,
    of,
    floor,
    series: SERIES.map((peer) => ({
      peer,
      points: commits.flatMap((label, x) => {
        const run = newest(drawn.filter((each) => labelOf(each) === label), bench);
        const y = run === undefined ? undefined : ratio(run, peer);
        return typeof y === 'number' && Number.isFinite(y) ? [{ x, label, y }] : [];
      }),
    })),
  }));
  return { commits, panels };
}
