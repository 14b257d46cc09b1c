// `object-store` as the operator writes it, and the store that it means:
//
//   /var/lib/holdfast/objects, ./objects, file:///mnt/objects
//   s3://bucket/prefix?endpoint=http://10.0.0.9:9000&region=eu-central-1&path-style=yes&checksum=crc32&part-size=8mb
//
// Credentials are never in it: the SDK finds them (environment, profile, the machine's role).
import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationalError, errorText } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { objectKeyFault } from '../ports/object-store.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { openDirectoryStore } from './directory-store.ts';
import { EncryptedStore } from './encrypted-store.ts';
import { readEncryptionKeys } from './encryption-keys.ts';
import { PART_BYTES_DEFAULT, PART_BYTES_MAX, PART_BYTES_MIN, openS3Store } from './s3-store.ts';
import type { S3Checksum, S3StoreOptions } from './s3-store.ts';

export type ObjectStoreUrl = { readonly kind: 'directory'; readonly path: string } | ({ readonly kind: 's3' } & S3StoreOptions);

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const PARAMETERS = ['endpoint', 'region', 'path-style', 'checksum', 'part-size'];

/** Throws OperationalError CONFIG that says what is wrong with `text`. A relative directory is taken from `base`. */
export function parseObjectStoreUrl(text: string, base = process.cwd()): ObjectStoreUrl {
  if (text.trim() === '') throw refuse(text, 'it is empty; give a directory or s3://bucket/prefix');
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    if (/^(s3|file):/i.test(text)) throw refuse(text, 'two slashes are missing behind the colon');
    return { kind: 'directory', path: isAbsolute(text) ? text : resolve(base, text) };
  }
  if (scheme === 'file') {
    try {
      return { kind: 'directory', path: fileURLToPath(text) };
    } catch (thrown) {
      throw refuse(text, `${errorText(thrown)}; write file:///absolute/path, or the path alone`);
    }
  }
  if (scheme !== 's3') throw refuse(text, `${scheme}:// is not known; give a directory, file:///directory or s3://bucket/prefix`);
  return parseS3(text);
}

