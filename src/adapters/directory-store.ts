// An object store in a directory: a local disk, or one that several nodes mount. Owns everything under its root.
//
// An object is the file ROOT/KEY. A put writes ROOT/…/.put-HOST-PID-RANDOM beside it, syncs it, renames it, and syncs the
// directory and those above it up to the root. So what has a key's name is whole, whenever the machine stops.
//
// What must hold:
// - Names that begin with a dot are no keys (src/ports/object-store.ts), so no put is ever listed, and nothing leaves the root.
// - The root is made when the store is opened and never after that: a volume that is no longer mounted gets no objects.
// - Processes may share a root. A put of another living process is no leftover.
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { KiB } from '../base/limits.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import type { OperationalCode } from '../base/errors.ts';
import type { ByteRange, ByteSource, GetOptions, ListOptions, ListPage, ListedObject, ObjectBody, ObjectInfo, ObjectStore, PutOptions, PutResult } from '../ports/object-store.ts';
import { SlicedFile, syncPathAside } from './fsync.ts';
import { ContentCheck, DAMAGED_ADVICE, SOURCE_ADVICE, assertGet, assertKey } from './object-check.ts';

const READ_BYTES = 256 * KiB;
/** A page reads the names of its folders anew, so pages are large: a folder may have many more names than one page. */
const PAGE_OBJECTS_MAX = 20_000;
/** What another machine's process left behind has not changed for this long when a store is opened. */
const FOREIGN_LEFTOVER_MS = 24 * 3600 * 1000;
/** A directory can be pruned between being made and being used; a put then makes it again, this often. */
const MAKE_ATTEMPTS_MAX = 10;

const TEMPORARY = /^\.put-(.*)-(\d+)-[0-9a-f]{16}$/;
const HOST = hostname();

export interface DirectoryStoreOptions {
  /** For tests: runs before each step of a put, and may throw what the file system would. */
  readonly before?: (step: PutStep, key: string) => void;
}
export type PutStep = 'write' | 'sync' | 'rename' | 'sync-directory';

