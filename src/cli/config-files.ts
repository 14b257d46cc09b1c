// The configuration's files on disk.
import fs from 'node:fs';
import path from 'node:path';
import type { ConfigFiles } from '../server/config-file.ts';

export const nodeConfigFiles: ConfigFiles = {
  read: (file) => fs.readFileSync(file, 'utf8'),
  replace(file, text) {
    const temporary = `${file}.${process.pid}.tmp`;
    const fd = fs.openSync(temporary, 'w', 0o600);
    try {
      fs.writeFileSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, file);
    const dir = fs.openSync(path.dirname(file), 'r');
    try {
      fs.fsyncSync(dir);
    } finally {
      fs.closeSync(dir);
    }
  },
  resolve: (from, file) => path.resolve(from === '' ? process.cwd() : path.dirname(from), file),
};
