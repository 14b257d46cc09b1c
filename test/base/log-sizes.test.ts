import { expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { LogSizes } from '../../src/base/log-sizes.ts';
import { Prng } from '../../src/base/prng.ts';

const ENTRY_BYTES_MAX = 3 * MiB;

test.each([{ truncates: false }, { truncates: true }])('against a plain list: what may be cut with so many bytes left ($truncates)', ({ truncates }) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const prng = new Prng(seed);
  const sizes = new LogSizes(100);
  let base = 100;
  let bytes: number[] = [];
  for (let step = 0; step < 5000; step++) {
    const dice = prng.below(100);
    if (dice < 90) {
      const entry = prng.chance(0.1) ? prng.below(ENTRY_BYTES_MAX) : prng.below(MiB / 4);
      sizes.add(base + bytes.length + 1, entry);
      bytes.push(entry);
    } else if (dice < 93 && truncates && bytes.length > 0) {
      const keep = Math.max(0, bytes.length - prng.below(20));
      bytes = bytes.slice(0, keep);
      sizes.add(base + keep + 1, 1000);
      bytes.push(1000);
    } else if (dice < 95) {
      const cut = prng.below(bytes.length + 1);
      sizes.cut(base + cut);
      base += cut;
      bytes = bytes.slice(cut);
    }
    const wanted = prng.pick([0, MiB, 5 * MiB, 50 * MiB]);
    const at = sizes.keeping(wanted);
    const note = `seed ${seed}, step ${step}`;
    expect(at, note).toBeGreaterThanOrEqual(base);
    expect(at, note).toBeLessThanOrEqual(base + bytes.length);
    const total = bytes.reduce((sum, one) => sum + one, 0);
    if (at > base) expect(bytes.slice(at - base).reduce((sum, one) => sum + one, 0), note).toBeGreaterThanOrEqual(wanted);
    // A truncation has up to a mark's worth counted for nothing, so that more is kept.
    if (!truncates && total > wanted + 3 * MiB + ENTRY_BYTES_MAX) expect(at, note).toBeGreaterThan(base);
  }
});
