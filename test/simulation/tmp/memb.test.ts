import { test } from 'vitest';
import { addTo, describeFailure, describeTotals, newTotals, runSeed } from '../main.ts';
test('x', { timeout: 300_000 }, () => {
  const totals = newTotals();
  const until = Date.now() + Number(process.env['S'] ?? '40') * 1000;
  const only = process.env['SEED'];
  for (let seed = only === undefined ? Math.floor(Math.random() * 2 ** 40) : Number(only); Date.now() < until; seed++) {
    const result = runSeed({ seed, membership: true, ...(only !== undefined && process.env['TRACE'] ? { onTrace: (l: string) => console.log(l) } : {}) });
    addTo(totals, result);
    if (result.failure !== undefined) throw new Error(describeFailure(result, undefined, 'x'));
    if (only !== undefined) break;
  }
  console.log(describeTotals(totals));
});
