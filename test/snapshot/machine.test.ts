// The two files of a machine's snapshot are refused where they do not belong together, or are damaged. That a machine which came of
// sound ones goes on as the one that it was taken of is shown in all-commands.test.ts.
import { expect, test } from 'vitest';
import { OperationalError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { MACHINE_VERSION } from '../../src/machine/machine.ts';
import { decodeSidecar, encodeSidecar } from '../../src/snapshot/sidecar.ts';
import { LogModel } from './log-model.ts';
import { restored, snapshotOf } from './twins.ts';

test('a machine is not made of files that do not belong together, or are damaged', () => {
  const random = new Prng(4);
  const log = new LogModel(random);
  const { machine } = log;
  log.write(50);
  const first = snapshotOf(machine);
  const index = machine.appliedIndex;
  log.command();
  const second = snapshotOf(machine);
  expect(() => restored({ rdb: second.rdb, sidecar: first.sidecar })).toThrow();
  const sidecar = decodeSidecar(first.sidecar);
  const changed = (part: Partial<typeof sidecar>): Uint8Array => encodeSidecar({ ...sidecar, ...part });
  const faults: [Uint8Array, RegExp][] = [
    [changed({ digest: { low: 1, high: 2 } }), /holdfast-digest is 0000000200000001, that of the RDB file/],
    [changed({ state: { ...sidecar.state, databases: 1e9 } }), /has what no machine has/],
    [changed({ state: { ...sidecar.state, settings: [['hash-max-listpack-entries', NaN]] } }), /has what no machine has/],
    [changed({ state: { ...sidecar.state, index: 1 } }), new RegExp(`holdfast-index is 1, that of the RDB file ${index}`)],
    [changed({ state: { ...sidecar.state, settings: [['hash-max-listpack-entries', 9]] } }), /has digest [0-9a-f]{16} once loaded, and was written with/],
    [changed({ machineVersion: MACHINE_VERSION + 1 }), /needs machine version/],
    [changed({ rawStrings: Uint8Array.of(0, 0, 100) }), /names a key that is not there/],
    [changed({ rawStrings: Uint8Array.of(0, 0, 0x80) }), /a list of keys ends too early/],
    [changed({ keyVersions: Uint8Array.of(0, 0, 1, 1) }), /a list of keys ends too early/],
    [changed({ absentVersions: Uint8Array.of(1) }), /a version of absent keys is damaged/],
  ];
  for (const [bytes, message] of faults) expect(() => restored({ rdb: first.rdb, sidecar: bytes })).toThrow(message);
  for (let at = 0; at < first.sidecar.length; at++) {
    const damaged = Uint8Array.from(first.sidecar);
    damaged[at]! ^= 1 << random.below(8);
    expect(() => decodeSidecar(damaged)).toThrow(OperationalError);
    expect(() => decodeSidecar(first.sidecar.subarray(0, at))).toThrow(OperationalError);
  }
});
