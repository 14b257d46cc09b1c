// What loading in batches, with the checksum added up elsewhere, must not change: where a fault is found, what RESIZEDB is worth,
// and that nothing comes out of a file whose checksum is not known to be right.
import { describe, expect, test } from 'vitest';
import { LocalSums } from '../../src/adapters/byte-sums.ts';
import { Prng } from '../../src/base/prng.ts';
import { RdbReader } from '../../src/snapshot/rdb-reader.ts';
import { SnapshotRestore } from '../../src/snapshot/machine-snapshot.ts';
import { contents, FileBuilder, load, newKeyspace, write } from './files.ts';
import { LogModel, silentReport, table } from './log-model.ts';
import { snapshotOf } from './twins.ts';

const fresh = Math.floor(Math.random() * 2 ** 32);
const HUGE = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const TWO_40 = [0x81, 0, 0, 1, 0, 0, 0, 0, 0];

function faultOf(file: Uint8Array, pieceBytes: number): string {
  const reader = new RdbReader(newKeyspace(), {});
  try {
    for (let at = 0; at < file.length; at += pieceBytes) reader.feed(file.slice(at, at + pieceBytes));
    reader.end();
  } catch (thrown) {
    return (thrown as Error).message;
  }
  return 'none';
}

/** String keys, each of 12 bytes in the file, the first at byte 9. */
function strings(count: number): FileBuilder {
  const file = new FileBuilder();
  for (let i = 0; i < count; i++) file.raw(0).string(`key${String(i).padStart(5, '0')}`).string('v');
  return file;
}

describe('a key that comes twice', () => {
  test.each([0, 1, 254, 255, 256, 257, 700])('is told of at its byte, %d keys behind the first', (between) => {
    const bytes = strings(between + 1).raw(0).string('key00000').string('w').raw(0).string('z').string('z').end();
    const expected = `key "key00000" comes twice in database 0, at byte ${9 + 12 * (between + 1)}`;
    for (const piece of [1, 13, 1000, 1e6]) expect(faultOf(bytes, piece)).toBe(expected);
  });

  test('is told of before whatever is wrong behind it', () => {
    const twice = (): FileBuilder => strings(3).raw(0).string('key00001').string('w');
    const expected = 'key "key00001" comes twice in database 0, at byte 45';
    const damaged = [
      twice().raw(244, 1, 2).end(),
      twice().raw(254).length(90).end(),
      twice().raw(4).string('key00001').length(1).string('f').string('v').end(),
      twice().raw(5).string('zz').length(1).string('m').double(NaN).end(),
      twice().raw(11).string('list').string('x').end(),
      twice().end().subarray(0, -9),
    ];
    for (const file of damaged) for (const piece of [1, 7, 1e6]) expect(faultOf(file, piece)).toBe(expected);
  });

  test('in two databases is no fault, nor where kinds of values take turns', () => {
    const file = strings(2).raw(254).length(1).raw(0).string('key00000').string('w');
    file.raw(4).string('h').length(1).string('f').string('v').raw(0).string('key00001').string('x').raw(254).length(0).raw(0).string('last').string('y');
    const { keyspace, report } = load(file.end(), {});
    expect(report.keys).toBe(6);
    expect(contents(keyspace).map((line) => (JSON.parse(line) as unknown[]).slice(0, 2))).toEqual([[0, 'key00000'], [0, 'key00001'], [0, 'last'], [1, 'key00000'], [1, 'h'], [1, 'key00001']]);
  });
});

test.each([['2^40', TWO_40], ['2^63', HUGE], ['none', [0]], ['three', [3]]])('RESIZEDB that says %s changes nothing but how fast it goes', (_, claim) => {
  const count = 30_000;
  const keys = strings(count).end().subarray(9, -9);
  const truth = load(new FileBuilder().raw(254, 0, 251).length(count).length(0).raw(keys).end(), {});
  const before = process.memoryUsage().arrayBuffers;
  const lie = load(new FileBuilder().raw(254, 0, 251, ...claim, ...claim, keys).end(), {});
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(256 * 2 ** 20);
  expect(lie.keyspace.digest()).toEqual(truth.keyspace.digest());
  expect(lie.keyspace.usedBytes).toBeLessThan(truth.keyspace.usedBytes * 1.5);
  expect(Buffer.compare(write(lie.keyspace), write(truth.keyspace))).toBe(0);
  const database = lie.keyspace.database(0);
  while (database.size > 0) database.remove(database.at(database.size - 1));
  expect(lie.keyspace.usedBytes).toBe(0);
});

describe('a snapshot whose checksum is added up elsewhere', () => {
  function snapshot(seed: number): { rdb: Uint8Array; sidecar: Uint8Array; digest: unknown } {
    const log = new LogModel(new Prng(seed));
    log.write(60);
    return { ...snapshotOf(log.machine), digest: log.machine.digest() };
  }

  function restore({ rdb, sidecar }: { rdb: Uint8Array; sidecar: Uint8Array }, summed = rdb): unknown {
    const sums = new LocalSums();
    sums.addNow(summed);
    const restoring = new SnapshotRestore(table, silentReport, () => 0, sidecar, { isSummedElsewhere: true });
    restoring.feed(rdb);
    return restoring.end(sums.finishNow().crc64).digest();
  }

  test('comes back, and not without the checksum', () => {
    const made = snapshot(fresh);
    expect(restore(made), `seed ${fresh}`).toEqual(made.digest);
    const restoring = new SnapshotRestore(table, silentReport, () => 0, made.sidecar, { isSummedElsewhere: true });
    restoring.feed(made.rdb);
    expect(() => restoring.end()).toThrow('says what it came to');
  });

  test('gives access clocks of when it was loaded, that go on afterwards', () => {
    const log = new LogModel(new Prng(11));
    log.write(60);
    const { rdb, sidecar } = snapshotOf(log.machine);
    let nowMs = 50_000;
    const restoring = new SnapshotRestore(table, silentReport, () => nowMs, sidecar);
    restoring.feed(rdb);
    nowMs = 90_000;
    const { keyspace } = restoring.end();
    const database = Array.from({ length: keyspace.databases }, (_, number) => keyspace.database(number)).find(({ size }) => size > 0)!;
    expect(keyspace.idleMs(database.at(0))).toBe(40_000);
    nowMs = 95_000;
    expect(keyspace.idleMs(database.at(0))).toBe(45_000);
    keyspace.touch(database.at(0));
    expect(keyspace.idleMs(database.at(0))).toBe(0);
  });

  test('is refused where any byte is another, the checksum itself included', () => {
    const made = snapshot(5);
    const random = new Prng(fresh);
    for (let i = 0; i < 300; i++) {
      const rdb = Uint8Array.from(made.rdb);
      const at = i < 8 ? rdb.length - 8 + i : random.below(rdb.length);
      rdb[at]! ^= 1 << random.below(8);
      expect(() => restore({ rdb, sidecar: made.sidecar }), `seed ${fresh}, byte ${at}`).toThrow();
    }
    // All that it holds is right, but for the checksum of what was summed.
    const other = Uint8Array.from(made.rdb);
    other[20]! ^= 1;
    expect(() => restore(made, other)).toThrow(`the file’s checksum does not match its bytes, at byte ${made.rdb.length - 8}`);
  });
});
