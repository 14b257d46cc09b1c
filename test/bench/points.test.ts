import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { newest, parseResults, plotOf, type Plot } from '../../bench/lib/points.mjs';

const row = (ofRedis: number, ofAof: number): object => ({ rps: 1, ofRedis, ofAof });

const lines = [
  // As before there were several benches, and run last though its commit is the oldest.
  { at: '2026-11-20T10:00:00Z', commit: 'aaa', rounds: 5, loads: { 'SET P1': { 'holdfast-1': row(0.2, 0.6), 'holdfast-3': row(0.1, 0.3) } } },
  { at: '2026-11-22T12:00:00Z', bench: 'throughput', commit: 'ccc', date: '2026-11-22T09:00:00Z', loads: { 'SET P1': { 'holdfast-1': row(0.4, 0.9) } } },
  { at: '2026-11-23T12:00:00Z', bench: 'throughput', commit: 'bbb', date: '2026-11-21T09:00:00+02:00', loads: { 'SET P1': { 'holdfast-1': row(0.3, 0.7) }, 'GET P16': { 'holdfast-3': row(0.8, 0.5) } } },
  // The same commit again, older: it does not count.
  { at: '2026-11-21T12:00:00Z', bench: 'throughput', commit: 'bbb', date: '2026-11-21T09:00:00+02:00', loads: { 'SET P1': { 'holdfast-1': row(9, 9) } } },
  { at: '2026-11-22T13:00:00Z', bench: 'leaderboard', commit: 'ccc', changed: true, date: '2026-11-22T09:00:00Z', loads: {}, summary: { 'holdfast-3': { 'reads P1': 0.85, 'writes P16': 0.4 } } },
  { at: '2026-11-24T13:00:00Z', bench: 'memory', commit: 'ddd', date: '2026-11-24T09:00:00Z', cases: {} },
];
const ndjson = lines.map((line) => JSON.stringify(line)).join('\n') + '\n';

function points(plot: Plot, title: string, peer: string): (readonly [number, string, number])[] {
  const panel = plot.panels.find((each) => each.title === title);
  const series = panel?.series.find((each) => each.peer === peer);
  if (series === undefined) throw new Error(`no ${title} of ${peer}`);
  return series.points.map(({ x, label, y }) => [x, label, y] as const);
}

describe('the points of the plot', () => {
  const plot = plotOf(parseResults(ndjson));

  test('commits are in order of their dates, not of the runs; a changed tree is one of its own; other benches add none', () => {
    expect(plot.commits).toEqual(['aaa', 'bbb', 'ccc', 'ccc*']);
  });

  test('writes are drawn beside appendfsync always, reads beside nothing on disk', () => {
    expect(points(plot, 'SET P1', 'holdfast-1')).toEqual([[0, 'aaa', 0.6], [1, 'bbb', 0.7], [2, 'ccc', 0.9]]);
    expect(points(plot, 'SET P1', 'holdfast-3')).toEqual([[0, 'aaa', 0.3]]);
    expect(points(plot, 'GET P16', 'holdfast-3')).toEqual([[1, 'bbb', 0.8]]);
    expect(points(plot, 'GET P1', 'holdfast-1')).toEqual([]);
    expect(points(plot, 'leaderboard reads P1', 'holdfast-3')).toEqual([[3, 'ccc*', 0.85]]);
    expect(points(plot, 'leaderboard writes P16', 'holdfast-3')).toEqual([[3, 'ccc*', 0.4]]);
  });

  test('floors', () => {
    const floors = plot.panels.filter(({ floor }) => floor !== undefined).map(({ title, of, floor }) => [title, of, floor]);
    expect(floors).toEqual([
      ['SET P1', 'redis-aof-always', 0.5],
      ['GET P1', 'redis', 0.85],
      ['SET P16', 'redis-aof-always', 1],
      ['GET P16', 'redis', 0.8],
      ['leaderboard writes P1', 'redis-aof-always', 0.5],
      ['leaderboard reads P1', 'redis', 0.8],
      ['leaderboard writes P16', 'redis-aof-always', 0.9],
      ['leaderboard reads P16', 'redis', 0.8],
    ]);
  });

  test('nothing measured draws nothing', () => {
    const empty = plotOf(parseResults('\n'));
    expect(empty.commits).toEqual([]);
    expect(empty.panels.flatMap(({ series }) => series.flatMap((each) => each.points))).toEqual([]);
  });
});

describe('the results file', () => {
  test('the newest run of a bench is the one that ran last', () => {
    expect(newest(parseResults(ndjson), 'throughput')?.commit).toBe('bbb');
    expect(newest(parseResults(ndjson), 'latency')).toBeUndefined();
  });

  test.each([
    ['{"at":"2026-11-20T10:00:00Z","commit":"a"', /line 3: not JSON/],
    ['7', /line 3: not an object/],
    ['[]', /line 3: not an object/],
    ['{"at":"2026-11-20T10:00:00Z","loads":{}}', /line 3: no commit/],
    ['{"at":"yesterday","commit":"a","loads":{}}', /line 3: no time in `at`/],
    ['{"at":"2026-11-20T10:00:00Z","date":"x","commit":"a","loads":{}}', /line 3: no time in `date`/],
    ['{"at":"2026-11-20T10:00:00Z","commit":"a"}', /line 3: no loads/],
    ['{"at":"2026-11-20T10:00:00Z","bench":3,"commit":"a"}', /line 3: no name/],
  ])('a malformed line is named by its number: %s', (bad, message) => {
    const good = JSON.stringify(lines[0]);
    expect(() => parseResults(`${good}\n\n${bad}\n${good}\n`)).toThrow(message);
  });

  test('the committed one can be read', () => {
    const file = path.join(fileURLToPath(new URL('../..', import.meta.url)), 'bench/results.ndjson');
    const runs = parseResults(fs.readFileSync(file, 'utf8'));
    expect(runs.length).toBeGreaterThan(0);
    const first = plotOf(runs).panels.flatMap(({ series }) => series.flatMap(({ points: each }) => each));
    expect(first.length).toBeGreaterThan(0);
  });
});
