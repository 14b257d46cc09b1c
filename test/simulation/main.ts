// The command line of the simulation (scripts/simulate.mjs): fresh seeds for a while, or one seed.
import { Simulator, type RunOptions, type RunResult } from './simulator.ts';

export function runSeed(options: RunOptions): RunResult {
  return new Simulator(options).run();
}

export interface Totals {
  seeds: number;
  steps: number;
  simulatedMs: number;
  entries: number;
  readonly counts: Record<string, number>;
}

export const newTotals = (): Totals => ({ seeds: 0, steps: 0, simulatedMs: 0, entries: 0, counts: {} });

export function addTo(totals: Totals, result: RunResult): void {
  totals.seeds++;
  totals.steps += result.steps;
  totals.simulatedMs += result.simulatedMs;
  totals.entries += result.entries;
  for (const [name, count] of Object.entries(result.counts)) totals.counts[name] = (totals.counts[name] ?? 0) + count;
}

export function describeTotals(totals: Totals): string {
  const counts = Object.entries(totals.counts).map(([name, count]) => `${name} ${count}`).join(', ');
  return (
    `${totals.seeds} seeds, ${totals.steps} events, ${(totals.simulatedMs / 1000).toFixed(0)} simulated seconds, ` +
    `${totals.entries} log entries; ${counts}`
  );
}

/** What a failing seed says: the finding, the way to see it again, and what led to it. */
export function describeFailure(result: RunResult, nodes: number | undefined, commit: string, tailLines = 60): string {
  return [
    `seed ${result.seed} FAILED at ${result.simulatedMs.toFixed(1)} simulated ms (commit ${commit}): ${result.failure?.message}`,
    `again: npm run simulate -- --seed ${result.seed}${nodes === undefined ? '' : ` --nodes ${nodes}`}`,
    ...result.tail.slice(-tailLines),
    result.failure?.stack ?? '',
  ].join('\n');
}
