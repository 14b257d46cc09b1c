// An object store in memory, and one over it that fails or crashes at a chosen operation.
import { ContentCheck } from '../../src/adapters/object-check.ts';
import { OperationalError } from '../../src/base/errors.ts';
import type { ByteSource, GetOptions, ListOptions, ListPage, ListedObject, ObjectBody, ObjectInfo, ObjectStore, PutOptions, PutResult } from '../../src/ports/object-store.ts';

interface Stored {
  readonly content: Uint8Array;
  readonly modifiedMs: number;
  readonly version: number;
}

export class MemoryStore implements ObjectStore {
  readonly location = 'the store in memory';
  readonly objects = new Map<string, Stored>();
  readonly #nowMs: () => number;
  #versions = 0;

  constructor(nowMs: () => number = () => 0) {
    this.#nowMs = nowMs;
  }

  async put(key: string, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    const check = new ContentCheck(options);
    const chunks: Uint8Array[] = [];
    for await (const chunk of source) {
      check.update(chunk);
      chunks.push(Uint8Array.from(chunk));
    }
    const sha256 = check.finish(key, 'nothing was stored');
    const version = ++this.#versions;
    this.objects.set(key, { content: Buffer.concat(chunks), modifiedMs: this.#nowMs(), version });
    return { bytes: check.bytes, sha256, etag: String(version) };
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody> {
    await Promise.resolve();
    const stored = this.objects.get(key);
    if (stored === undefined) throw new OperationalError('OBJECT_NOT_FOUND', `${key} is not there; check it`);
    const { range } = options;
    const content = range === undefined ? stored.content : stored.content.subarray(range.from, range.to);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      const check = new ContentCheck(options);
      for (let at = 0; at < content.length; at += 10_000) {
        await Promise.resolve();
        const chunk = content.slice(at, at + 10_000);
        check.update(chunk);
        yield chunk;
      }
      check.finish(key, 'use another one');
    }
    const body = chunks();
    return { info: this.#info(key, stored), [Symbol.asyncIterator]: () => body };
  }

  #info(key: string, { content, modifiedMs, version }: Stored): ObjectInfo {
    return { key, bytes: content.length, storedBytes: content.length, modifiedMs, etag: String(version) };
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    await Promise.resolve();
    const stored = this.objects.get(key);
    return stored === undefined ? undefined : this.#info(key, stored);
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    await Promise.resolve();
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > (options.after ?? '')).sort();
    const limit = options.limit ?? 1000;
    const objects: ListedObject[] = keys.slice(0, limit).map((key) => this.#info(key, this.objects.get(key)!));
    return { objects, next: keys.length > limit ? keys[limit - 1] : undefined };
  }

  async delete(key: string): Promise<void> {
    await Promise.resolve();
    this.objects.delete(key);
  }

  removeLeftovers(): Promise<number> {
    return Promise.resolve(0);
  }

  close(): void {}

  /** Changes one byte of an object. */
  damage(key: string, at: number): void {
    const stored = this.objects.get(key);
    if (stored === undefined) throw new Error(`no ${key}`);
    const content = Uint8Array.from(stored.content);
    content[at]! ^= 1;
    this.objects.set(key, { ...stored, content });
  }
}

/** The process has died; not an OperationalError, so nothing that works on failures catches it. */
export class Crash extends Error {}

export const FAULTS = ['fails', 'fails, but was done', 'crashes', 'crashes, but was done'] as const;
export type Fault = (typeof FAULTS)[number];

/** Counts the steps of everything outside the process, and lets one of them go wrong. */
export class Faults {
  steps = 0;
  readonly #at: number;
  readonly #fault: Fault;
  readonly names: string[] = [];
  #dead = false;

  constructor(at: number, fault: Fault) {
    this.#at = at;
    this.#fault = fault;
  }

  get hit(): boolean {
    return this.steps >= this.#at;
  }

  async step<T>(name: string, f: () => Promise<T>): Promise<T> {
    if (this.#dead) throw new Crash('dead');
    this.steps++;
    this.names.push(name);
    if (this.steps !== this.#at) {
      const result = await f();
      if (this.#dead) throw new Crash('dead');
      return result;
    }
    if (this.#fault.endsWith('was done')) await f();
    if (this.#fault.startsWith('fails')) throw new OperationalError('OBJECT_STORE_UNREACHABLE', `${name} failed, as the test wants`);
    this.#dead = true;
    throw new Crash(name);
  }
}

export class FaultyStore implements ObjectStore {
  readonly location = 'the store with faults';
  readonly #inner: ObjectStore;
  readonly #faults: Faults;

  constructor(inner: ObjectStore, faults: Faults) {
    this.#inner = inner;
    this.#faults = faults;
  }

  put(key: string, source: ByteSource, options?: PutOptions): Promise<PutResult> {
    return this.#faults.step(`put ${key}`, () => this.#inner.put(key, source, options));
  }

  async get(key: string, options?: GetOptions): Promise<ObjectBody> {
    const body = await this.#faults.step(`get ${key}`, () => this.#inner.get(key, options));
    const faults = this.#faults;
    async function* chunks(): AsyncGenerator<Uint8Array> {
      const inner = body[Symbol.asyncIterator]();
      for (;;) {
        const step = await faults.step(`read ${key}`, () => inner.next());
        if (step.done === true) return;
        yield step.value;
      }
    }
    const own = chunks();
    return { info: body.info, [Symbol.asyncIterator]: () => own };
  }

  head(key: string): Promise<ObjectInfo | undefined> {
    return this.#faults.step(`head ${key}`, () => this.#inner.head(key));
  }

  list(prefix: string, options?: ListOptions): Promise<ListPage> {
    return this.#faults.step(`list ${prefix}`, () => this.#inner.list(prefix, options));
  }

  delete(key: string): Promise<void> {
    return this.#faults.step(`delete ${key}`, () => this.#inner.delete(key));
  }

  removeLeftovers(olderThanMs: number): Promise<number> {
    return this.#faults.step('removeLeftovers', () => this.#inner.removeLeftovers(olderThanMs));
  }

  close(): void {}
}
