// An object store in a bucket, over S3's HTTP interface, through @aws-sdk/client-s3. Owns every object under its prefix.
//
// How bytes go up: the source is gathered into parts. One part or less is one PutObject, more are a multipart upload whose
// parts go up a few at a time. A part is always a whole buffer, never a stream: so it can be sent again, its SHA-256 is in
// the signature, its checksum is an ordinary header, and no chunk framing (aws-chunked) is ever on the wire, which several
// servers refuse or store as if it were content.
// How they come down: one GET, resumed behind the last byte when the connection breaks, under the same ETag.
//
// What must hold:
// - A put that fails leaves no object and asks the server to drop its parts; what even that leaves is removeLeftovers' business.
// - At most PARTS_UNDER_WAY_MAX + 1 part buffers a put.
// - The SDK is loaded when the first store is opened: a node that needs none pays nothing for it.
import type * as Sdk from '@aws-sdk/client-s3';
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { assert, must } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { objectKeyFault } from '../ports/object-store.ts';
import type { ByteSource, GetOptions, ListOptions, ListPage, ObjectBody, ObjectInfo, ObjectStore, PutOptions, PutResult } from '../ports/object-store.ts';
import { ContentCheck, SOURCE_ADVICE, assertGet, assertKey, checked } from './object-check.ts';
import { isGone, s3Error } from './s3-errors.ts';

export const PART_BYTES_DEFAULT = 8 * MiB;
/** S3 takes no smaller part but the last. */
export const PART_BYTES_MIN = 5 * MiB;
export const PART_BYTES_MAX = 1024 * MiB;
/** S3's limit. */
const PARTS_MAX = 10_000;
const PARTS_UNDER_WAY_MAX = 2;
const PAGE_OBJECTS_MAX = 1000;
const ATTEMPTS_DEFAULT = 6;
const STALL_MS_DEFAULT = 30_000;
const CONNECT_MS = 5000;
const RESUME_DELAY_MS = 200;
const MARK = 'holdfast-put';

export type S3Checksum = 'crc32' | 'sha256' | 'none';

export interface S3StoreOptions {
  readonly bucket: string;
  /** Without slashes at its ends; empty: the whole bucket. */
  readonly prefix: string;
  /** "http://127.0.0.1:9000"; undefined: Amazon's for the region. */
  readonly endpoint?: string | undefined;
  /** undefined: as the SDK finds it (AWS_REGION, the profile); with an endpoint "us-east-1" in the end. */
  readonly region?: string | undefined;
  /** Bucket in the path and not in the host name. */
  readonly pathStyle: boolean;
  /** Which checksum goes with every part, besides the signed SHA-256 of a plain HTTP request. */
  readonly checksum: S3Checksum;
  readonly partBytes: number;
  /** Instead of the SDK's usual chain. For tests. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Attempts of a request, with growing pauses between them. */
  readonly attempts?: number;
  /** A request or a download that makes no progress for so long is given up and tried again. */
  readonly stallMs?: number;
}

interface Upload {
  readonly key: string;
  readonly uploadId: string;
  readonly mark: string;
}

export async function openS3Store(options: S3StoreOptions): Promise<S3Store> {
  // Its warning that later versions need a newer Node is for us, not for the operator: package.json holds the version.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  return new S3Store(options, await import('@aws-sdk/client-s3'));
}

export class S3Store implements ObjectStore {
  readonly location: string;
  readonly #sdk: typeof Sdk;
  readonly #client: Sdk.S3Client;
  readonly #options: S3StoreOptions;
  readonly #folder: string;
  readonly #where: string;
  readonly #attempts: number;
  readonly #stallMs: number;
  readonly #checksum: { ChecksumAlgorithm?: Sdk.ChecksumAlgorithm };

