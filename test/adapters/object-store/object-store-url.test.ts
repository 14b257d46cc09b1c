import { describe, expect, test } from 'vitest';
import { openObjectStore, parseObjectStoreUrl } from '../../../src/adapters/object-store-url.ts';
import { OperationalError } from '../../../src/base/errors.ts';
import { readObject } from '../../../src/ports/object-store.ts';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from '../temp-dir.ts';
import { content, refusal } from './content.ts';

const MiB = 1024 * 1024;

describe('the object store as the operator writes it', () => {
  test('directories', () => {
    expect(parseObjectStoreUrl('/var/lib/x')).toEqual({ kind: 'directory', path: '/var/lib/x' });
    expect(parseObjectStoreUrl('./objects', '/base')).toEqual({ kind: 'directory', path: '/base/objects' });
    expect(parseObjectStoreUrl('file:///mnt/a%20b')).toEqual({ kind: 'directory', path: '/mnt/a b' });
  });

  test('S3', () => {
    expect(parseObjectStoreUrl('s3://my-bucket')).toEqual({ kind: 's3', bucket: 'my-bucket', prefix: '', endpoint: undefined, region: undefined, pathStyle: false, checksum: 'crc32', partBytes: 8 * MiB });
    expect(parseObjectStoreUrl('s3://my.bucket/a/b/?endpoint=http://127.0.0.1:9000/&region=eu-central-1&part-size=16mb&checksum=none')).toEqual({
      kind: 's3', bucket: 'my.bucket', prefix: 'a/b', endpoint: 'http://127.0.0.1:9000', region: 'eu-central-1', pathStyle: true, checksum: 'none', partBytes: 16 * MiB,
    });
    expect(parseObjectStoreUrl('s3://bucket/?endpoint=https%3A%2F%2Fs3.example.org&path-style=no')).toMatchObject({ endpoint: 'https://s3.example.org', pathStyle: false, prefix: '' });
  });

  test('mistakes are named, and secrets are not repeated', () => {
    for (const [text, expected] of [
      ['', 'it is empty'],
      ['s3:bucket/x', 'two slashes are missing'],
      ['gs://bucket', 'gs:// is not known'],
      ['file://host/x', 'file:///absolute/path'],
      ['s3:///prefix', '"" is no name of a bucket'],
      ['s3://Bucket', 'is no name of a bucket'],
      ['s3://127.0.0.1:9000/bucket', 'give the server as ?endpoint='],
      ['s3://AKIA:s3cr3t@bucket', 'credentials do not belong here'],
      ['s3://bucket?endpoint=http://AKIA:s3cr3t@host', 'credentials do not belong here'],
      ['https://AKIA:s3cr3t@host/bucket', 'https:// is not known'],
      ['s3://bucket?secret-key=s3cr3t', 'secret-key is no parameter'],
      ['s3://bucket?region=eu-1&endpoint=http%3A%2F%2FAKIA:s3cr3t%40host', 'credentials do not belong here'],
      ['s3://bucket?endpoint=AKIA:s3cr3t@host:9000', 'credentials do not belong here'],
      ['s3://bucket/a//b', 'prefix: "" is no part of a key'],
      ['s3://bucket/../b c', 'prefix:'],
      ['s3://bucket/%zz', 'two hex digits'],
      ['s3://bucket#x', 'a # has no meaning'],
      ['s3://bucket?endpont=http://x', 'endpont is no parameter; there are endpoint, region'],
      ['s3://bucket?region=a&region=b', 'region is there twice'],
      ['s3://bucket?endpoint=localhost:9000', 'neither http:// nor https://'],
      ['s3://bucket?endpoint=what', 'is no URL'],
      ['s3://bucket?endpoint=http://h/?x', 'without ? and #'],
      ['s3://bucket?region=a/b', 'is no name of a region'],
      ['s3://bucket?path-style=true', 'path-style is yes or no'],
      ['s3://bucket?checksum=md5', 'checksum is crc32, sha256 or none'],
      ['s3://bucket?part-size=1mb', 'part-size is from 5mb to 1024mb'],
      ['s3://bucket?part-size=big', 'part-size is from'],
    ] as const) {
      let thrown: unknown;
      try {
        parseObjectStoreUrl(text);
      } catch (error) {
        thrown = error;
      }
      expect(thrown, text).toBeInstanceOf(OperationalError);
      expect(thrown).toMatchObject({ code: 'CONFIG' });
      expect((thrown as Error).message, text).toContain(expected);
      expect((thrown as Error).message).not.toContain('s3cr3t');
    }
  });

  test('opens what it names, encrypted where there is a key file', async () => {
    const dir = tempDir();
    const keyFile = join(dir, 'keys');
    writeFileSync(keyFile, `k1 ${'ab'.repeat(32)}\n`);
    const url = parseObjectStoreUrl(`file://${dir}/objects`);
    const plain = await openObjectStore(url);
    const sealed = await openObjectStore(url, { keyFile });
    await sealed.put('k', [content(100)]);
    expect(await readObject(sealed, 'k')).toHaveLength(100);
    expect((await readObject(plain, 'k')).length).toBeGreaterThan(200);
    await plain.put('p', [content(100)]);
    await refusal(readObject(sealed, 'p'), 'OBJECT_DAMAGED');
    writeFileSync(keyFile, `plain\nk1 ${'ab'.repeat(32)}\n`);
    expect(await readObject(await openObjectStore(url, { keyFile }), 'p')).toHaveLength(100);
  });
});
