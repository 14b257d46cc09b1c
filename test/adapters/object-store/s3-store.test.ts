// The S3 store against the real server with a proxy between them that does harm, and proof that the server is fit to test
// with: it stores the bytes that the SDK sends, and refuses what is signed wrongly.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PART_BYTES_MIN, openS3Store } from '../../../src/adapters/s3-store.ts';
import type { S3Store, S3StoreOptions } from '../../../src/adapters/s3-store.ts';
import { readObject } from '../../../src/ports/object-store.ts';
import { content, inChunks, keysOf, refusal, sha256 } from './content.ts';
import { FaultProxy } from './fault-proxy.ts';
import type { Fault, SeenRequest } from './fault-proxy.ts';
import { CREDENTIALS, makeBucket, rawClient, startSwift, swiftMissing } from './swift-server.ts';
import type { SwiftServer } from './swift-server.ts';

const LARGE = content(PART_BYTES_MIN + 1000, 7);
const LARGER = content(2 * PART_BYTES_MIN + 1000, 7);
const SMALL = content(300_000, 8);

let swift: SwiftServer;
let proxy: FaultProxy;
let bucket: string;
beforeAll(async () => {
  if (swiftMissing !== undefined) return;
  swift = await startSwift();
  proxy = new FaultProxy(swift.port);
  await proxy.start();
  bucket = await makeBucket(swift.endpoint);
}, 60_000);
afterAll(async () => {
  if (swiftMissing !== undefined) return;
  await proxy.stop();
  await swift.stop();
});
const opened: S3Store[] = [];
afterEach(() => {
  for (const store of opened.splice(0)) store.close();
  if (swiftMissing !== undefined) return;
  expect(proxy.wrong).toEqual([]);
  proxy.fault = () => undefined;
  proxy.seen.length = 0;
});

let prefixes = 0;
async function open(options: Partial<S3StoreOptions> = {}): Promise<S3Store> {
  const store = await openS3Store({
    bucket, prefix: `p${++prefixes}`, endpoint: proxy.endpoint, pathStyle: true, checksum: 'crc32', partBytes: PART_BYTES_MIN, credentials: CREDENTIALS, attempts: 4, stallMs: 1000, ...options,
  });
  opened.push(store);
  return store;
}

/** The fault for the first `times` requests that match. */
function once(matches: (request: SeenRequest) => boolean, fault: Fault, times = 1): () => number {
  let done = 0;
  proxy.fault = (request) => (matches(request) && done < times ? (done++, fault) : undefined);
  return () => done;
}
const isPut = ({ method }: SeenRequest): boolean => method === 'PUT';
const isPart = (number: number) => ({ method, query }: SeenRequest): boolean => method === 'PUT' && query.get('partNumber') === String(number);
const isGet = ({ method, query }: SeenRequest): boolean => method === 'GET' && !query.has('list-type') && !query.has('uploads');
const isBegin = ({ method, query }: SeenRequest): boolean => method === 'POST' && query.has('uploads');
const isComplete = ({ method, query }: SeenRequest): boolean => method === 'POST' && query.has('uploadId');
const all = (): boolean => true;

/** Uploads that are under way in the bucket, as the server tells. */
async function uploads(prefix = ''): Promise<string[]> {
  const { sdk, client } = await rawClient(swift.endpoint);
  const { Uploads = [] } = await client.send(new sdk.ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }));
  client.destroy();
  return Uploads.map(({ Key = '' }) => Key);
}

