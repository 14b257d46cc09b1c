// What the S3 client throws, as operational errors: by the server's error code where there is one, else by the HTTP
// status, else by what Node says of the connection.
import { OperationalError, errorText } from '../base/errors.ts';
import type { OperationalCode } from '../base/errors.ts';

interface SdkError {
  readonly name?: string;
  readonly Code?: string;
  readonly code?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number };
}

const CREDENTIALS = 'check the access key and its secret (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, or the role of this machine)';
const PERMISSIONS = 'let this access key list the bucket, and read, write and delete objects in it, and abort multipart uploads';
const ROOM = 'free space there, raise the quota, or keep fewer snapshots';
const AGAIN = 'check the endpoint, the network and the server';
const CLOCK = 'set the clock of this machine';
const REGION = "set region (and endpoint) in the object store's URL to those of the bucket";

const BY_NAME: Readonly<Record<string, readonly [OperationalCode, string]>> = {
  AccessDenied: ['OBJECT_STORE_REFUSED', PERMISSIONS],
  AllAccessDisabled: ['OBJECT_STORE_REFUSED', PERMISSIONS],
  AccountProblem: ['OBJECT_STORE_REFUSED', PERMISSIONS],
  InvalidAccessKeyId: ['OBJECT_STORE_REFUSED', CREDENTIALS],
  SignatureDoesNotMatch: ['OBJECT_STORE_REFUSED', CREDENTIALS],
  ExpiredToken: ['OBJECT_STORE_REFUSED', CREDENTIALS],
  InvalidToken: ['OBJECT_STORE_REFUSED', CREDENTIALS],
  TokenRefreshRequired: ['OBJECT_STORE_REFUSED', CREDENTIALS],
  CredentialsProviderError: ['OBJECT_STORE_REFUSED', CREDENTIALS],
  RequestTimeTooSkewed: ['OBJECT_STORE_REFUSED', CLOCK],
  NoSuchBucket: ['OBJECT_STORE_REFUSED', 'make the bucket, or correct its name'],
  InvalidBucketName: ['OBJECT_STORE_REFUSED', 'correct the name of the bucket'],
  PermanentRedirect: ['OBJECT_STORE_REFUSED', REGION],
  AuthorizationHeaderMalformed: ['OBJECT_STORE_REFUSED', REGION],
  IllegalLocationConstraintException: ['OBJECT_STORE_REFUSED', REGION],
  NotImplemented: ['OBJECT_STORE_REFUSED', "this server lacks a part of S3 that is needed; checksum=none in the object store's URL helps with some"],
  NoSuchKey: ['OBJECT_NOT_FOUND', 'check bucket and prefix, and whether the object was deleted'],
  NotFound: ['OBJECT_NOT_FOUND', 'check bucket and prefix, and whether the object was deleted'],
  NoSuchUpload: ['OBJECT_STORE_UNREACHABLE', 'the server has dropped the upload; it will be made again'],
  PreconditionFailed: ['OBJECT_DAMAGED', 'the object was replaced while it was read; read it again'],
  BadDigest: ['OBJECT_DAMAGED', 'bytes are changed on their way to the server; check the network and what stands between'],
  InvalidDigest: ['OBJECT_DAMAGED', 'bytes are changed on their way to the server; check the network and what stands between'],
  XAmzContentSHA256Mismatch: ['OBJECT_DAMAGED', 'bytes are changed on their way to the server; check the network and what stands between'],
  XAmzContentChecksumMismatch: ['OBJECT_DAMAGED', 'bytes are changed on their way to the server; check the network and what stands between'],
  InsufficientStorage: ['OBJECT_STORE_FULL', ROOM],
  QuotaExceeded: ['OBJECT_STORE_FULL', ROOM],
  XMinioStorageFull: ['OBJECT_STORE_FULL', ROOM],
  XMinioAdminBucketQuotaExceeded: ['OBJECT_STORE_FULL', ROOM],
  StorageFull: ['OBJECT_STORE_FULL', ROOM],
};

const BY_STATUS: Readonly<Record<number, readonly [OperationalCode, string]>> = {
  301: ['OBJECT_STORE_REFUSED', REGION],
  401: ['OBJECT_STORE_REFUSED', CREDENTIALS],
  403: ['OBJECT_STORE_REFUSED', `${CREDENTIALS}; and ${PERMISSIONS}`],
  404: ['OBJECT_NOT_FOUND', 'check bucket and prefix, and whether the object was deleted'],
  412: ['OBJECT_DAMAGED', 'the object was replaced while it was read; read it again'],
  413: ['OBJECT_STORE_FULL', ROOM],
  507: ['OBJECT_STORE_FULL', ROOM],
};

/** `what` is "writing s3://…": what was being done, and where. What is no error of a request is returned as it is. */
export function s3Error(thrown: unknown, what: string): unknown {
  if (thrown instanceof OperationalError || !(thrown instanceof Error)) return thrown;
  if (thrown instanceof TypeError || thrown.name === 'AssertionError') return thrown;
  const error = thrown as SdkError;
  const name = error.Code ?? error.name ?? '';
  const status = error.$metadata?.httpStatusCode;
  const isChecksum = status === undefined && /checksum mismatch/i.test(errorText(thrown));
  const [code, advice] =
    (isChecksum ? (['OBJECT_DAMAGED', 'bytes were changed in the store or on their way from it; read again, and verify the snapshots'] as const) : undefined) ??
    BY_NAME[name] ??
    (/credential/i.test(errorText(thrown)) && status === undefined ? BY_NAME['CredentialsProviderError'] : undefined) ??
    (status === undefined ? undefined : BY_STATUS[status]) ??
    (/region is missing/i.test(errorText(thrown)) ? (['OBJECT_STORE_REFUSED', REGION] as const) : undefined) ??
    (['OBJECT_STORE_UNREACHABLE', AGAIN] as const);
  return new OperationalError(code, `${what}: ${reason(thrown, name, status, error)}; ${advice}`, { cause: thrown });
}

/** Is what the request was about gone: an upload that was completed or dropped already? */
export function isGone(thrown: unknown): boolean {
  const { name, Code, $metadata } = thrown as SdkError;
  return [name, Code].includes('NoSuchUpload') || $metadata?.httpStatusCode === 404;
}

function reason(thrown: Error, name: string, status: number | undefined, { code, $metadata }: SdkError): string {
  const parts = [errorText(thrown) === '' || errorText(thrown) === 'UnknownError' ? '' : errorText(thrown).replace(/\.$/, '')];
  const known = name === 'Error' || name === 'AggregateError' ? '' : name;
  parts.push([known, code ?? '', status === undefined ? '' : `HTTP ${status}`].filter((part) => part !== '').join(', '));
  const attempts = ($metadata?.attempts ?? 1) > 1 ? `${$metadata?.attempts} attempts: ` : '';
  const [text = '', detail = ''] = parts;
  if (text === '') return attempts + (detail === '' ? 'no reason given' : detail);
  return attempts + text + (detail === '' ? '' : ` (${detail})`);
}
