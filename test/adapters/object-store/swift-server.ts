// Starts the real S3 server that the tests talk to: OpenStack Swift's s3api (Debian: python3-swift), see swift-s3.py.
// What it shows: signatures, the signed SHA-256 of the body, Content-MD5, parts' ETags and sizes, listing, paging, ranges.
// What it cannot show is in docs/dependencies.md.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as Sdk from '@aws-sdk/client-s3';

const PYTHON = '/usr/bin/python3';
const START_MS = 30_000;

export const CREDENTIALS = { accessKeyId: 'test:tester', secretAccessKey: 'testing' };

/** Why there can be no server here, or undefined. */
export const swiftMissing: string | undefined = (() => {
  const found = spawnSync(PYTHON, ['-c', 'import swift, eventlet, paste.deploy'], { stdio: 'ignore' });
  return found.status === 0 ? undefined : 'python3-swift is not installed (apt-get install python3-swift)';
})();
if (swiftMissing !== undefined) console.warn(`S3 tests are skipped: ${swiftMissing}`);

export interface SwiftServer {
  readonly port: number;
  readonly endpoint: string;
  stop(): Promise<void>;
}

export async function startSwift(): Promise<SwiftServer> {
  const dir = fs.mkdtempSync(join(tmpdir(), 'holdfast-swift-'));
  const child = spawn(PYTHON, [join(import.meta.dirname, 'swift-s3.py'), dir], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const port = await readyPort(child);
  return {
    port,
    endpoint: `http://127.0.0.1:${port}`,
    stop: async () => {
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(timer);
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}

function readyPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`Swift did not start within ${START_MS} ms: ${stderr}`));
    }, START_MS);
    child.stderr?.on('data', (data: Buffer) => { stderr += data.toString(); });
    child.stdout?.on('data', (data: Buffer) => {
      stdout += data.toString();
      const port = /^ready (\d+)$/m.exec(stdout)?.[1];
      if (port === undefined) return;
      clearTimeout(timer);
      resolve(Number(port));
    });
    child.on('close', () => {
      clearTimeout(timer);
      reject(new Error(`Swift ended: ${stderr}`));
    });
  });
}

/** The SDK itself, to look behind the store's back. */
export async function rawClient(endpoint: string, options: Partial<Sdk.S3ClientConfig> = {}): Promise<{ sdk: typeof Sdk; client: Sdk.S3Client }> {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const sdk = await import('@aws-sdk/client-s3');
  return { sdk, client: new sdk.S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: CREDENTIALS, maxAttempts: 1, ...options }) };
}

let buckets = 0;
export async function makeBucket(endpoint: string): Promise<string> {
  const bucket = `bucket-${process.pid}-${++buckets}`;
  const { sdk, client } = await rawClient(endpoint);
  await client.send(new sdk.CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  return bucket;
}
