// What only the directory store has: steps on the file system, and what is left behind when a process dies in one.
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDirectoryStore } from '../../../src/adapters/directory-store.ts';
import type { PutStep } from '../../../src/adapters/directory-store.ts';
import { readObject } from '../../../src/ports/object-store.ts';
import { startScript } from '../child-script.ts';
import { tempDir } from '../temp-dir.ts';
import { content, keysOf, refusal } from './content.ts';

const names = (dir: string): string[] => fs.readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort();

function failing(step: PutStep, code: string): (at: PutStep) => void {
  return (at) => {
    if (at === step) throw Object.assign(new Error(`${code}: as if`), { code });
  };
}

describe('the directory store', () => {
  test('what the file system refuses is said with code, path and advice; the old object stays, nothing else does', async () => {
    const dir = tempDir();
    await (await openDirectoryStore(dir)).put('a/k', [content(10)]);
    const cases = [
      ['write', 'ENOSPC', 'OBJECT_STORE_FULL', 'free space'],
      ['sync', 'EDQUOT', 'OBJECT_STORE_FULL', 'quota'],
      ['sync', 'EIO', 'OBJECT_STORE_UNREACHABLE', 'check that the disk'],
      ['rename', 'EROFS', 'OBJECT_STORE_REFUSED', 'read-only'],
      ['write', 'EACCES', 'OBJECT_STORE_REFUSED', 'access'],
    ] as const;
    for (const [step, code, kind, advice] of cases) {
      const store = await openDirectoryStore(dir, { before: failing(step, code) });
      for (const key of ['a/k', 'a/other', 'new/folder/k']) {
        const text = await refusal(store.put(key, [content(20)]), kind);
        expect(text).toContain(join(dir, key));
        expect(text).toContain(code);
        expect(text).toContain(advice);
      }
      expect(await readObject(store, 'a/k')).toHaveLength(10);
      expect(names(dir).filter((name) => fs.statSync(join(dir, name)).isFile())).toEqual(['a/k']);
    }
  });

  test('a root that is a file, cannot be made, or goes away while the store is open', async () => {
    const dir = tempDir();
    fs.writeFileSync(join(dir, 'file'), '');
    expect(await refusal(openDirectoryStore(join(dir, 'file')), 'OBJECT_STORE_REFUSED')).toContain('file');
    expect(await refusal(openDirectoryStore(join(dir, 'file/below')), 'OBJECT_STORE_REFUSED')).toContain('a part of the path is a file');
    const root = join(dir, 'made/with/parents');
    const store = await openDirectoryStore(root);
    await store.put('k', [content(1)]);
    fs.rmSync(root, { recursive: true });
    for (const f of [() => store.put('a/k', [content(1)]), () => store.list(''), () => store.head('k'), () => store.delete('k')]) {
      expect(await refusal(f(), 'OBJECT_STORE_UNREACHABLE')).toContain('mounted');
    }
    expect(fs.existsSync(root)).toBe(false); // an unmounted volume gets no objects
  });

  test('an object where a folder should be, and the other way round', async () => {
    const dir = tempDir();
    const store = await openDirectoryStore(dir);
    await store.put('a', [content(1)]);
    await refusal(store.put('a/b', [content(1)]), 'OBJECT_STORE_REFUSED');
    await store.put('c/d', [content(1)]);
    await refusal(store.put('c', [content(1)]), 'OBJECT_STORE_REFUSED');
    expect(await store.head('a/b')).toBeUndefined();
    expect(await store.head('c')).toBeUndefined();
    await refusal(store.get('c'), 'OBJECT_NOT_FOUND');
    expect(await keysOf(store)).toEqual(['a', 'c/d']);
  });

  test('symbolic links: none is followed to where an object would not be listed', async () => {
    const dir = tempDir();
    const elsewhere = tempDir();
    const store = await openDirectoryStore(dir);
    fs.symlinkSync(elsewhere, join(dir, 'a'));
    expect(await refusal(store.put('a/k', [content(1)]), 'OBJECT_STORE_REFUSED')).toMatch(/a is a symbolic link/);
    expect(await refusal(store.put('a/b/k', [content(1)]), 'OBJECT_STORE_REFUSED')).toMatch(/a is a symbolic link/);
    expect(names(elsewhere)).toEqual([]);
    // A put replaces a link that has an object's name, and leaves what it names alone.
    fs.writeFileSync(join(elsewhere, 'target'), 'theirs');
    fs.symlinkSync(join(elsewhere, 'target'), join(dir, 'k'));
    await store.put('k', [content(10)]);
    expect(fs.readFileSync(join(elsewhere, 'target'), 'utf8')).toBe('theirs');
    expect(await keysOf(store)).toEqual(['k']);
    // The root itself may be one.
    fs.symlinkSync(dir, join(elsewhere, 'root'));
    expect(await keysOf(await openDirectoryStore(join(elsewhere, 'root')))).toEqual(['k']);
  });

  test('leftovers: those of dead processes here at once, of other machines after a day, of the living never', async () => {
    const dir = tempDir();
    const store = await openDirectoryStore(dir);
    await store.put('a/k', [content(1)]);
    const { pid: deadPid } = spawnSync('true');
    const hex = '0123456789abcdef';
    const leave = (name: string, ageHours: number): string => {
      const path = join(dir, name);
      fs.mkdirSync(join(path, '..'), { recursive: true });
      fs.writeFileSync(path, 'half');
      const seconds = Date.now() / 1000 - ageHours * 3600;
      fs.utimesSync(path, seconds, seconds);
      return name;
    };
    const stale = [
      leave(`.put-${hostname()}-${deadPid}-${hex}`, 0),
      leave(`b/c/.put-${hostname()}-${deadPid}-${hex}`, 0),
      leave(`a/.put-elsewhere-1-${hex}`, 25),
      leave(`a/.put-${hostname()}-${process.pid}-${hex}`, 24 * 365), // an earlier process with our number, as in a container
    ];
    const alive = [
      leave(`a/.put-elsewhere-2-${hex}`, 23),
      leave(`a/.put-${hostname()}-${process.ppid}-${hex}`, 48),
      leave(`a/.put-${hostname()}-${process.pid}-1${hex.slice(1)}`, 0),
    ];
    expect(await keysOf(store)).toEqual(['a/k']);
    await openDirectoryStore(dir);
    expect(stale.filter((name) => fs.existsSync(join(dir, name)))).toEqual([]);
    expect(alive.filter((name) => !fs.existsSync(join(dir, name)))).toEqual([]);
    expect(fs.existsSync(join(dir, 'b'))).toBe(false); // folders that held nothing else
    expect(await store.removeLeftovers(3_600_000)).toBe(1);
  });

  test('a file cut off or changed while it is read is damage', async () => {
    const dir = tempDir();
    const store = await openDirectoryStore(dir);
    const { sha256 } = await store.put('k', [content(600_000)]);
    const body = await store.get('k');
    fs.truncateSync(join(dir, 'k'), 300_000);
    const text = await refusal((async () => { for await (const chunk of body) expect(chunk.length).toBeGreaterThan(0); })(), 'OBJECT_DAMAGED');
    expect(text).toContain('300000 of 600000');
    await refusal(readObject(store, 'k', { sha256 }), 'OBJECT_DAMAGED');
  });

  test('killed at any moment: what has a name is whole, and the next one to open clears up', async () => {
    const dir = tempDir();
    const script = startScript(
      `import { openDirectoryStore } from './src/adapters/directory-store.ts';
       const store = await openDirectoryStore(process.argv[2]);
       for (let n = 0; ; n++) {
         const fill = n % 256;
         await store.put(\`f\${n % 7}/k\${n % 3}\`, (function* () { for (let i = 0; i < 8; i++) yield new Uint8Array(50_000).fill(fill); })());
         console.log(n);
       }`,
      [dir],
    );
    await script.lines(5 + Math.floor(Math.random() * 40));
    await script.kill('SIGKILL');
    const store = await openDirectoryStore(dir);
    expect(names(dir).filter((name) => name.includes('.put-'))).toEqual([]);
    const keys = await keysOf(store);
    expect(keys.length).toBeGreaterThan(4);
    for (const key of keys) {
      const body = await readObject(store, key);
      expect(body).toHaveLength(400_000);
      expect(body.every((byte) => byte === body[0]), key).toBe(true);
    }
  });
});
