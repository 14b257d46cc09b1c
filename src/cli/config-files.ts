// The configuration's files on disk.
import fs from 'node:fs';
import path from 'node:path';
import { replaceSynced } from '../adapters/fsync.ts';
import type { ConfigFiles } from '../server/config-file.ts';

export const nodeConfigFiles: ConfigFiles = {
  read: (file) => fs.readFileSync(file, 'utf8'),
  replace: (file, text) => replaceSynced(file, `${file}.${process.pid}.tmp`, text),
  resolve: (from, file) => path.resolve(from === '' ? process.cwd() : path.dirname(from), file),
};
