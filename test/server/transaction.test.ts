// The queue of a transaction and its watched keys, by the record that EXEC makes of them.
import { expect, test } from 'vitest';
import { allCommands } from '../../src/commands/all.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { PayloadReader, RecordBuilder, RecordKind, RECORD_HEADER_BYTES } from '../../src/machine/record-codec.ts';
import { Args } from '../../src/resp/args.ts';
import { parseRequestInto } from '../../src/resp/decoder.ts';
import { Transaction } from '../../src/server/transaction.ts';
import { resp } from './manual-node.ts';

test('payloadBytes is what fill writes, and a key that is watched twice is there once', () => {
  const table = new CommandTable(allCommands);
  const transaction = new Transaction();
  const key = Buffer.from('key');
  transaction.watch(0, key, 5, 10);
  transaction.watch(0, key, 7, 11);
  transaction.watch(1, key, 9, 12);
  transaction.begin();
  const commands = Array.from({ length: 300 }, (_, n) => resp(['SET', `k${n}`, 'v'.repeat(n)]));
  for (const command of commands) {
    const args = new Args();
    expect(parseRequestInto(args, command, 0, command.length)).toBe(true);
    transaction.queue(table.lookup(args)!, command, 0, command.length);
  }
  const queued = transaction.take();
  expect(transaction.bytes).toBe(0);
  const builder = new RecordBuilder(0, 64);
  builder.begin(RecordKind.exec, 2, 0, { node: 1, boot: 1 }, 1, 1);
  queued.fill(builder);
  builder.end();
  expect(builder.length - RECORD_HEADER_BYTES).toBe(queued.payloadBytes);
  const reader = new PayloadReader(builder.bytes, RECORD_HEADER_BYTES, builder.length);
  expect([reader.uint53(), reader.uint32(), reader.uint32()]).toEqual([10, 2, 300]);
  expect(Buffer.from(builder.bytes.subarray(builder.length - queued.bytes.length, builder.length)).equals(Buffer.concat(commands))).toBe(true);
});
