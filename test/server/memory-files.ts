// Configuration files that are only in memory; paths as on POSIX.
import type { ConfigFiles } from '../../src/server/config-file.ts';

export class MemoryFiles implements ConfigFiles {
  readonly contents = new Map<string, string>();
  failReplace: string | undefined;

  constructor(contents: Readonly<Record<string, string>> = {}) {
    for (const [path, text] of Object.entries(contents)) this.contents.set(path, text);
  }

  read(path: string): string {
    const text = this.contents.get(path);
    if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
    return text;
  }

  replace(path: string, text: string): void {
    if (this.failReplace !== undefined) throw new Error(this.failReplace);
    this.contents.set(path, text);
  }

  resolve(from: string, path: string): string {
    const start = path.startsWith('/') ? [] : from.split('/').slice(0, -1);
    const parts: string[] = [];
    for (const part of [...start, ...path.split('/')]) {
      if (part === '..') parts.pop();
      else if (part !== '' && part !== '.') parts.push(part);
    }
    return `/${parts.join('/')}`;
  }
}
