// The object store: where snapshots and archived log segments go. Real: src/adapters/directory-store.ts and
// src/adapters/s3-store.ts, src/adapters/encrypted-store.ts over either.
//
// What must hold:
// - A put is all or nothing: until it resolves the key has its old object or none, and a reader never sees a part. Once it
//   has resolved, the object survives a crash of whatever keeps it, and every later get, head and list sees it. A put that
//   rejects may have happened all the same (the answer was lost): whoever cares repeats it or asks with head.
// - Two puts to one key at a time: one of them wins, whole. A key is never a folder of another key.
// - Bytes are checked: against `bytes` and `sha256` of the options where they are given, on the way in (then nothing is
//   stored) and on the way out (then the last chunk is followed by OBJECT_DAMAGED, so use nothing before the end).
// - Memory is bounded, whatever the size: a few parts of a put, a chunk of a get.
// - Everything rejects with an OperationalError whose text says what, where and what to do: OBJECT_STORE_UNREACHABLE,
//   OBJECT_STORE_REFUSED, OBJECT_STORE_FULL, OBJECT_NOT_FOUND, OBJECT_DAMAGED. What the source of a put throws comes through as it is.

/** The longest key: a store has a limit of its own (S3: 1024), and a prefix to put before it. */
export const OBJECT_KEY_BYTES_MAX = 512;
const SEGMENT_BYTES_MAX = 200;
const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._+=@,-]*$/;

/** What is wrong with `key`, or undefined. Segments between slashes that any file system and any URL takes; none begins with a dot. */
export function objectKeyFault(key: string): string | undefined {
  if (key === '') return 'a key is not empty';
  if (key.length > OBJECT_KEY_BYTES_MAX) return `a key has at most ${OBJECT_KEY_BYTES_MAX} characters, not ${key.length}`;
  for (const segment of key.split('/')) {
    if (segment.length > SEGMENT_BYTES_MAX) return `a part of a key between slashes has at most ${SEGMENT_BYTES_MAX} characters, not ${segment.length}`;
    if (!SEGMENT.test(segment)) {
      return `${JSON.stringify(segment)} is no part of a key: letters, digits and . _ + = @ , - only, the first a letter or a digit`;
    }
  }
  return undefined;
}

export interface ListedObject {
  readonly key: string;
  /** What it takes in the store: more than its content where that is encrypted. */
  readonly storedBytes: number;
  readonly modifiedMs: number;
}

export interface ObjectInfo extends ListedObject {
  /** Bytes of its content. */
  readonly bytes: number;
  /** Opaque; another after every put. */
  readonly etag: string;
}

export interface PutOptions {
  /** If given, the source must have exactly as many. Lets a store choose its part size. */
  readonly bytes?: number;
  /** SHA-256 in hex that the source must have. */
  readonly sha256?: string;
}

export interface PutResult {
  readonly bytes: number;
  /** SHA-256 of the content, in hex: what to give to `get` later. */
  readonly sha256: string;
  readonly etag: string;
}

/** Bytes [from, to) of the content; what is beyond its end is not there. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

export interface GetOptions {
  readonly range?: ByteRange;
  /** Length and SHA-256 that the whole content must have; not together with a range. */
  readonly bytes?: number;
  readonly sha256?: string;
}

/** An object being read, once. A chunk stays as it is when the next one comes. A loop that is left early releases what it holds; one that is never begun holds a connection or a file. */
export interface ObjectBody extends AsyncIterable<Uint8Array> {
  readonly info: ObjectInfo;
}

export interface ListOptions {
  /** Go on behind this key, there or not. */
  readonly after?: string;
  /** Objects on one page at most; without it as many as suit the store. */
  readonly limit?: number;
}

export interface ListPage {
  /** Ascending by key, byte by byte. */
  readonly objects: readonly ListedObject[];
  /** Give it as `after` for the next page; undefined on the last. */
  readonly next: string | undefined;
}

export type ByteSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface ObjectStore {
  /** For messages: "s3://bucket/prefix at http://…", "/var/lib/holdfast/objects". */
  readonly location: string;
  /** Chunks may be of any size; the store is done with one when it asks for the next. */
  put(key: string, source: ByteSource, options?: PutOptions): Promise<PutResult>;
  get(key: string, options?: GetOptions): Promise<ObjectBody>;
  /** undefined: no such object. */
  head(key: string): Promise<ObjectInfo | undefined>;
  /** Objects whose key begins with `prefix`. Sees every put that had resolved before the call. Foreign names are passed over. */
  list(prefix: string, options?: ListOptions): Promise<ListPage>;
  /** Resolves also where there was nothing. */
  delete(key: string): Promise<void>;
  /** Removes what puts that never finished left behind and that has not changed for `olderThanMs`; says how many. */
  removeLeftovers(olderThanMs: number): Promise<number>;
  /** Lets connections go. Nothing is under way any more. */
  close(): void;
}

/** All objects under a prefix, page by page. */
export async function* listAll(store: ObjectStore, prefix: string): AsyncGenerator<ListedObject> {
  let after: string | undefined;
  do {
    const page: ListPage = await store.list(prefix, after === undefined ? {} : { after });
    yield* page.objects;
    after = page.next;
  } while (after !== undefined);
}

/** The whole content in one piece: for manifests and other small objects. */
export async function readObject(store: ObjectStore, key: string, options?: GetOptions): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of await store.get(key, options)) {
    chunks.push(chunk);
    bytes += chunk.length;
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
