// The one reader of restore.json: what is there, what is not, what cannot be read, and what is of another cluster.
import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { metaFile, readMeta, usableMeta } from '../../src/cli/snapshot-files.ts';
import { encodeRestoreMeta } from '../../src/snapshot/restore-files.ts';
import { tempDir } from '../adapters/temp-dir.ts';

const META = { clusterId: 'c', index: 7, term: 2, timeMs: 5, digest: '0123456789abcdef' };

test('restore.json is read alike wherever it stands, and one that cannot be read is told of and passed over', () => {
  const dir = tempDir();
  const told: unknown[] = [];
  const logger = { debug: () => {}, info: () => {}, warn: () => {}, error: (fields: object, text: string): void => void told.push({ ...fields, text }) };
  const usable = (): unknown => usableMeta(dir, 'c', logger);
  expect([usable(), readMeta(path.join(dir, 'none')), told]).toEqual([undefined, undefined, []]);
  fs.writeFileSync(metaFile(dir), encodeRestoreMeta(META));
  expect(usable()).toEqual(META);
  expect(usableMeta(dir, 'another', logger)).toBeUndefined();
  // A file where a folder was expected is no snapshot.
  expect(usableMeta(metaFile(dir), 'c', logger)).toBeUndefined();
  expect(told).toEqual([]);
  fs.writeFileSync(metaFile(dir), '{');
  expect(usable()).toBeUndefined();
  expect(told).toEqual([{ folder: dir, reason: expect.stringMatching(/restore\.json is damaged .* look after this disk/) as string, text: 'a snapshot on this disk cannot be read: it is passed over' }]);
  fs.rmSync(metaFile(dir));
  fs.mkdirSync(metaFile(dir));
  expect(() => readMeta(dir)).toThrow(/restore\.json cannot be read/);
});
