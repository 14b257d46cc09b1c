// A tiny single node for tests of commands: every write is applied as one record with the time that the test gives, every read
// runs in read mode, where a met deadline is first applied as a deletion, as the server does it. Replies come back as
// wire text and as plain values.
import { expect } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { allCommands } from '../../src/commands/all.ts';
import { CommandContext } from '../../src/commands/context.ts';
import { ReplicatedSettings } from '../../src/commands/replicated-settings.ts';
import type { CommandSpec } from '../../src/commands/spec.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { Keyspace } from '../../src/keyspace/keyspace.ts';
import { Args } from '../../src/resp/args.ts';
import { parseReply, RecordedReply, type ReplyValue } from './recorded-reply.ts';

export type Argument = string | number | bigint | Uint8Array;

export interface HarnessOptions {
  readonly databases?: number;
  readonly specs?: readonly CommandSpec[];
  readonly protocol?: 2 | 3;
  readonly seed?: number;
}

export class Harness {
  nowMs = 1_000_000;
  /** The keyspace's access clock, for OBJECT IDLETIME. */
  accessClockMs = 0;
  db = 0;
  index = 0;
  /** Changes that writes counted, all together. */
  dirtyTotal = 0;
  readonly keyspace: Keyspace;
  readonly settings = new ReplicatedSettings();
  readonly reply: RecordedReply;
  readonly context: CommandContext;
  readonly table: CommandTable;
  readonly #args = new Args();

  constructor(options: HarnessOptions = {}) {
    this.keyspace = new Keyspace({
      databases: options.databases ?? 16,
      hashKey: new Uint8Array(16).fill(7),
      clockMs: () => this.accessClockMs,
    });
    this.reply = new RecordedReply(options.protocol ?? 2);
    this.table = new CommandTable(options.specs ?? allCommands);
    this.context = new CommandContext(this.keyspace, this.settings, this.#args, this.reply, new Prng(options.seed ?? 1));
  }

  /** Runs a command and returns its reply as a value: strings (latin1), numbers, arrays, null; an error is `{ error }`. */
  run(...words: Argument[]): ReplyValue {
    return parseReply(this.wire(...words));
  }

  /** Runs a command and returns its reply as wire text (latin1). */
  wire(...words: Argument[]): string {
    this.#fill(words);
    this.reply.clear();
    const spec = this.table.lookup(this.#args);
    if (spec === undefined) {
      this.reply.error(this.table.unknownFault(this.#args));
      return this.reply.take();
    }
    const fault = this.table.argumentsFault(spec, this.#args);
    if (fault !== undefined) {
      this.reply.error(fault);
      return this.reply.take();
    }
    if (spec.class === 'write') this.#apply(spec);
    else this.#read(spec);
    return this.reply.take();
  }

  #fill(words: readonly Argument[]): void {
    const parts = words.map((word) => (word instanceof Uint8Array ? word : Buffer.from(String(word), 'latin1')));
    // A byte before and after, so that a handler which ignores its offsets shows.
    const bytes = Buffer.concat([Buffer.of(0xee), ...parts, Buffer.of(0xee)]);
    this.#args.reset(bytes);
    let at = 1;
    for (const part of parts) {
      this.#args.push(at, at + part.length);
      at += part.length;
    }
  }

  #prepare(spec: CommandSpec, mode: 'apply' | 'read'): void {
    const { context } = this;
    context.command = spec;
    context.mode = mode;
    context.nowMs = this.nowMs;
    context.db = this.keyspace.database(this.db);
    context.dirty = 0;
    context.expiredSeen = false;
  }

  #apply(spec: CommandSpec): void {
    this.#prepare(spec, 'apply');
    this.keyspace.beginRecord(++this.index, 0);
    const fault = spec.validate?.(this.#args);
    spec.handler(this.context);
    this.dirtyTotal += this.context.dirty;
    // What validate refuses, the handler refuses in the same words; the other way round need not hold.
    if (fault !== undefined) expect(this.reply.peek()).toBe(`-${fault}\r\n`);
  }

  #read(spec: CommandSpec): void {
    const { context } = this;
    for (;;) {
      this.#prepare(spec, 'read');
      const expired: Uint8Array[] = [];
      context.onExpired = (_database, key) => {
        const span = this.keyspace.keySpan(key);
        expired.push(span.bytes.slice(span.start, span.end));
      };
      const before = { ...this.keyspace.digest() };
      spec.handler(context);
      expect({ ...this.keyspace.digest() }, `${spec.name} is a read and changes nothing`).toEqual(before);
      expect(context.dirty).toBe(0);
      const again = context.expiredSeen;
      this.#deleteExpired(expired);
      if (!again) return;
      this.reply.clear();
    }
  }

  #deleteExpired(names: readonly Uint8Array[]): void {
    if (names.length === 0) return;
    this.keyspace.beginRecord(++this.index, 0);
    const db = this.keyspace.database(this.db);
    for (const name of names) {
      const key = db.find(name, 0, name.length);
      if (key !== 0 && db.isExpired(key, this.nowMs)) db.remove(key);
    }
  }
}