  constructor(options: S3StoreOptions, sdk: typeof Sdk) {
    assert(options.partBytes >= PART_BYTES_MIN && options.partBytes <= PART_BYTES_MAX, () => `parts of ${options.partBytes} bytes`);
    const { endpoint, region, credentials, checksum } = options;
    this.#options = options;
    this.#sdk = sdk;
    this.#folder = options.prefix === '' ? '' : `${options.prefix}/`;
    this.#where = endpoint ?? (region === undefined ? "Amazon's endpoint" : `Amazon's endpoint of ${region}`);
    this.location = `s3://${options.bucket}/${options.prefix} at ${this.#where}`;
    this.#attempts = options.attempts ?? ATTEMPTS_DEFAULT;
    this.#stallMs = options.stallMs ?? STALL_MS_DEFAULT;
    this.#checksum = checksum === 'none' ? {} : { ChecksumAlgorithm: checksum === 'sha256' ? 'SHA256' : 'CRC32' };
    const whenChecked = checksum === 'none' ? 'WHEN_REQUIRED' : 'WHEN_SUPPORTED';
    this.#client = new sdk.S3Client({
      forcePathStyle: options.pathStyle,
      maxAttempts: this.#attempts,
      retryMode: 'standard',
      requestChecksumCalculation: whenChecked,
      responseChecksumValidation: whenChecked,
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        socketTimeout: this.#stallMs,
        httpAgent: { keepAlive: true, maxSockets: 16 },
        httpsAgent: { keepAlive: true, maxSockets: 16 },
      },
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? (endpoint === undefined ? {} : { region: process.env['AWS_REGION'] ?? 'us-east-1' }) : { region }),
      ...(credentials === undefined ? {} : { credentials }),
    });
  }

  #name(key: string): string {
    return `s3://${this.#options.bucket}/${this.#folder}${key} at ${this.#where}`;
  }

  #target(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#options.bucket, Key: this.#folder + key };
  }

  /** Runs a request; what fails in it becomes an OperationalError about `key`. Bytes damaged on their way up are sent again. */
  async #request<T>(what: string, key: string, f: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await f();
      } catch (thrown) {
        const error = s3Error(thrown, `${what} ${this.#name(key)}`);
        if (!(error instanceof OperationalError) || error.code !== 'OBJECT_DAMAGED' || attempt >= this.#attempts) throw error;
        await delay(RESUME_DELAY_MS * attempt);
      }
    }
  }

  async put(key: string, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    assertKey(key);
    const check = new ContentCheck(options);
    const what = `what was to be stored as ${this.#name(key)}`;
    // Room for content of unknown length is PARTS_MAX parts of the usual size.
    const partBytes = Math.max(this.#options.partBytes, Math.ceil((options.bytes ?? 0) / PARTS_MAX / MiB) * MiB);
    const parts = new Parts(source, check, partBytes);
    const first = (await parts.next()) ?? new Uint8Array(0);
    if (parts.ended) {
      const sha256 = check.finish(what, SOURCE_ADVICE);
      const { ETag } = await this.#request('writing', key, () => this.#client.send(new this.#sdk.PutObjectCommand({ ...this.#target(key), ...this.#checksum, Body: first })));
      return { bytes: check.bytes, sha256, etag: ETag ?? '' };
    }
    const mark = randomBytes(16).toString('hex');
    const { UploadId } = await this.#request('beginning the upload of', key, () =>
      this.#client.send(new this.#sdk.CreateMultipartUploadCommand({ ...this.#target(key), ...this.#checksum, Metadata: { [MARK]: mark } })),
    );
    const upload: Upload = { key, uploadId: must(UploadId, 'an upload has an id'), mark };
    try {
      const sent = await this.#sendParts(upload, first, parts);
      const sha256 = check.finish(what, SOURCE_ADVICE);
      return { bytes: check.bytes, sha256, etag: await this.#complete(upload, sent, check.bytes) };
    } catch (thrown) {
      await this.#abort(upload.key, upload.uploadId).catch(() => {}); // the first error is the one to tell
      throw thrown;
    } finally {
      await parts.stop();
    }
  }

  /** A few parts at a time. After the first failure no other begins, and those under way are waited for: an abort must come last. */
  async #sendParts(upload: Upload, first: Uint8Array, parts: Parts): Promise<Sdk.CompletedPart[]> {
    const done: Sdk.CompletedPart[] = [];
    const underWay = new Set<Promise<void>>();
    let failure: { thrown: unknown } | undefined;
    let next: Uint8Array | undefined = first;
    try {
      for (let number = 1; next !== undefined && failure === undefined; number++) {
        if (number > PARTS_MAX) throw this.#tooLarge(upload.key);
        const body: Uint8Array = next;
        const job: Promise<void> = this.#sendPart(upload, number, body)
          .then((part) => { done.push(part); parts.giveBack(body); }, (thrown: unknown) => { failure ??= { thrown }; })
          .finally(() => underWay.delete(job));
        underWay.add(job);
        if (underWay.size >= PARTS_UNDER_WAY_MAX) await Promise.race(underWay);
        next = await parts.next();
      }
    } finally {
      await Promise.all(underWay);
    }
    if (failure !== undefined) throw failure.thrown;
    return done.sort((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
  }

  #tooLarge(key: string): OperationalError {
    const text = `writing ${this.#name(key)}: it has more than ${PARTS_MAX} parts of ${this.#options.partBytes} bytes; set a larger part-size in the object store's URL`;
    return new OperationalError('OBJECT_STORE_FULL', text);
  }

  async #sendPart({ key, uploadId }: Upload, number: number, body: Uint8Array): Promise<Sdk.CompletedPart> {
    const answer = await this.#request(`writing part ${number} of`, key, () =>
      this.#client.send(new this.#sdk.UploadPartCommand({ ...this.#target(key), ...this.#checksum, UploadId: uploadId, PartNumber: number, Body: body })),
    );
    const { ETag, ChecksumCRC32, ChecksumSHA256 } = answer;
    return { PartNumber: number, ETag, ChecksumCRC32, ChecksumSHA256 };
  }

  async #complete({ key, uploadId, mark }: Upload, parts: Sdk.CompletedPart[], bytes: number): Promise<string> {
    const command = new this.#sdk.CompleteMultipartUploadCommand({ ...this.#target(key), UploadId: uploadId, MultipartUpload: { Parts: parts } });
    try {
      const { ETag } = await this.#client.send(command);
      return ETag ?? '';
    } catch (thrown) {
      // The upload is gone when a first attempt did complete it and its answer was lost: the object then has our mark.
      const found = isGone(thrown) ? await this.#client.send(new this.#sdk.HeadObjectCommand(this.#target(key))).catch(() => undefined) : undefined;
      if (found?.Metadata?.[MARK] === mark && found.ContentLength === bytes) return found.ETag ?? '';
      throw s3Error(thrown, `completing the upload of ${this.#name(key)}`);
    }
  }

  async #abort(key: string, uploadId: string): Promise<void> {
    try {
      await this.#client.send(new this.#sdk.AbortMultipartUploadCommand({ ...this.#target(key), UploadId: uploadId }));
    } catch (thrown) {
      if (!isGone(thrown)) throw s3Error(thrown, `dropping the unfinished upload of ${this.#name(key)}`);
    }
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectBody> {
    assertGet(key, options);
    const { range } = options;
    const first = await this.#open(key, range === undefined ? undefined : `bytes=${range.from}-${range.to - 1}`, undefined);
    if (first === undefined) {
      // A range beyond the end is empty; S3 says 416.
      const info = await this.head(key);
      if (info === undefined) throw s3Error(Object.assign(new Error('no such object'), { name: 'NoSuchKey' }), `reading ${this.#name(key)}`);
      return { info, [Symbol.asyncIterator]: () => checked(nothing(), options, this.#name(key)) };
    }
    const whole = Number(/\/(\d+)$/.exec(first.ContentRange ?? '')?.[1] ?? first.ContentLength ?? 0);
    const info = infoOf(key, whole, first.ETag, first.LastModified);
    const from = range?.from ?? 0;
    const chunks = this.#download(key, first, from, Math.min(range?.to ?? whole, whole));
    const bytes = range === undefined ? { bytes: whole, ...options } : {};
    return { info, [Symbol.asyncIterator]: () => checked(chunks, bytes, this.#name(key)) };
  }

  /** undefined: the range is beyond the end. */
  async #open(key: string, range: string | undefined, etag: string | undefined): Promise<Sdk.GetObjectCommandOutput | undefined> {
    const command = new this.#sdk.GetObjectCommand({ ...this.#target(key), ...(range === undefined ? {} : { Range: range }), ...(etag === undefined ? {} : { IfMatch: etag }) });
    try {
      const answer = await this.#client.send(command);
      const from = /^bytes=(\d+)-/.exec(range ?? '')?.[1];
      if (from === undefined || answer.ContentRange?.startsWith(`bytes ${from}-`) === true) return answer;
      (answer.Body as Readable | undefined)?.destroy();
      throw new OperationalError('OBJECT_STORE_REFUSED', `reading ${this.#name(key)}: byte ${from} and what follows was asked for, and the server sent ${answer.ContentRange ?? 'the object from its beginning'}; it must support range requests`);
    } catch (thrown) {
      if (range !== undefined && (thrown as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode === 416) return undefined;
      throw s3Error(thrown, `reading ${this.#name(key)}`);
    }
  }

  /** Bytes [from, to). A connection that breaks or stalls is replaced; only attempts without a byte of progress are counted. */
  async *#download(key: string, first: Sdk.GetObjectCommandOutput, from: number, to: number): AsyncGenerator<Uint8Array> {
    let at = from;
    let answer: Sdk.GetObjectCommandOutput | undefined = first;
    for (let attempt = 1; ; attempt++) {
      const body = answer?.Body as Readable | undefined;
      try {
        for await (const chunk of unstalled(must(body, 'an answer has a body'), this.#stallMs)) {
          at += chunk.length;
          attempt = 1;
          yield chunk;
        }
        if (at >= to) return; // longer than it says: for the check behind us
        throw new Error(`the connection ended at byte ${at} of ${to}`);
      } catch (thrown) {
        const error = s3Error(thrown, `reading ${this.#name(key)}`);
        const isWorthIt = error instanceof OperationalError && error.code === 'OBJECT_STORE_UNREACHABLE';
        if (!isWorthIt || attempt >= this.#attempts || at >= to) throw error;
      } finally {
        body?.destroy();
      }
      await delay(RESUME_DELAY_MS * attempt);
      answer = await this.#open(key, `bytes=${at}-${to - 1}`, first.ETag);
    }
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    assertKey(key);
    try {
      const answer = await this.#client.send(new this.#sdk.HeadObjectCommand(this.#target(key)));
      return infoOf(key, answer.ContentLength ?? 0, answer.ETag, answer.LastModified);
    } catch (thrown) {
      const error = s3Error(thrown, `looking at ${this.#name(key)}`);
      if (error instanceof OperationalError && error.code === 'OBJECT_NOT_FOUND') return undefined;
      throw error;
    }
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    const limit = Math.min(options.limit ?? PAGE_OBJECTS_MAX, PAGE_OBJECTS_MAX);
    const { after } = options;
    const answer = await this.#request('listing', prefix, () =>
      this.#client.send(new this.#sdk.ListObjectsV2Command({
        Bucket: this.#options.bucket,
        Prefix: this.#folder + prefix,
        MaxKeys: limit,
        ...(after === undefined ? {} : { StartAfter: this.#folder + after }),
      })),
    );
    const found = (answer.Contents ?? []).map(({ Key = '', Size = 0, LastModified }) => ({
      key: Key.slice(this.#folder.length),
      storedBytes: Size,
      modifiedMs: LastModified?.getTime() ?? 0,
    }));
    const last = found.at(-1)?.key;
    // Taken for the end, it would have objects that are there look as if they were not.
    if (answer.IsTruncated === true && last === undefined) {
      throw new OperationalError('OBJECT_STORE_UNREACHABLE', `listing ${this.#name(prefix)}: the server says that there is more and names no object; ask again, and look after the server`);
    }
    return { objects: found.filter(({ key }) => objectKeyFault(key) === undefined), next: answer.IsTruncated === true ? last : undefined };
  }

  async delete(key: string): Promise<void> {
    assertKey(key);
    await this.#request('deleting', key, () => this.#client.send(new this.#sdk.DeleteObjectCommand(this.#target(key)))).catch((thrown: unknown) => {
      if (!(thrown instanceof OperationalError) || thrown.code !== 'OBJECT_NOT_FOUND') throw thrown;
    });
  }

  async removeLeftovers(olderThanMs: number): Promise<number> {
    const beforeMs = Date.now() - olderThanMs;
    let removed = 0;
    let marker: { KeyMarker?: string; UploadIdMarker?: string } = {};
    for (;;) {
      const page = await this.#request('listing the unfinished uploads under', '', () =>
        this.#client.send(new this.#sdk.ListMultipartUploadsCommand({ Bucket: this.#options.bucket, Prefix: this.#folder, ...marker })),
      );
      for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
        if ((Initiated?.getTime() ?? Infinity) > beforeMs) continue;
        await this.#abort(Key.slice(this.#folder.length), UploadId);
        removed++;
      }
      if (page.IsTruncated !== true || page.NextKeyMarker === undefined) return removed;
      marker = { KeyMarker: page.NextKeyMarker, ...(page.NextUploadIdMarker === undefined ? {} : { UploadIdMarker: page.NextUploadIdMarker }) };
    }
  }

  close(): void {
    this.#client.destroy();
  }
}

