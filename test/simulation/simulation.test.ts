// The deterministic simulation, as part of the unit tests: seeds that once failed, then fresh ones for a while
// (SIMULATION_SECONDS, 30 unless set), then the tests of the simulation itself. A failure prints the seed and the command that runs it again.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { addTo, describeFailure, describeTotals, newTotals, runSeed } from './main.ts';
import { SEEDED_BUGS } from './seeded-bugs.ts';
import { Violation } from './trace.ts';

const FRESH_SECONDS = Number(process.env['SIMULATION_SECONDS'] ?? '30');

interface Regression {
  readonly seed: number;
  readonly nodes?: number;
  readonly membership?: boolean;
  readonly note: string;
}

const regressions = JSON.parse(readFileSync(new URL('./regressions.json', import.meta.url), 'utf8')) as Regression[];

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

describe('the cluster in simulation', () => {
  for (const { seed, nodes, membership, note } of regressions) {
    test(`seed ${seed}: ${note}`, () => {
      const result = runSeed({ seed, ...(nodes === undefined ? {} : { nodes }), ...(membership === undefined ? {} : { membership }) });
      if (result.failure !== undefined) throw new Error(describeFailure(result, nodes, commit()));
    });
  }

  test('fresh seeds', { timeout: (FRESH_SECONDS + 120) * 1000 }, () => {
    const totals = newTotals();
    const untilMs = Date.now() + FRESH_SECONDS * 1000;
    for (let seed = Math.floor(Math.random() * 2 ** 40); Date.now() < untilMs; seed++) {
      const result = runSeed({ seed });
      addTo(totals, result);
      if (result.failure !== undefined) throw new Error(describeFailure(result, undefined, commit()));
    }
    console.log(`simulation: ${describeTotals(totals)}`);
    expect(totals.seeds).toBeGreaterThan(0);
    expect(totals.counts['acknowledged']).toBeGreaterThan(0);
    expect(totals.counts['paused entries']).toBeGreaterThan(0);
  });

  test('the same seed gives the same run, event for event', () => {
    const seed = Math.floor(Math.random() * 2 ** 40);
    const first = runSeed({ seed });
    const second = runSeed({ seed });
    expect({ seed, hash: second.traceHash, steps: second.steps }).toEqual({ seed, hash: first.traceHash, steps: first.steps });
    expect(runSeed({ seed: seed + 1 }).traceHash).not.toBe(first.traceHash);
  });
});

describe('the simulation finds what was broken on purpose', () => {
  for (const { name, bugs, options, rules, seedsMax } of SEEDED_BUGS) {
    test(name, { timeout: 300_000 }, () => {
      // From 1 on, so that it takes the same time on every run; from anywhere where SIMULATION_BUGS=fresh.
      const start = process.env['SIMULATION_BUGS'] === 'fresh' ? Math.floor(Math.random() * 2 ** 40) : 1;
      for (let seed = start; seed < start + seedsMax; seed++) {
        const { failure } = runSeed({ ...options, seed, bugs });
        if (failure === undefined) continue;
        const rule = failure instanceof Violation ? failure.rule : 'assertion';
        expect(rules, `seed ${seed}: ${failure.stack}`).toContain(rule);
        return;
      }
      throw new Error(`none of ${seedsMax} seeds from ${start} on found it`);
    });
  }
});
