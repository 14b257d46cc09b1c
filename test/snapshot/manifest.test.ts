import { describe, expect, test } from 'vitest';
import { OperationalError } from '../../src/base/errors.ts';
import { decodeManifest, encodeManifest } from '../../src/snapshot/manifest.ts';
import type { SnapshotManifest } from '../../src/snapshot/manifest.ts';

const manifest: SnapshotManifest = {
  clusterId: 'c1', index: 12_345, term: 7, timeMs: 1_790_000_000_000, machineVersion: 1, digest: '0123456789abcdef', createdMs: 1_790_000_000_123, release: '0.1.0', encryptionKeyId: null,
  parts: [{ name: 'data', key: 'cluster-c1/snapshots/x/data.rdb', bytes: 99, sha256: 'ab'.repeat(32) }, { name: 'state', key: 'cluster-c1/snapshots/x/state', bytes: 0, sha256: 'cd'.repeat(32) }],
};

function refusal(bytes: Uint8Array): string {
  try {
    decodeManifest(bytes, 'store/manifest.json');
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(OperationalError);
    expect(thrown).toMatchObject({ code: 'OBJECT_DAMAGED' });
    return (thrown as Error).message;
  }
  throw new Error('not refused');
}

describe('the manifest', () => {
  test('comes back as it was, and is one text whatever order its fields were given in', () => {
    const bytes = encodeManifest(manifest);
    expect(decodeManifest(bytes, 'x')).toEqual(manifest);
    const shuffled = Object.fromEntries(Object.entries(manifest).reverse()) as unknown as SnapshotManifest;
    expect(Buffer.from(encodeManifest({ ...shuffled, parts: manifest.parts.map((part) => Object.fromEntries(Object.entries(part).reverse()) as unknown as typeof part) })).toString()).toBe(Buffer.from(bytes).toString());
    expect(decodeManifest(encodeManifest({ ...manifest, encryptionKeyId: 'k1' }), 'x').encryptionKeyId).toBe('k1');
  });

  test('any changed, missing or added byte is found', () => {
    const bytes = encodeManifest(manifest);
    for (let at = 0; at < bytes.length; at++) {
      for (const bit of [0, 3, 6]) {
        const changed = Uint8Array.from(bytes);
        changed[at]! ^= 1 << bit;
        expect(refusal(changed), `byte ${at} bit ${bit}`).toMatch(/^store\/manifest.json (is no valid manifest|has format)/);
      }
      refusal(bytes.subarray(0, at));
    }
    refusal(Buffer.concat([bytes, Buffer.from('\n')]));
    refusal(Buffer.from('[]'));
    refusal(Buffer.from(Buffer.from(bytes).toString().replace('"clusterId":"c1",', '')));
  });

  test('another format says so, and what is no manifest is not written', () => {
    expect(refusal(Buffer.from(Buffer.from(encodeManifest(manifest)).toString().replace('"format":1', '"format":2')))).toContain('has format 2, this release reads format 1; use the release');
    for (const [change, expected] of [[{ index: 0 }, 'index is 0'], [{ digest: 'x' }, 'digest is "x"'], [{ parts: [] }, 'no parts'], [{ term: 1.5 }, 'term is 1.5'], [{ parts: [{ ...manifest.parts[0]!, key: '../x' }] }, 'key of a part is "../x"']] as const) {
      expect(() => encodeManifest({ ...manifest, ...change })).toThrow(expected);
    }
  });
});
