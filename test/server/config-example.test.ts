import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { exampleConfig } from '../../src/server/config.ts';

test('config/holdfast.conf is what the declarations say (UPDATE_EXAMPLE=1 writes it anew)', async () => {
  const path = new URL('../../config/holdfast.conf', import.meta.url);
  if (process.env['UPDATE_EXAMPLE'] === '1') {
    const { writeFileSync } = await import('node:fs');
    writeFileSync(path, exampleConfig());
  }
  expect(readFileSync(path, 'utf8')).toBe(exampleConfig());
});
