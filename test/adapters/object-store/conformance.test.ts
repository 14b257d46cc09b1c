// What src/ports/object-store.ts promises, held against every store: a directory, S3 over HTTP, and either of them encrypted.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDirectoryStore } from '../../../src/adapters/directory-store.ts';
import { EncryptedStore } from '../../../src/adapters/encrypted-store.ts';
import { EncryptionKeys } from '../../../src/adapters/encryption-keys.ts';
import { PART_BYTES_MIN, openS3Store } from '../../../src/adapters/s3-store.ts';
import { AssertionError } from '../../../src/base/assert.ts';
import { Prng } from '../../../src/base/prng.ts';
import { listAll, readObject } from '../../../src/ports/object-store.ts';
import type { GetOptions, ObjectStore } from '../../../src/ports/object-store.ts';
import { freshSeed, tempDir } from '../temp-dir.ts';
import { content, inChunks, keysOf, refusal, sha256 } from './content.ts';
import { FaultProxy } from './fault-proxy.ts';
import { CREDENTIALS, makeBucket, startSwift, swiftMissing } from './swift-server.ts';
import type { SwiftServer } from './swift-server.ts';

const keys = new EncryptionKeys(`old ${'11'.repeat(32)}\nnew ${'22'.repeat(32)}`, 'test keys');
/** More than a part of S3's smallest size. */
const LARGE_BYTES = PART_BYTES_MIN + 12_345;

let swift: SwiftServer | undefined;
let proxy: FaultProxy | undefined;
beforeAll(async () => {
  if (swiftMissing !== undefined) return;
  swift = await startSwift();
  proxy = new FaultProxy(swift.port);
  await proxy.start();
}, 60_000);
afterAll(async () => {
  await proxy?.stop();
  await swift?.stop();
  expect(proxy?.wrong ?? []).toEqual([]);
});

async function s3(): Promise<ObjectStore> {
  const endpoint = proxy?.endpoint ?? '';
  return openS3Store({ bucket: await makeBucket(endpoint), prefix: 'a/prefix', endpoint, pathStyle: true, checksum: 'crc32', partBytes: PART_BYTES_MIN, credentials: CREDENTIALS });
}
const directory = (): Promise<ObjectStore> => openDirectoryStore(tempDir());

const STORES: readonly { readonly name: string; readonly needsS3: boolean; readonly open: () => Promise<ObjectStore> }[] = [
  { name: 'directory', needsS3: false, open: directory },
  { name: 'directory, encrypted', needsS3: false, open: async () => new EncryptedStore(await directory(), keys) },
  { name: 'S3', needsS3: true, open: s3 },
  { name: 'S3, encrypted', needsS3: true, open: async () => new EncryptedStore(await s3(), keys) },
];