function parseS3(text: string): ObjectStoreUrl {
  const url = new URL(text.replace(/^s3:/i, 'http:').replace(/^http:\/\/([^/?#]*)/, 'http://placeholder'));
  const bucket = /^s3:\/\/([^/?#]*)/i.exec(text)?.[1] ?? '';
  if (bucket.includes('@')) throw refuse(text, 'credentials do not belong here; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile');
  if (bucket.includes(':')) throw refuse(text, 'what follows s3:// is a bucket; give the server as ?endpoint=http://host:port');
  if (!BUCKET.test(bucket)) throw refuse(text, `${JSON.stringify(bucket)} is no name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens`);
  if (url.hash !== '') throw refuse(text, 'a # has no meaning here');
  const prefix = decodePath(text, url.pathname).replace(/^\/+|\/+$/g, '');
  const fault = prefix === '' ? undefined : objectKeyFault(prefix);
  if (fault !== undefined) throw refuse(text, `prefix: ${fault}`);
  for (const name of url.searchParams.keys()) {
    if (!PARAMETERS.includes(name)) throw refuse(text, `${name} is no parameter; there are ${PARAMETERS.join(', ')}`);
    if (url.searchParams.getAll(name).length > 1) throw refuse(text, `${name} is there twice`);
  }
  const parameter = (name: string): string | undefined => url.searchParams.get(name) ?? undefined;
  const endpoint = parameter('endpoint');
  return {
    kind: 's3',
    bucket,
    prefix,
    endpoint: endpoint === undefined ? undefined : parseEndpoint(text, endpoint),
    region: parseRegion(text, parameter('region')),
    pathStyle: parseYesNo(text, 'path-style', parameter('path-style') ?? (endpoint === undefined ? 'no' : 'yes')),
    checksum: parseChecksum(text, parameter('checksum') ?? 'crc32'),
    partBytes: parsePartBytes(text, parameter('part-size')),
  };
}

function decodePath(text: string, path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw refuse(text, 'a % in the prefix is not followed by two hex digits');
  }
}

function parseEndpoint(text: string, endpoint: string): string {
  if (endpoint.includes('@')) throw refuse(text, 'credentials do not belong here; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile');
  let url: URL;
  try {
    url = new URL(endpoint);
  } catch {
    throw refuse(text, `endpoint ${JSON.stringify(endpoint)} is no URL; write http://host:port or https://host`);
  }
  if (!['http:', 'https:'].includes(url.protocol)) throw refuse(text, `endpoint ${JSON.stringify(endpoint)} is neither http:// nor https://`);
  if (url.search !== '' || url.hash !== '') throw refuse(text, `endpoint ${JSON.stringify(endpoint)} is a server and perhaps a path, without ? and #`);
  return endpoint.replace(/\/+$/, '');
}

function parseRegion(text: string, region: string | undefined): string | undefined {
  if (region !== undefined && !/^[a-z0-9-]{1,63}$/i.test(region)) throw refuse(text, `region ${JSON.stringify(region)} is no name of a region, such as eu-central-1`);
  return region;
}

function parseYesNo(text: string, name: string, value: string): boolean {
  if (value !== 'yes' && value !== 'no') throw refuse(text, `${name} is yes or no, not ${JSON.stringify(value)}`);
  return value === 'yes';
}

function parseChecksum(text: string, value: string): S3Checksum {
  if (value !== 'crc32' && value !== 'sha256' && value !== 'none') throw refuse(text, `checksum is crc32, sha256 or none, not ${JSON.stringify(value)}`);
  return value;
}

function parsePartBytes(text: string, value: string | undefined): number {
  if (value === undefined) return PART_BYTES_DEFAULT;
  const [, number = '', unit = ''] = /^(\d+)(|b|kb|mb|gb)$/i.exec(value) ?? [];
  const factor = { '': 1, b: 1, kb: KiB, mb: MiB, gb: KiB * MiB }[unit.toLowerCase()] ?? 1;
  const bytes = Number(number) * factor;
  if (number === '' || bytes < PART_BYTES_MIN || bytes > PART_BYTES_MAX) {
    throw refuse(text, `part-size is from ${PART_BYTES_MIN / MiB}mb to ${PART_BYTES_MAX / MiB}mb, not ${JSON.stringify(value)}`);
  }
  return bytes;
}

function refuse(text: string, why: string): OperationalError {
  return new OperationalError('CONFIG', `object store ${JSON.stringify(withoutSecrets(text))}: ${why}`);
}

/** What stands where a password may, and the values of parameters that are none of ours, are not for logs. */
function withoutSecrets(text: string): string {
  const known = new Set<string>(PARAMETERS);
  return text
    .replace(/(\/\/|%2f%2f)[^/?#&]*(?:@|%40)/gi, '$1…@')
    .replace(/([?&])([^=&#]*)=([^&#]*)/g, (all, mark: string, name: string, value: string) => (known.has(name) && !/@|%40/.test(value) ? all : `${mark}${name}=…`));
}

export interface OpenObjectStoreOptions {
  /** File with keys: what is written is encrypted. */
  readonly keyFile?: string;
  /** For S3, in tests. */
  readonly s3?: Pick<S3StoreOptions, 'attempts' | 'stallMs' | 'credentials'>;
}

export async function openObjectStore(url: ObjectStoreUrl, options: OpenObjectStoreOptions = {}): Promise<ObjectStore> {
  const keys = options.keyFile === undefined ? undefined : readEncryptionKeys(options.keyFile);
  const store = url.kind === 'directory' ? await openDirectoryStore(url.path) : await openS3Store({ ...url, ...options.s3 });
  return keys === undefined ? store : new EncryptedStore(store, keys);
}
