// Apply on records that no gateway of this release makes: whatever is in the log, every node goes on, and all alike.
import { expect, test } from 'vitest';
import { EntryKind, makeEntry } from '../../src/base/entry.ts';
import { allCommands } from '../../src/commands/all.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { makeBootstrapEntry } from '../../src/machine/bootstrap.ts';
import { digestText, Machine, MACHINE_VERSION } from '../../src/machine/machine.ts';
import { fullSequence, NO_WATCH, RecordBuilder, RecordKind } from '../../src/machine/record-codec.ts';

const HEADROOM = 40;
const nobody = { begin: () => undefined, end: () => undefined, session: () => undefined, server: () => undefined };

function bootstrapped(): { machine: Machine; threw: string[] } {
  const threw: string[] = [];
  const machine = new Machine(
    new CommandTable(allCommands),
    { handlerThrew: (command) => threw.push(command), diverged: () => undefined },
    () => 0,
  );
  machine.apply(makeBootstrapEntry({ databases: 2, hashKey: new Uint8Array(16), settings: [] }, 1000), 1, 1, 1000, nobody);
  return { machine, threw };
}

function applyRecords(machine: Machine, builder: RecordBuilder): void {
  const entry = makeEntry(EntryKind.commands, MACHINE_VERSION, builder.count, 2000, builder.bytes.slice(HEADROOM, builder.length));
  machine.apply(entry, machine.appliedIndex + 1, 1, 2000, nobody);
}

function put(builder: RecordBuilder, text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  builder.put(bytes, 0, bytes.length);
}

const SET_A = '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n';

test('an entry that is applied bit by bit leaves the same state as one that is applied at once', () => {
  const builder = new RecordBuilder(HEADROOM, 256);
  for (let number = 1; number <= 20; number++) {
    builder.begin(RecordKind.command, 2, number % 2, { node: 1, boot: 1 }, 1, number);
    put(builder, number % 3 === 0 ? '*2\r\n$4\r\nINCR\r\n$1\r\na\r\n' : SET_A.replace('\na\r', `\n${String.fromCharCode(96 + number)}\r`));
    builder.end();
  }
  const entry = makeEntry(EntryKind.commands, MACHINE_VERSION, builder.count, 2000, builder.bytes.slice(HEADROOM, builder.length));
  const { machine: whole } = bootstrapped();
  whole.apply(entry, 2, 1, 2000, nobody);
  for (const bytes of [1, 50, 100, 1000]) {
    const { machine } = bootstrapped();
    machine.begin(entry, 2, 1, 2000);
    let steps = 1;
    for (; !machine.proceed(nobody, bytes); steps++) expect([machine.appliedIndex, machine.seenIndex]).toEqual([1, 2]);
    expect(steps > 1).toBe(bytes < 1000);
    expect([machine.appliedIndex, machine.isOpen, machine.dirty]).toEqual([2, false, whole.dirty]);
    expect(digestText(machine.digest())).toBe(digestText(whole.digest()));
  }
});

test.each([
  ['a command that is no multibulk', 0, RecordKind.command, (b: RecordBuilder) => put(b, 'rubbish')],
  ['a command for a database that is not', 9, RecordKind.command, (b: RecordBuilder) => put(b, SET_A)],
  ['an EXEC that promises more commands than it has', 0, RecordKind.exec, (b: RecordBuilder) => {
    b.uint53(NO_WATCH);
    b.uint32(0);
    b.uint32(3);
    put(b, SET_A);
  }],
  ['an expiry that is cut short', 0, RecordKind.expire, (b: RecordBuilder) => b.uint32(1)],
] as const)('%s is an error on every node, and the records behind it are applied', (_name, db, kind, fill) => {
  const { machine, threw } = bootstrapped();
  const builder = new RecordBuilder(HEADROOM, 256);
  builder.begin(kind, 2, db, { node: 1, boot: 1 }, 1, 1);
  fill(builder);
  builder.end();
  builder.begin(RecordKind.command, 2, 1, { node: 1, boot: 1 }, 1, 2);
  put(builder, SET_A);
  builder.end();
  applyRecords(machine, builder);
  expect(threw.length).toBe(1);
  expect(machine.appliedIndex).toBe(2);
  expect(machine.keyspace.database(1).size).toBe(1);
});

test('a setting out of its range is not taken over', () => {
  const { machine } = bootstrapped();
  const before = machine.settings['proto-max-bulk-len'];
  const builder = new RecordBuilder(HEADROOM, 256);
  builder.begin(RecordKind.setting, 2, 0, { node: 1, boot: 1 }, 0, 1);
  builder.uint32(1);
  builder.uint32('proto-max-bulk-len'.length);
  put(builder, 'proto-max-bulk-len');
  builder.uint32(0);
  builder.uint53(0);
  builder.end();
  applyRecords(machine, builder);
  expect(machine.settings['proto-max-bulk-len']).toBe(before);
});

test('a record that was begun and not ended leaves nothing in the batch', () => {
  const { machine, threw } = bootstrapped();
  const builder = new RecordBuilder(HEADROOM, 256);
  builder.begin(RecordKind.command, 2, 0, { node: 1, boot: 1 }, 1, 1);
  put(builder, 'half a comm');
  builder.begin(RecordKind.command, 2, 0, { node: 1, boot: 1 }, 1, 2);
  put(builder, SET_A);
  builder.end();
  applyRecords(machine, builder);
  expect(threw).toEqual([]);
  expect(machine.keyspace.database(0).size).toBe(1);
});

test('sequence numbers wrap around at 32 bits', () => {
  const turn = 2 ** 32;
  for (const near of [1, 5, turn - 1, turn, turn + 1, 3 * turn + 7, 2 ** 50]) {
    for (const distance of [-1000, -1, 0, 1, 1000]) {
      const full = near + distance;
      if (full >= 0) expect(fullSequence(near, full % turn)).toBe(full);
    }
  }
});
