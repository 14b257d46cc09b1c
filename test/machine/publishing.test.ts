// The published snapshot as machine state: the same on every node, in the digest, in the sidecar, gone on from after a restore.
import { expect, test } from 'vitest';
import { EntryKind, makeEntry } from '../../src/base/entry.ts';
import { allCommands } from '../../src/commands/all.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { makeBootstrapEntry } from '../../src/machine/bootstrap.ts';
import { digestText, Machine, MACHINE_VERSION } from '../../src/machine/machine.ts';
import { RecordBuilder, RecordKind } from '../../src/machine/record-codec.ts';
import { SnapshotRestore, SnapshotWriter } from '../../src/snapshot/machine-snapshot.ts';

const HEADROOM = 40;
const nobody = { begin: () => undefined, end: () => undefined, session: () => undefined, server: () => undefined };
const report = { handlerThrew: (command: string) => expect.fail(command), diverged: () => expect.fail('diverged') };
const table = new CommandTable(allCommands);
const SHA = 'ab'.repeat(32);
const DIGEST = '0123456789abcdef';

function bootstrapped(): Machine {
  const machine = new Machine(table, report, () => 0);
  machine.apply(makeBootstrapEntry({ databases: 2, hashKey: new Uint8Array(16), settings: [] }, 1000), 1, 1, 1000, nobody);
  return machine;
}

function run(machine: Machine, timeMs: number, ...words: string[]): void {
  const builder = new RecordBuilder(HEADROOM, 256);
  builder.begin(RecordKind.command, 2, 0, { node: 1, boot: 1 }, 1, 1);
  const bytes = Buffer.from(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`, 'latin1');
  builder.put(bytes, 0, bytes.length);
  builder.end();
  const entry = makeEntry(EntryKind.commands, MACHINE_VERSION, 1, timeMs, builder.bytes.slice(HEADROOM, builder.length));
  machine.apply(entry, machine.appliedIndex + 1, 1, timeMs, nobody);
}

const publish = (machine: Machine, index: number, timeMs = 5000): void =>
  run(machine, timeMs, 'HOLDFAST', 'PUBLISH', String(index), '1', `snapshots/${index}`, SHA, DIGEST);

function copied(machine: Machine): Machine {
  const writer = new SnapshotWriter(machine, 0);
  const chunks: Uint8Array[] = [];
  for (let chunk = writer.next(); chunk !== undefined; chunk = writer.next()) chunks.push(chunk.slice());
  const restore = new SnapshotRestore(table, report, () => 0, writer.sidecar());
  for (const chunk of chunks) restore.feed(chunk);
  return restore.end();
}

test('is set by the log alone, only forwards, and never beyond what was applied', () => {
  const machine = bootstrapped();
  expect(machine.publishing.newest).toBeUndefined();
  publish(machine, 2);
  expect(machine.publishing.newest, 'of the entry itself').toBeUndefined();
  publish(machine, 2, 6000);
  expect(machine.publishing.newest).toEqual({ index: 2, term: 1, manifestKey: 'snapshots/2', manifestSha256: SHA, digest: DIGEST, timeMs: 6000 });
  publish(machine, 1);
  publish(machine, 2);
  publish(machine, 99);
  expect(machine.publishing.index).toBe(2);
  publish(machine, 5);
  expect(machine.publishing.index).toBe(5);
});

test('is in the digest, and without one the digest is what it always was', () => {
  const [plain, published, later] = [bootstrapped(), bootstrapped(), bootstrapped()];
  const before = digestText(plain.digest());
  publish(published, 1, 5000);
  publish(later, 1, 5001);
  expect(digestText(plain.digest())).toBe(before);
  expect(new Set([before, digestText(published.digest()), digestText(later.digest())]).size).toBe(3);
});

test('goes into a snapshot and comes back, and the log goes on from there', () => {
  const machine = bootstrapped();
  run(machine, 4000, 'SET', 'a', '1');
  expect(copied(machine).publishing.newest).toBeUndefined();
  publish(machine, 2);
  const copy = copied(machine);
  expect(copy.publishing.newest).toEqual(machine.publishing.newest);
  for (const one of [machine, copy]) {
    publish(one, 2);
    publish(one, 3, 7000);
  }
  expect(copy.publishing.index).toBe(3);
  expect(digestText(copy.digest())).toBe(digestText(machine.digest()));
});