describe.skipIf(swiftMissing !== undefined)(`the S3 store${swiftMissing === undefined ? '' : ` (skipped: ${swiftMissing})`}`, () => {
  test('the server: what it proves, and what it cannot', async () => {
    const { sdk, client } = await rawClient(swift.endpoint);
    const target = { Bucket: bucket, Key: 'proof' };
    await client.send(new sdk.PutObjectCommand({ ...target, Body: SMALL }));
    const back = await client.send(new sdk.GetObjectCommand(target));
    expect(sha256((await back.Body?.transformToByteArray()) ?? new Uint8Array())).toBe(sha256(SMALL));
    expect(back.ETag).toBe(`"${createHash('md5').update(SMALL).digest('hex')}"`);
    // A stream goes with a trailing checksum in aws-chunked framing: refused, and not stored as if it were content.
    const stream = new sdk.PutObjectCommand({ ...target, Body: Readable.from([SMALL]), ContentLength: SMALL.length });
    await expect(client.send(stream)).rejects.toMatchObject({ name: 'NotImplemented' });
    // It checks signatures and Content-MD5, and does not know checksum headers (the proxy checks those).
    const liar = await rawClient(swift.endpoint, { credentials: { ...CREDENTIALS, secretAccessKey: 'wrong' } });
    await expect(liar.client.send(new sdk.PutObjectCommand({ ...target, Body: SMALL }))).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' });
    const md5 = new sdk.PutObjectCommand({ ...target, Body: SMALL, ContentMD5: createHash('md5').update('other').digest('base64') });
    await expect(client.send(md5)).rejects.toMatchObject({ name: 'BadDigest' });
    await client.send(new sdk.PutObjectCommand({ ...target, Body: SMALL, ChecksumCRC32: 'AAAAAA==' }));
    await client.send(new sdk.DeleteObjectCommand(target));
    client.destroy();
    liar.client.destroy();
  });

  test('on the wire: whole buffers with checksums, under the prefix, a few parts at a time', async () => {
    for (const checksum of ['crc32', 'sha256', 'none'] as const) {
      const store = await open({ checksum });
      proxy.seen.length = 0;
      await store.put('small', [SMALL]);
      await store.put('large', inChunks(LARGER, 200_000), { bytes: LARGER.length });
      const bodies = proxy.seen.filter(isPut);
      expect(bodies.map(({ bytes }) => bytes)).toEqual([SMALL.length, PART_BYTES_MIN, PART_BYTES_MIN, 1000]);
      expect(bodies.every(({ path }) => path.startsWith(`/${bucket}/p${prefixes}/`))).toBe(true);
      for (const { headers } of bodies) {
        expect(headers['x-amz-content-sha256']).toMatch(/^[0-9a-f]{64}$/);
        expect([headers['x-amz-checksum-crc32'] !== undefined, headers['x-amz-checksum-sha256'] !== undefined]).toEqual([checksum === 'crc32', checksum === 'sha256']);
      }
      expect(sha256(await readObject(store, 'large'))).toBe(sha256(LARGER));
      expect(await uploads()).toEqual([]);
    }
  });

  test('memory stays at a few parts, up and down', async () => {
    const store = await open({ endpoint: swift.endpoint });
    const chunk = content(1_000_000);
    const peak = { bytes: 0 };
    const before = process.memoryUsage().arrayBuffers;
    const watch = setInterval(() => { peak.bytes = Math.max(peak.bytes, process.memoryUsage().arrayBuffers - before); }, 5);
    await store.put('k', (function* () { for (let i = 0; i < 64; i++) yield chunk; })());
    clearInterval(watch);
    expect(peak.bytes).toBeGreaterThan(PART_BYTES_MIN);
    // Three parts, and what a connection has copied of one.
    expect(peak.bytes).toBeLessThan(5 * PART_BYTES_MIN);
    peak.bytes = 0;
    let bytes = 0;
    for await (const piece of await store.get('k')) {
      bytes += piece.length;
      peak.bytes = Math.max(peak.bytes, process.memoryUsage().arrayBuffers - before);
    }
    expect(bytes).toBe(64_000_000);
    expect(peak.bytes).toBeLessThan(9 * PART_BYTES_MIN); // most of it not collected yet
  });

  test('passing trouble is ridden out: 503, 500, connections that break, answers that are lost, damage on the way', async () => {
    const cases: [string, (request: SeenRequest) => boolean, Fault, number][] = [
      ['SlowDown', isPut, { do: 'answer', status: 503, code: 'SlowDown' }, 2],
      ['500', isPut, { do: 'answer', status: 500, code: 'InternalError' }, 2],
      ['reset at once', isPut, { do: 'reset' }, 2],
      ['reset in the middle of a part', isPart(1), { do: 'reset', afterBytes: 1_000_000 }, 2],
      ['answer to a part lost', isPart(1), { do: 'lose-answer' }, 1],
      ['answer to the beginning lost', isBegin, { do: 'lose-answer' }, 1],
      ['answer to the end lost', isComplete, { do: 'lose-answer' }, 1],
      ['503 at the end', isComplete, { do: 'answer', status: 503, code: 'ServiceUnavailable' }, 2],
      ['no answer', isPart(1), { do: 'stall' }, 1],
      ['damage on the way up', isPart(2), { do: 'damage-request' }, 1],
    ];
    for (const [what, matches, fault, times] of cases) {
      const store = await open();
      const done = once(matches, fault, times);
      const { sha256: stored } = await store.put('k', inChunks(LARGE, 300_000));
      expect(done(), what).toBe(times);
      expect(stored).toBe(sha256(LARGE));
      proxy.fault = () => undefined;
      expect(sha256(await readObject(store, 'k', { sha256: stored, bytes: LARGE.length })), what).toBe(sha256(LARGE));
      // An upload that was begun twice because nobody heard of the first is the one thing that stays, until it is cleared up.
      expect(await store.removeLeftovers(-60_000), what).toBe(matches === isBegin ? 1 : 0);
    }
  }, 120_000);

  test('downloads go on where they broke off or stalled', async () => {
    const store = await open();
    await store.put('k', [LARGE]);
    for (const [fault, times] of [[{ do: 'cut-answer', afterBytes: 700_000 }, 2], [{ do: 'stall-answer', afterBytes: 400_000 }, 1], [{ do: 'cut-answer', afterBytes: 0 }, 1]] as const) {
      const done = once(isGet, fault, times);
      expect(sha256(await readObject(store, 'k')), fault.do).toBe(sha256(LARGE));
      expect(done()).toBe(times);
      proxy.fault = () => undefined;
      once(isGet, fault, 1);
      const range = { from: 100_000, to: 2_000_000 };
      expect(sha256(await readObject(store, 'k', { range })), fault.do).toBe(sha256(LARGE.subarray(range.from, range.to)));
    }
    expect(proxy.seen.filter(isGet).map(({ headers }) => headers['range'])).toContain(`bytes=700000-${LARGE.length - 1}`);
  });

  test('wrong bytes on the way down do not pass the checksum', async () => {
    const store = await open();
    const { sha256: stored } = await store.put('k', [SMALL]);
    once(isGet, { do: 'damage-answer' });
    expect(await refusal(readObject(store, 'k', { sha256: stored }), 'OBJECT_DAMAGED')).toMatch(/s3:\/\/.*\/k at http.*has SHA-256/);
    expect(await readObject(store, 'k', { sha256: stored })).toHaveLength(SMALL.length);
  });

  test('a server that ignores ranges gives no wrong bytes', async () => {
    const store = await open();
    await store.put('k', [LARGE]);
    once(isGet, { do: 'no-range' });
    expect(await refusal(readObject(store, 'k', { range: { from: 1000, to: 2000 } }), 'OBJECT_STORE_REFUSED')).toContain('must support range requests');
    // Also where a download that broke off is to go on.
    let gets = 0;
    proxy.fault = (request) => (!isGet(request) ? undefined : gets++ === 0 ? { do: 'cut-answer', afterBytes: 300_000 } : { do: 'no-range' });
    await refusal(readObject(store, 'k'), 'OBJECT_STORE_REFUSED');
  });

  test('an object replaced while it is read is not mixed', async () => {
    const store = await open();
    await store.put('k', [LARGE]);
    once(isGet, { do: 'cut-answer', afterBytes: 300_000 });
    const body = await store.get('k');
    await store.put('k', [content(LARGE.length, 99)]);
    const text = await refusal((async () => { for await (const chunk of body) expect(chunk.length).toBeGreaterThan(0); })(), 'OBJECT_DAMAGED');
    expect(text).toContain('replaced while it was read');
  });

  test('lasting trouble says what, where and what to do, and leaves no upload behind', async () => {
    const cases: [string, (request: SeenRequest) => boolean, Fault, Parameters<typeof refusal>[1], RegExp][] = [
      ['503', isPut, { do: 'answer', status: 503, code: 'SlowDown' }, 'OBJECT_STORE_UNREACHABLE', /4 attempts: said by the proxy \(SlowDown, HTTP 503\); check the endpoint/],
      ['403', isPart(2), { do: 'answer', status: 403, code: 'AccessDenied' }, 'OBJECT_STORE_REFUSED', /AccessDenied, HTTP 403.*let this access key list/],
      ['403 without a body', isPut, { do: 'answer', status: 403 }, 'OBJECT_STORE_REFUSED', /HTTP 403.*check the access key/],
      ['507', isPart(2), { do: 'answer', status: 507, code: 'InsufficientStorage' }, 'OBJECT_STORE_FULL', /HTTP 507.*free space there/],
      ['quota', isComplete, { do: 'answer', status: 403, code: 'QuotaExceeded' }, 'OBJECT_STORE_FULL', /QuotaExceeded.*keep fewer snapshots/],
      ['MinIO full', isPut, { do: 'answer', status: 507, code: 'XMinioStorageFull' }, 'OBJECT_STORE_FULL', /XMinioStorageFull/],
      ['reset', isPart(1), { do: 'reset', afterBytes: 100_000 }, 'OBJECT_STORE_UNREACHABLE', /ECONNRESET|EPIPE|socket hang up/],
      ['damage', isPart(1), { do: 'damage-request' }, 'OBJECT_DAMAGED', /changed on their way/],
    ];
    for (const [what, matches, fault, code, expected] of cases) {
      const store = await open();
      await store.put('old', [SMALL]);
      once(matches, fault, 1000);
      const text = await refusal(store.put('k', inChunks(LARGE, 300_000)), code);
      expect(text, what).toContain(`s3://${bucket}/p${prefixes}/k at ${proxy.endpoint}`);
      expect(text, what).toMatch(expected);
      proxy.fault = () => undefined;
      expect(await uploads(), what).toEqual([]);
      expect(await keysOf(store), what).toEqual(['old']);
    }
  }, 120_000);

  test('every operation reports trouble of its own', async () => {
    const store = await open({ attempts: 1 });
    await store.put('k', [SMALL]);
    once(all, { do: 'answer', status: 403, code: 'AccessDenied' }, 1000);
    for (const [name, f] of Object.entries({ reading: () => store.get('k'), listing: () => store.list(''), deleting: () => store.delete('k'), 'looking at': () => store.head('k'), 'listing the unfinished': () => store.removeLeftovers(0) })) {
      expect(await refusal(f(), 'OBJECT_STORE_REFUSED')).toMatch(new RegExp(`^${name} .*s3://`));
    }
  });

  test('nobody there, wrong bucket, wrong secret, no credentials', async () => {
    const nobody = await open({ endpoint: 'http://127.0.0.1:9', attempts: 2 });
    expect(await refusal(nobody.put('k', [SMALL]), 'OBJECT_STORE_UNREACHABLE')).toMatch(/s3:\/\/.* at http:\/\/127.0.0.1:9: .*ECONNREFUSED/);
    const elsewhere = await open({ bucket: 'no-such-bucket' });
    for (const f of [() => elsewhere.put('k', [SMALL]), () => elsewhere.put('k', [LARGE]), () => elsewhere.get('k'), () => elsewhere.list('')]) {
      expect(await refusal(f(), 'OBJECT_STORE_REFUSED')).toContain('make the bucket, or correct its name');
    }
    const liar = await open({ credentials: { ...CREDENTIALS, secretAccessKey: 'wrong' } });
    const text = await refusal(liar.put('k', [SMALL]), 'OBJECT_STORE_REFUSED');
    expect(text).toContain('check the access key and its secret');
    expect(text).not.toContain('wrong');
    const stranger = await open({ credentials: { accessKeyId: 'nobody', secretAccessKey: 'x' } });
    await refusal(stranger.head('k'), 'OBJECT_STORE_REFUSED');
  });

  test('uploads that a dead process left are listed and dropped; those of other prefixes and young ones stay', async () => {
    const store = await open({ prefix: 'mine' });
    const { sdk, client } = await rawClient(swift.endpoint);
    const begin = async (key: string): Promise<void> => {
      const { UploadId = '' } = await client.send(new sdk.CreateMultipartUploadCommand({ Bucket: bucket, Key: key }));
      await client.send(new sdk.UploadPartCommand({ Bucket: bucket, Key: key, UploadId, PartNumber: 1, Body: SMALL }));
    };
    for (const key of ['mine/a', 'mine/b/c', 'minefield/x', 'other']) await begin(key);
    expect(await store.removeLeftovers(3_600_000)).toBe(0);
    expect(await store.removeLeftovers(-60_000)).toBe(2); // as if a minute had passed: the server's clock counts in seconds
    expect(await uploads()).toEqual(['minefield/x', 'other']);
    const everything = await open({ prefix: '' });
    expect(await everything.removeLeftovers(-60_000)).toBe(2);
    client.destroy();
  });

  test('foreign names in the bucket are passed over', async () => {
    const store = await open({ prefix: 'shared' });
    const { sdk, client } = await rawClient(swift.endpoint);
    for (const Key of ['shared/.hidden', 'shared/a b', 'shared/folder/', 'sharedx/k']) await client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key, Body: SMALL }));
    await store.put('k', [SMALL]);
    expect(await keysOf(store)).toEqual(['k']);
    const pages: string[][] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const page: Awaited<ReturnType<S3Store['list']>> = await store.list('', { limit: 1, after });
      pages.push(page.objects.map(({ key }) => key));
      after = page.next;
    }
    expect(pages.flat()).toEqual(['k']);
    client.destroy();
  });
});

test('without credentials the chain says where they may be', async () => {
  const names = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE', 'HOME', 'AWS_EC2_METADATA_DISABLED'] as const;
  const saved = names.map((name) => [name, process.env[name]] as const);
  for (const name of names) delete process.env[name];
  process.env['HOME'] = '/nonexistent';
  process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
  try {
    const store = await openS3Store({ bucket: 'some-bucket', prefix: '', endpoint: 'http://127.0.0.1:9', pathStyle: true, checksum: 'crc32', partBytes: PART_BYTES_MIN });
    expect(await refusal(store.head('k'), 'OBJECT_STORE_REFUSED')).toMatch(/AWS_ACCESS_KEY_ID.*profile.*role/);
    store.close();
  } finally {
    for (const [name, value] of saved) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});