/** Opens the store, makes its root if it is not there, and removes what dead processes of this machine left in it. */
export async function openDirectoryStore(path: string, options: DirectoryStoreOptions = {}): Promise<DirectoryStore> {
  const root = resolve(path);
  try {
    const made = await fs.mkdir(root, { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncUpwards(root, dirname(made));
    await fs.access(root, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    if (!(await fs.stat(root)).isDirectory()) throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR' });
  } catch (thrown) {
    throw storeError(thrown, `object store ${root} cannot be opened`);
  }
  const store = new DirectoryStore(root, options.before);
  await store.removeLeftovers(FOREIGN_LEFTOVER_MS);
  return store;
}

export class DirectoryStore implements ObjectStore {
  readonly location: string;
  readonly #root: string;
  readonly #before: (step: PutStep, key: string) => void;

  constructor(root: string, before: (step: PutStep, key: string) => void = () => {}) {
    this.#root = root;
    this.location = root;
    this.#before = before;
  }

  async put(key: string, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    assertKey(key);
    const path = join(this.#root, key);
    const what = `writing ${path}`;
    const temporary = join(dirname(path), `.put-${HOST}-${process.pid}-${randomBytes(8).toString('hex')}`);
    const file = await this.#create(temporary).catch((thrown: unknown) => { throw storeError(thrown, what); });
    try {
      const check = new ContentCheck(options);
      const sliced = new SlicedFile(file);
      // The source's own errors pass as they are; only the file's are translated.
      for await (const chunk of source) {
        check.update(chunk);
        await translated(what, async () => {
          this.#before('write', key);
          await sliced.append(chunk);
        });
      }
      const sha256 = check.finish(`what was to be stored as ${path}`, SOURCE_ADVICE);
      const etag = await translated(what, async () => {
        this.#before('sync', key);
        await file.sync();
        const stats = await file.stat({ bigint: true });
        await file.close();
        this.#before('rename', key);
        await fs.rename(temporary, path);
        this.#before('sync-directory', key);
        await syncUpwards(dirname(path), this.#root);
        return etagOf(stats);
      });
      return { bytes: check.bytes, sha256, etag };
    } catch (thrown) {
      await file.close().catch(() => {});
      await fs.rm(temporary, { force: true }).catch(() => {});
      throw thrown;
    }
  }

  /** A new file, and the directories above it up to the root, which must be there. */
  async #create(temporary: string): Promise<fs.FileHandle> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#refuseLinks(dirname(temporary));
        await this.#makeDirectories(dirname(temporary));
        return await fs.open(temporary, 'wx', 0o600);
      } catch (thrown) {
        if (codeOf(thrown) !== 'ENOENT' || attempt === MAKE_ATTEMPTS_MAX || !(await isThere(this.#root))) throw thrown;
      }
    }
  }

  /** An object behind a symbolic link would be stored, and not be listed. */
  async #refuseLinks(path: string): Promise<void> {
    if (path === this.#root) return;
    await this.#refuseLinks(dirname(path));
    const stats = await fs.lstat(path).catch(() => undefined);
    if (stats?.isSymbolicLink() === true) throw new OperationalError('OBJECT_STORE_REFUSED', `${path} is a symbolic link; make it a directory, or mount there what it names`);
  }

  async #makeDirectories(path: string): Promise<void> {
    if (path === this.#root) return;
    try {
      await fs.mkdir(path, { mode: 0o700 });
    } catch (thrown) {
      if (codeOf(thrown) === 'EEXIST') return;
      if (codeOf(thrown) !== 'ENOENT') throw thrown;
      await this.#makeDirectories(dirname(path));
      await fs.mkdir(path, { mode: 0o700 }).catch((again: unknown) => { if (codeOf(again) !== 'EEXIST') throw again; });
    }
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody> {
    assertGet(key, options);
    const path = join(this.#root, key);
    return translated(`reading ${path}`, async () => {
      const file = await fs.open(path, 'r');
      try {
        const stats = await file.stat({ bigint: true });
        if (!stats.isFile()) throw notFound(path);
        const info = infoOf(key, stats);
        const chunks = readFile(file, path, info.bytes, options);
        return { info, [Symbol.asyncIterator]: () => chunks };
      } catch (thrown) {
        await file.close();
        throw thrown;
      }
    });
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    assertKey(key);
    const path = join(this.#root, key);
    try {
      const stats = await fs.stat(path, { bigint: true });
      return stats.isFile() ? infoOf(key, stats) : undefined;
    } catch (thrown) {
      if (isMissing(thrown) && (await isThere(this.#root))) return undefined;
      throw storeError(thrown, `looking at ${path}`);
    }
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    const limit = Math.min(options.limit ?? PAGE_OBJECTS_MAX, PAGE_OBJECTS_MAX);
    const objects: ListedObject[] = [];
    return translated(`listing ${join(this.#root, prefix)}`, async () => {
      await fs.access(this.#root);
      for await (const key of this.#keys('', prefix, options.after ?? '')) {
        if (objects.length === limit) return { objects, next: objects.at(-1)?.key };
        const stats = await fs.stat(join(this.#root, key), { bigint: true }).catch(() => undefined);
        if (stats?.isFile()) objects.push(infoOf(key, stats)); // else deleted meanwhile
      }
      return { objects, next: undefined };
    });
  }

  /** Keys in ascending order, without visiting directories that can have none of those asked for. */
  async *#keys(folder: string, prefix: string, after: string): AsyncGenerator<string> {
    const entries = await fs.readdir(join(this.#root, folder), { withFileTypes: true }).catch((thrown: unknown) => {
      if (isMissing(thrown)) return []; // pruned meanwhile
      throw thrown;
    });
    // A slash behind a directory's name makes the order of this level that of whole keys.
    const names = entries.filter(({ name }) => !name.startsWith('.')).map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : ''));
    for (const name of names.sort()) {
      if (name.endsWith('/')) {
        const mayHold = name.startsWith(prefix) || prefix.startsWith(name);
        const isBehind = name > after || after.startsWith(name);
        if (mayHold && isBehind) yield* this.#keys(name, prefix, after);
      } else if (name.startsWith(prefix) && name > after) {
        yield name;
      }
    }
  }

  async delete(key: string): Promise<void> {
    assertKey(key);
    const path = join(this.#root, key);
    await translated(`deleting ${path}`, async () => {
      try {
        await fs.unlink(path);
      } catch (thrown) {
        if (!isMissing(thrown)) throw thrown;
        await fs.access(this.#root);
        return;
      }
      await this.#prune(dirname(path));
    });
  }

  /** Removes directories that have become empty, and makes what is left durable. */
  async #prune(path: string): Promise<void> {
    for (let at = path; ; at = dirname(at)) {
      if (at === this.#root || !(await fs.rmdir(at).then(() => true, () => false))) {
        // Gone: another delete was here first, and has synced what is above.
        await syncPathAside(at).catch((thrown: unknown) => { if (!isMissing(thrown)) throw thrown; });
        return;
      }
    }
  }

  async removeLeftovers(olderThanMs: number): Promise<number> {
    let removed = 0;
    await translated(`clearing up ${this.#root}`, async () => {
      for await (const path of temporaries(this.#root)) {
        if (!(await isLeftover(path, olderThanMs))) continue;
        await fs.rm(path, { force: true });
        if (dirname(path) !== this.#root) await this.#prune(dirname(path));
        removed++;
      }
    });
    return removed;
  }

  close(): void {}
}

async function* temporaries(folder: string): AsyncGenerator<string> {
  for (const entry of await fs.readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* temporaries(path);
    else if (TEMPORARY.test(entry.name)) yield path;
  }
}

/** Of this machine: its process is gone, or is an earlier one with our number. Of another: it has not been touched for long. */
async function isLeftover(path: string, olderThanMs: number): Promise<boolean> {
  const [, host, pidText] = TEMPORARY.exec(path.slice(dirname(path).length + 1)) ?? [];
  const stats = await fs.stat(path).catch(() => undefined);
  if (stats === undefined) return false;
  const nowMs = Date.now();
  if (host !== HOST) return nowMs - stats.mtimeMs > olderThanMs;
  const pid = Number(pidText);
  if (pid === process.pid) return stats.mtimeMs < nowMs - process.uptime() * 1000;
  try {
    process.kill(pid, 0);
    return false;
  } catch (thrown) {
    return codeOf(thrown) === 'ESRCH';
  }
}

async function* readFile(file: fs.FileHandle, path: string, fileBytes: number, options: GetOptions): AsyncGenerator<Uint8Array> {
  const range: ByteRange = options.range ?? { from: 0, to: fileBytes };
  const to = Math.min(range.to, fileBytes);
  const check = options.sha256 === undefined && options.bytes === undefined ? undefined : new ContentCheck(options);
  try {
    for (let at = range.from; at < to;) {
      const chunk = new Uint8Array(Math.min(READ_BYTES, to - at));
      const { bytesRead } = await translated(`reading ${path}`, () => file.read(chunk, 0, chunk.length, at));
      if (bytesRead === 0) throw new OperationalError('OBJECT_DAMAGED', `${path} was cut off at ${at} of ${fileBytes} bytes while it was read; ${DAMAGED_ADVICE}`);
      const filled = chunk.subarray(0, bytesRead);
      check?.update(filled);
      at += bytesRead;
      yield filled;
    }
    check?.finish(path, DAMAGED_ADVICE);
  } finally {
    await file.close();
  }
}

/** From `path` up to `top`, both included: another process may have made one of them and not synced it yet. */
async function syncUpwards(path: string, top: string): Promise<void> {
  for (let at = path; ; at = dirname(at)) {
    await syncPathAside(at);
    if (at === top || at === dirname(at)) return;
  }
}

function infoOf(key: string, stats: BigIntStats): ObjectInfo {
  const bytes = Number(stats.size);
  return { key, bytes, storedBytes: bytes, modifiedMs: Number(stats.mtimeMs), etag: etagOf(stats) };
}

const etagOf = (stats: BigIntStats): string => `${stats.ino.toString(16)}-${stats.mtimeNs.toString(16)}-${stats.size.toString(16)}`;
const codeOf = (thrown: unknown): string => String((thrown as NodeJS.ErrnoException | undefined)?.code ?? '');
/** ENOTDIR: what would be a folder of the key is an object. */
const isMissing = (thrown: unknown): boolean => codeOf(thrown) === 'ENOENT' || codeOf(thrown) === 'ENOTDIR';
const isThere = (path: string): Promise<boolean> => fs.access(path).then(() => true, () => false);

function notFound(path: string): OperationalError {
  return new OperationalError('OBJECT_NOT_FOUND', `${path} is not there; check the directory of the object store, and whether the object was deleted`);
}

async function translated<T>(what: string, f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (thrown) {
    throw storeError(thrown, what);
  }
}

const KINDS: Readonly<Record<string, readonly [OperationalCode, string]>> = {
  ENOSPC: ['OBJECT_STORE_FULL', 'free space on that file system, or keep fewer snapshots'],
  EDQUOT: ['OBJECT_STORE_FULL', 'raise the quota, or keep fewer snapshots'],
  EACCES: ['OBJECT_STORE_REFUSED', 'give this user read and write access to the directory'],
  EPERM: ['OBJECT_STORE_REFUSED', 'give this user read and write access to the directory'],
  EROFS: ['OBJECT_STORE_REFUSED', 'the file system is mounted read-only; mount it for writing'],
  ENOTDIR: ['OBJECT_STORE_REFUSED', 'a part of the path is a file; choose another directory'],
  EEXIST: ['OBJECT_STORE_REFUSED', 'a part of the path is a file; choose another directory'],
  EISDIR: ['OBJECT_STORE_REFUSED', 'a directory stands where the object belongs; choose another directory'],
  ENOTEMPTY: ['OBJECT_STORE_REFUSED', 'a directory stands where the object belongs; choose another directory'],
};

function storeError(thrown: unknown, what: string): unknown {
  if (thrown instanceof OperationalError) return thrown;
  const code = codeOf(thrown);
  if (code === '') return thrown; // not the file system's: a bug
  if (code === 'ENOENT' && what.startsWith('reading')) return notFound(what.slice('reading '.length));
  const [kind, advice] = KINDS[code] ?? (['OBJECT_STORE_UNREACHABLE', 'check that the disk is well and the directory is mounted'] as const);
  return new OperationalError(kind, `${what}: ${errorText(thrown)}; ${advice}`, { cause: thrown });
}
