// What only encryption has: keys, and every way to change what is stored.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDirectoryStore } from '../../../src/adapters/directory-store.ts';
import { ENCRYPTED_CHUNK_BYTES, ENCRYPTED_HEADER_BYTES, EncryptedStore } from '../../../src/adapters/encrypted-store.ts';
import { EncryptionKeys, readEncryptionKeys } from '../../../src/adapters/encryption-keys.ts';
import { Prng } from '../../../src/base/prng.ts';
import { OperationalError } from '../../../src/base/errors.ts';
import { readObject } from '../../../src/ports/object-store.ts';
import { flipBit, freshSeed, tempDir } from '../temp-dir.ts';
import { content, refusal, sha256 } from './content.ts';

const LINE_1 = `2026-01 ${'01'.repeat(32)}`;
const LINE_2 = `2026-11 ${Buffer.alloc(32, 2).toString('base64')}`;
const keys = (...lines: string[]): EncryptionKeys => new EncryptionKeys(lines.join('\n'), 'keys.txt');

const SEALED_BYTES = ENCRYPTED_CHUNK_BYTES + 16;

async function stores(...lines: string[]): Promise<{ dir: string; plain: Awaited<ReturnType<typeof openDirectoryStore>>; store: EncryptedStore }> {
  const dir = tempDir();
  const plain = await openDirectoryStore(dir);
  return { dir, plain, store: new EncryptedStore(plain, keys(...(lines.length === 0 ? [LINE_1] : lines))) };
}

describe('the encrypted store', () => {
  test('nothing of the content is in the store, and equal content looks different', async () => {
    const { plain, store } = await stores();
    const body = new Uint8Array(600_000).fill(0x41);
    await store.put('a', [body]);
    await store.put('b', [body]);
    const [a, b] = [await readObject(plain, 'a'), await readObject(plain, 'b')];
    expect(Buffer.from(a).includes('AAAAAAAA')).toBe(false);
    expect(Buffer.from(a.subarray(ENCRYPTED_HEADER_BYTES)).equals(b.subarray(ENCRYPTED_HEADER_BYTES))).toBe(false);
    expect(a).toHaveLength(ENCRYPTED_HEADER_BYTES + 600_000 + 3 * 16);
    expect((await store.list('')).objects.map(({ storedBytes }) => storedBytes)).toEqual([a.length, b.length]);
    expect(await store.head('a')).toMatchObject({ bytes: 600_000, storedBytes: a.length });
  });

  test('any flipped bit is found, whole and in ranges that hold it', async () => {
    const { dir, store } = await stores();
    const seed = freshSeed();
    const prng = new Prng(seed);
    const body = content(ENCRYPTED_CHUNK_BYTES + 1000, seed);
    await store.put('k', [body]);
    const path = join(dir, 'k');
    const size = fs.statSync(path).size;
    const places = Array.from({ length: ENCRYPTED_HEADER_BYTES }, (_, at) => at);
    for (let i = 0; i < 60; i++) places.push(prng.below(size));
    for (const at of [...places, size - 1]) {
      const bit = prng.below(8);
      flipBit(path, at, bit);
      const thrown: unknown = await readObject(store, 'k').catch((error: unknown) => error);
      expect(thrown, `byte ${at} bit ${bit}, seed ${seed}`).toBeInstanceOf(OperationalError);
      expect(['OBJECT_DAMAGED', 'ENCRYPTION_KEY']).toContain((thrown as OperationalError).code);
      const range = readObject(store, 'k', { range: { from: 5, to: 7 } });
      if (at < ENCRYPTED_HEADER_BYTES + SEALED_BYTES) await expect(range, `byte ${at}, seed ${seed}`).rejects.toThrow(OperationalError);
      else expect(await range, `byte ${at}, seed ${seed}`).toHaveLength(2);
      flipBit(path, at, bit);
    }
    expect(sha256(await readObject(store, 'k'))).toBe(sha256(body));
  });

  test('cut off, put together otherwise, under another name: found', async () => {
    const { dir, store } = await stores();
    await store.put('k', [content(3 * ENCRYPTED_CHUNK_BYTES)]);
    await store.put('other', [content(3 * ENCRYPTED_CHUNK_BYTES)]);
    const path = join(dir, 'k');
    const whole = fs.readFileSync(path);
    const header = whole.subarray(0, ENCRYPTED_HEADER_BYTES);
    const chunk = (n: number): Buffer => whole.subarray(ENCRYPTED_HEADER_BYTES + n * SEALED_BYTES, ENCRYPTED_HEADER_BYTES + (n + 1) * SEALED_BYTES);
    const changed: Record<string, Buffer> = {
      'cut behind chunk 1': Buffer.concat([header, chunk(0), chunk(1)]),
      'cut behind chunk 0': Buffer.concat([header, chunk(0)]),
      'cut in a chunk': whole.subarray(0, -1000),
      'cut in a tag': whole.subarray(0, ENCRYPTED_HEADER_BYTES + 2 * SEALED_BYTES + 7),
      'header only': header,
      'half a header': header.subarray(0, 50),
      'empty': Buffer.alloc(0),
      'swapped chunks': Buffer.concat([header, chunk(1), chunk(0), chunk(2)]),
      'repeated chunk': Buffer.concat([header, chunk(0), chunk(0), chunk(1), chunk(2)]),
      'first chunk gone': Buffer.concat([header, chunk(1), chunk(2)]),
      'more behind the end': Buffer.concat([whole, chunk(2)]),
      'another object': fs.readFileSync(join(dir, 'other')),
    };
    for (const [what, bytes] of Object.entries(changed)) {
      fs.writeFileSync(path, bytes);
      expect(await refusal(readObject(store, 'k'), 'OBJECT_DAMAGED'), what).toContain('k');
    }
    // The end of a range read is the end of the object: it is known as such.
    fs.writeFileSync(path, changed['cut behind chunk 1']!);
    await refusal(readObject(store, 'k', { range: { from: ENCRYPTED_CHUNK_BYTES + 10, to: ENCRYPTED_CHUNK_BYTES + 20 } }), 'OBJECT_DAMAGED');
    fs.writeFileSync(path, whole);
    await readObject(store, 'k');
  });

  test('rotation: the newest encrypts, all decrypt; a key that is gone is named', async () => {
    const { plain, store } = await stores(LINE_1);
    await store.put('old', [content(10)]);
    const both = new EncryptedStore(plain, keys(LINE_1, LINE_2));
    await both.put('new', [content(11)]);
    expect(await readObject(both, 'old')).toHaveLength(10);
    expect(await readObject(both, 'new')).toHaveLength(11);
    const later = new EncryptedStore(plain, keys(LINE_2));
    expect(await readObject(later, 'new')).toHaveLength(11);
    const text = await refusal(readObject(later, 'old'), 'ENCRYPTION_KEY');
    expect(text).toMatch(/object old in .* key "2026-01", which is not in keys.txt \(it has "2026-11"\); add the line/);
    await refusal(readObject(later, 'old', { range: { from: 0, to: 1 } }), 'ENCRYPTION_KEY');
    const wrong = new EncryptedStore(plain, keys(`2026-01 ${'03'.repeat(32)}`));
    expect(await refusal(readObject(wrong, 'old'), 'OBJECT_DAMAGED')).toContain('check that the key file');
  });

  test('objects from before encryption are refused, or read where that is asked for', async () => {
    const { plain, store } = await stores();
    await plain.put('plain', [content(1000)]);
    await plain.put('short', [content(3)]);
    await store.put('sealed', [content(500)]);
    expect(await refusal(readObject(store, 'plain'), 'OBJECT_DAMAGED')).toMatch(/is not encrypted.*a line "plain" in keys.txt/);
    await refusal(readObject(store, 'short', { range: { from: 0, to: 1 } }), 'OBJECT_DAMAGED');
    const both = new EncryptedStore(plain, keys(LINE_1, 'plain   # until the old ones are gone'));
    for (const [key, bytes] of [['plain', 1000], ['short', 3], ['sealed', 500]] as const) {
      expect(await readObject(both, key, { bytes })).toHaveLength(bytes);
      expect(await both.head(key)).toMatchObject({ bytes });
      expect(await readObject(both, key, { range: { from: 1, to: 3 } })).toHaveLength(2);
    }
    expect(await both.head('none')).toBeUndefined();
  });

  test('an object of a later format says so', async () => {
    const { dir, store } = await stores();
    await store.put('k', [content(10)]);
    flipBit(join(dir, 'k'), 7, 1);
    expect(await refusal(readObject(store, 'k'), 'OBJECT_DAMAGED')).toContain('format 3, this release reads 1');
  });
});