for (const { name, needsS3, open } of STORES) {
  const skipped = needsS3 && swiftMissing !== undefined;
  describe.skipIf(skipped)(`object store: ${name}${skipped ? ` (skipped: ${swiftMissing})` : ''}`, () => {
    test('what is put comes back: empty, small, on the edges of chunks and parts, in chunks of any size', async () => {
      const store = await open();
      const seed = freshSeed();
      const prng = new Prng(seed);
      const edges = needsS3 ? [PART_BYTES_MIN] : [1, 256 * 1024 - 1, 256 * 1024 + 1];
      const sizes = [0, 1000, 256 * 1024, ...edges, LARGE_BYTES];
      for (const bytes of sizes) {
        const key = `objects/of-${bytes}`;
        const body = content(bytes, seed);
        const known = prng.chance(0.5) ? { bytes, sha256: sha256(body) } : {};
        const put = await store.put(key, inChunks(body, prng.pick([1_000_000, 70_000, 300_000]), prng), known);
        expect(put, `seed ${seed}`).toMatchObject({ bytes, sha256: sha256(body) });
        const back = await readObject(store, key, { bytes, sha256: put.sha256 });
        expect(Buffer.compare(back, body), `${bytes} bytes, seed ${seed}`).toBe(0);
        expect(await store.head(key)).toMatchObject({ key, bytes });
        const { info } = await drained(store, key);
        expect(info).toMatchObject({ key, bytes });
      }
      store.close();
    });

    test('ranges', async () => {
      const store = await open();
      const body = content(700_000);
      await store.put('r', [body]);
      await store.put('empty', []);
      const seed = freshSeed();
      const prng = new Prng(seed);
      const ranges = [[0, 1], [0, 700_000], [699_999, 700_000], [699_999, 900_000], [262_143, 262_145], [262_144, 524_288], [700_000, 700_001], [800_000, 900_000]];
      for (let i = 0; i < (needsS3 ? 3 : 50); i++) {
        const from = prng.below(700_000);
        ranges.push([from, from + prng.between(1, 300_000)]);
      }
      for (const [from = 0, to = 0] of ranges) {
        const part = await readObject(store, 'r', { range: { from, to } });
        expect(Buffer.compare(part, body.subarray(from, to)), `[${from}, ${to}), seed ${seed}`).toBe(0);
      }
      const { info } = await drained(store, 'r', { range: { from: 5, to: 6 } });
      expect(info.bytes).toBe(700_000);
      expect(await readObject(store, 'empty', { range: { from: 0, to: 10 } })).toHaveLength(0);
      await refusal(readObject(store, 'none', { range: { from: 0, to: 10 } }), 'OBJECT_NOT_FOUND');
      await expect(store.get('r', { range: { from: 5, to: 5 } })).rejects.toThrow(AssertionError);
      store.close();
    });

    test('a put replaces; a put that fails leaves what was there', async () => {
      const store = await open();
      const first = content(1000, 1);
      const { etag } = await store.put('a/b/c', [first]);
      async function* failing(bytes: number): AsyncGenerator<Uint8Array> {
        yield content(bytes, 2);
        await Promise.resolve();
        throw new Error('the source failed');
      }
      for (const bytes of [10, LARGE_BYTES]) {
        await expect(store.put('a/b/c', failing(bytes))).rejects.toThrow('the source failed');
        expect(await refusal(store.put('a/b/c', [content(bytes, 2)], { bytes: bytes + 1 }), 'OBJECT_DAMAGED')).toContain(`has ${bytes} bytes, not ${bytes + 1}`);
        expect(await refusal(store.put('a/b/c', [content(bytes, 2)], { sha256: sha256(first) }), 'OBJECT_DAMAGED')).toContain('a/b/c');
        await expect(store.put('a/new', failing(bytes))).rejects.toThrow('the source failed');
      }
      expect(Buffer.from(await readObject(store, 'a/b/c')).equals(first)).toBe(true);
      expect(await keysOf(store)).toEqual(['a/b/c']);
      const second = await store.put('a/b/c', [content(500, 3)]);
      expect(second.etag).not.toBe(etag);
      expect(await readObject(store, 'a/b/c', { sha256: second.sha256 })).toHaveLength(500);
      expect((await store.head('a/b/c'))?.bytes).toBe(500);
      store.close();
    });

    test('a source that is left early is told so', async () => {
      const store = await open();
      let finished = false;
      async function* endless(): AsyncGenerator<Uint8Array> {
        try {
          for (;;) yield await Promise.resolve(content(1_000_000));
        } finally {
          finished = true;
        }
      }
      await expect(store.put('../x', endless())).rejects.toThrow();
      finished = false;
      const blocked = content(10);
      async function* failing(): AsyncGenerator<Uint8Array> {
        let sent = 0;
        for await (const chunk of endless()) {
          if ((sent += chunk.length) > 12_000_000) throw new Error('enough');
          yield chunk;
        }
      }
      await expect(store.put('x', failing())).rejects.toThrow('enough');
      expect(finished).toBe(true);
      await store.put('x', [blocked]);
      store.close();
    });

    test('wrong checksum or length on the way out is OBJECT_DAMAGED, at the end', async () => {
      const store = await open();
      const body = content(300_000);
      await store.put('k', [body]);
      expect(await refusal(readObject(store, 'k', { sha256: 'ab'.repeat(32) }), 'OBJECT_DAMAGED')).toMatch(/k.*SHA-256 .*verify/);
      expect(await refusal(readObject(store, 'k', { bytes: 299_999 }), 'OBJECT_DAMAGED')).toContain('300000 bytes, not 299999');
      expect(await readObject(store, 'k', { bytes: 300_000, sha256: sha256(body).toUpperCase() })).toHaveLength(300_000);
      store.close();
    });

    test('lists: order, prefix, pages, and only what is there', async () => {
      const store = await open();
      expect(await store.list('')).toEqual({ objects: [], next: undefined });
      const names = ['a', 'a-b/x', 'a.b', 'a0', 'ab/c/d', 'ab/c/e', 'ab/cc', 'b/1', 'b/10'];
      for (const name of [...names].reverse()) await store.put(name, [content(3)]);
      expect(await keysOf(store)).toEqual([...names].sort());
      for (const prefix of ['', 'a', 'ab/c', 'b/1', 'b/', 'nothing']) {
        const expected = names.filter((key) => key.startsWith(prefix)).sort();
        expect(await keysOf(store, prefix), prefix).toEqual(expected);
        for (const limit of new Set([needsS3 ? 3 : 1, Math.max(1, expected.length)])) {
          const found: string[] = [];
          let after: string | undefined;
          do {
            const page = await store.list(prefix, { limit, ...(after === undefined ? {} : { after }) });
            expect(page.objects.length).toBeLessThanOrEqual(limit);
            found.push(...page.objects.map(({ key }) => key));
            after = page.next;
          } while (after !== undefined);
          expect(found, `${prefix} by ${limit}`).toEqual(expected);
        }
        for (const after of ['ab/c/dd', 'zz']) {
          expect((await store.list(prefix, { after })).objects.map(({ key }) => key), `${prefix} after ${after}`).toEqual(expected.filter((key) => key > after));
        }
      }
      const nowMs = Date.now();
      for await (const { storedBytes, modifiedMs } of listAll(store, 'b/')) {
        expect(storedBytes).toBeGreaterThanOrEqual(3);
        expect(Math.abs(modifiedMs - nowMs)).toBeLessThan(60_000);
      }
      store.close();
    });

    test('delete is final, and harmless where there is nothing', async () => {
      const store = await open();
      await store.put('x/y/1', [content(3)]);
      await store.put('x/y/2', [content(3)]);
      await store.delete('x/y/1');
      await store.delete('x/y/1');
      await store.delete('not/there');
      expect(await keysOf(store)).toEqual(['x/y/2']);
      expect(await store.head('x/y/1')).toBeUndefined();
      const text = await refusal(readObject(store, 'x/y/1'), 'OBJECT_NOT_FOUND');
      expect(text).toMatch(/x\/y\/1/);
      await store.delete('x/y/2');
      await store.put('x/y/1', [content(4)]);
      expect(await keysOf(store, 'x')).toEqual(['x/y/1']);
      store.close();
    });

    test('a key that is no key gets nowhere', async () => {
      const store = await open();
      for (const key of ['', '/a', 'a/', 'a//b', '../a', 'a/../b', '.', '.hidden', 'a/.put-x', 'a b', 'ä', 'a\0b', 'a\\b', 'x'.repeat(201), 'a/'.repeat(300) + 'a']) {
        for (const f of [() => store.put(key, [content(1)]), () => store.get(key), () => store.head(key), () => store.delete(key)]) {
          await expect(f(), JSON.stringify(key)).rejects.toThrow(AssertionError);
        }
      }
      expect(await keysOf(store)).toEqual([]);
      await store.put('x'.repeat(200), [content(1)]);
      store.close();
    });

    test('puts side by side: one wins, whole; a reader of the old one is not disturbed', async () => {
      const store = await open();
      const bodies = [1, 2, 3, 4].map((seed) => content(400_000 + seed, seed));
      await store.put('k', [bodies[0]!]);
      await Promise.all([...bodies.map((body) => store.put('k', inChunks(body, 50_000))), ...bodies.map((body, i) => store.put(`d/${i}/k`, inChunks(body, 50_000)))]);
      const won = sha256(await readObject(store, 'k'));
      expect(bodies.map(sha256)).toContain(won);
      for (const [i, body] of bodies.entries()) expect(sha256(await readObject(store, `d/${i}/k`))).toBe(sha256(body));
      expect(await store.removeLeftovers(0)).toBe(0);
      store.close();
    });

    test('a reader that leaves early holds nothing', async () => {
      const store = await open();
      await store.put('k', [content(1_000_000)]);
      for (let i = 0; i < (needsS3 ? 5 : 40); i++) {
        for await (const chunk of await store.get('k')) {
          expect(chunk.length).toBeGreaterThan(0);
          break;
        }
      }
      expect(await readObject(store, 'k')).toHaveLength(1_000_000);
      store.close();
    });
  });
}

async function drained(store: ObjectStore, key: string, options?: GetOptions): Promise<{ info: { bytes: number } }> {
  const body = await store.get(key, options);
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.length;
  expect(bytes).toBe(options?.range === undefined ? body.info.bytes : options.range.to - options.range.from);
  return body;
}