function infoOf(key: string, bytes: number, etag: string | undefined, modified: Date | undefined): ObjectInfo {
  return { key, bytes, storedBytes: bytes, modifiedMs: modified?.getTime() ?? 0, etag: etag ?? '' };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** The source in pieces of `partBytes`, the last one shorter. Buffers given back are filled again. */
class Parts {
  readonly #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  readonly #check: ContentCheck;
  readonly #partBytes: number;
  readonly #free: Uint8Array[] = [];
  #rest: Uint8Array = new Uint8Array(0);
  /** The source has no more than what was returned. */
  ended = false;

  constructor(source: ByteSource, check: ContentCheck, partBytes: number) {
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#check = check;
    this.#partBytes = partBytes;
  }

  /** Lets the source go where it was left early. */
  async stop(): Promise<void> {
    if (!this.ended) await this.#iterator.return?.();
  }

  giveBack(part: Uint8Array): void {
    if (part.length === this.#partBytes) this.#free.push(part);
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.ended) return undefined;
    const part = this.#free.pop() ?? new Uint8Array(this.#partBytes);
    let filled = 0;
    for (;;) {
      const taken = this.#rest.subarray(0, part.length - filled);
      part.set(taken, filled);
      filled += taken.length;
      this.#rest = this.#rest.subarray(taken.length);
      // A full part waits for the next byte, so that the last one is known to be the last.
      if (this.#rest.length > 0) return part;
      const step: IteratorResult<Uint8Array, unknown> = await this.#iterator.next();
      if (step.done === true) break;
      this.#check.update(step.value);
      this.#rest = step.value;
    }
    this.ended = true;
    return part.subarray(0, filled);
  }
}

/** Chunks of a body; one that does not come within `stallMs` is an error. The time that the reader takes does not count. */
async function* unstalled(body: Readable, stallMs: number): AsyncGenerator<Uint8Array> {
  let isWaiting = true;
  const watch = setTimeout(() => {
    if (isWaiting) body.destroy(new Error(`nothing came for ${stallMs} ms`));
  }, stallMs);
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      isWaiting = false;
      yield chunk;
      isWaiting = true;
      watch.refresh();
    }
  } finally {
    clearTimeout(watch);
  }
}
