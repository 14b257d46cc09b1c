// holdfast init in a directory that holdfast restore has made, or left half made.
import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { init } from '../../src/cli/init.ts';
import { encodeRestoreMeta, RestoreFile } from '../../src/snapshot/restore-files.ts';
import { tempDir } from '../adapters/temp-dir.ts';

const make = (dir: string) => init(undefined, ['--dir', dir, '--node-id', 'n1'], false);

test('a directory where the restore did not finish is refused: the node would begin empty', () => {
  const dir = tempDir();
  fs.mkdirSync(path.join(dir, RestoreFile.folder));
  fs.writeFileSync(path.join(dir, RestoreFile.rdb), 'REDIS0010');
  expect(() => make(dir)).toThrow(/the restore, or the copy of it, did not finish/);
  expect(fs.existsSync(path.join(dir, 'log.db'))).toBe(false);
  fs.writeFileSync(path.join(dir, RestoreFile.meta), encodeRestoreMeta({ clusterId: 'ab12', index: 77, term: 3, timeMs: 9, digest: '0'.repeat(16) }));
  expect(make(dir).clusterId).toBe('ab12');
});