describe('the key file', () => {
  test('ids, hex and base64, comments, the newest last', () => {
    const found = keys('# keys', '', `  ${LINE_1}   # first`, `${LINE_2}\r`);
    expect(found.ids).toEqual(['2026-01', '2026-11']);
    expect(found.newest).toEqual({ id: '2026-11', key: Buffer.alloc(32, 2) });
    expect(found.byId('2026-01')).toEqual(Buffer.alloc(32, 1));
    expect(found.byId('none')).toBeUndefined();
  });

  test('a mistake names the line and never shows the key', () => {
    const secret = 'c0ffee'.repeat(10);
    for (const [text, expected] of [
      ['', 'has no key'],
      ['plain', 'has no key'],
      [`plain ${secret}`, 'line 1: key plain: a key is 32 bytes'],
      [`a ${secret}`, 'line 1: key a: a key is 32 bytes'],
      [`\n${secret}`, 'line 2: a line is an id and a key'],
      [`a ${'00'.repeat(32)} ${secret}`, 'not 3 words'],
      [`${LINE_1}\n${LINE_1}`, 'line 2: key 2026-01 is there twice'],
      [`a/b ${'00'.repeat(32)}`, 'an id has 1 to 63'],
    ] as const) {
      let message = '';
      try {
        keys(text);
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'CONFIG' });
        message = (thrown as Error).message;
      }
      expect(message).toContain(expected);
      expect(message).toContain('keys.txt');
      expect(message).not.toContain('c0ffee');
    }
    expect(() => readEncryptionKeys('/nowhere/keys')).toThrow(/key file \/nowhere\/keys cannot be read/);
  });
});
