// What clients were told, against what is in the log. Follows the committed log with a machine of its own (for replies
// and for whether an EXEC ran) and with the model (for values), and judges each answer when the client has it.
//
// The order of writes is the log's; it must agree with real time. A linearizable read must fit at a position that is no
// earlier than anything that had been answered before it was asked, and no later than the newest commit: each is given
// the earliest position that fits, which leaves most room for those after it, so the check is exact, not a search.
//
// Rules: an acknowledged write is in the log, once, with that reply; one that was refused for certain is not in the log;
// UNCERTAIN and silence allow both; a session's answers never go back; an EXEC that ran saw what its WATCH saw.
import { EntryKind, entryKind, entryRecordCount, entryTimeMs } from '../../../src/base/entry.ts';
import { allCommands } from '../../../src/commands/all.ts';
import { CommandTable } from '../../../src/commands/table.ts';
import { digestText, Machine, type ApplySink } from '../../../src/machine/machine.ts';
import { PayloadReader, RecordKind, type RecordView } from '../../../src/machine/record-codec.ts';
import { Args } from '../../../src/resp/args.ts';
import { parseMultibulk } from '../../../src/resp/decoder.ts';
import { parseReplies, plain } from '../../../src/resp/reply-parser.ts';
import { ReplyWriter } from '../../../src/resp/reply-writer.ts';
import { Violation } from '../trace.ts';
import { Model, type Plain } from './model.ts';

export interface SessionHistory {
  /** `node:boot:session`, as records name it. */
  readonly origin: string;
  readonly level: 'linearizable' | 'eventual';
  /** Of its answers so far. */
  lastPosition: number;
  readonly operations: Operation[];
}

export interface Operation {
  readonly id: number;
  readonly session: SessionHistory;
  /** `other`: nothing about the data (WATCH, MULTI, HOLDFAST READ). */
  readonly kind: 'write' | 'read' | 'exec' | 'read-exec' | 'other';
  /** One command, or those that EXEC runs. */
  readonly commands: readonly (readonly string[])[];
  /** The record's payload, as latin1, for writes and EXEC. */
  readonly payload: string;
  readonly invokedMs: number;
  /** Everything answered before it was invoked is at or before this. */
  readonly after: number;
  /** EXEC: what the keys that it watches were read as after WATCH. */
  readonly watched: ReadonlyMap<string, string | null>;
  completedMs: number;
  reply: Plain | undefined;
  failed: boolean;
  /** Of its record; −1 while there is none. For reads where it was found to fit. */
  position: number;
  /** What the reference machine answered. */
  expected: Plain | undefined;
}

/** Errors that promise that nothing was done. */
const DEFINITE_FAILURES = ['-CLUSTERDOWN', '-MISCONF', '-LOADING', '-READONLY', '-MOVED', '-EXECABORT'];

export class History implements ApplySink {
  readonly model = new Model();
  readonly #machine: Machine;
  readonly #writer = new ReplyWriter();
  readonly #args = new Args();
  readonly #open = new Map<string, Operation>();
  /** Every operation of the run, for the judgement at its end. */
  readonly operations: Operation[] = [];
  /** False: answers are taken down and not judged here, so that another checker must find what is wrong with them. */
  judges = true;
  #nextId = 1;
  #entryTimeMs = 0;
  /** Highest position of anything that a client has been told by a linearizable answer. */
  #toldPosition = 0;
  readonly counts = { writes: 0, reads: 0, execs: 0, execsAborted: 0, acknowledged: 0, refused: 0, uncertain: 0, silent: 0, expired: 0 };

  constructor() {
    const fail = (text: string): never => {
      throw new Violation('machine', text);
    };
    this.#machine = new Machine(
      new CommandTable(allCommands),
      {
        handlerThrew: (command, index, error) => fail(`${command} at ${index} threw: ${error instanceof Error ? error.stack : String(error)}`),
        diverged: (index, own, leader) => fail(`the checkpoint says ${leader} at ${index}, the reference has ${own}`),
      },
      () => 0,
    );
  }

  get digest(): string {
    return digestText(this.#machine.digest());
  }

  newSession(origin: string, level: 'linearizable' | 'eventual'): SessionHistory {
    return { origin, level, lastPosition: 0, operations: [] };
  }

  invoke(
    session: SessionHistory,
    kind: Operation['kind'],
    commands: readonly (readonly string[])[],
    payload: string,
    nowMs: number,
    watched: ReadonlyMap<string, string | null> = new Map(),
  ): Operation {
    const operation: Operation = {
      id: this.#nextId++, session, kind, commands, payload, invokedMs: nowMs, after: this.#toldPosition, watched,
      completedMs: Infinity, reply: undefined, failed: false, position: -1, expected: undefined,
    };
    session.operations.push(operation);
    this.operations.push(operation);
    if (kind === 'write' || kind === 'exec') {
      const key = `${session.origin}:${payload}`;
      if (this.#open.has(key)) throw new Error(`the workload sent ${payload} twice in one session`);
      this.#open.set(key, operation);
      this.counts[kind === 'exec' ? 'execs' : 'writes']++;
    } else if (kind !== 'other') this.counts.reads++;
    return operation;
  }

  // --- the log

  /** An entry is committed, the first time anywhere. */
  committed(index: number, term: number, entry: Uint8Array): void {
    this.#entryTimeMs = entryTimeMs(entry);
    const hasRecords = entryKind(entry) === EntryKind.commands && entryRecordCount(entry) > 0;
    if (!hasRecords) this.model.advance(this.#entryTimeMs);
    this.#machine.apply(entry, index, term, this.#entryTimeMs, this);
  }

  begin(record: RecordView): ReplyWriter {
    this.#writer.protocol = record.protocol;
    return this.#writer;
  }

  session(): undefined {
    return undefined;
  }

  server(): undefined {
    return undefined;
  }

  end(record: RecordView): void {
    const reply = replyOf(this.#writer);
    const hasClient = record.kind === RecordKind.command || record.kind === RecordKind.exec;
    if (hasClient && reply === undefined) throw new Violation('machine', `a record of kind ${record.kind} has no reply`);
    this.model.advance(this.#entryTimeMs);
    switch (record.kind) {
      case RecordKind.command:
        // A node's own is the publishing of a snapshot, which changes nothing that clients see.
        if (record.session !== 0) this.#command(record, reply!);
        return;
      case RecordKind.exec:
        this.#exec(record, reply!);
        return;
      case RecordKind.expire:
        this.#expire(record);
        return;
      case RecordKind.evict:
      case RecordKind.setting:
      case RecordKind.checkpoint:
        return;
    }
  }

  #command(record: RecordView, reply: Plain): void {
    const payload = latin1(record.bytes, record.payload, record.end);
    const words = this.#words(record.bytes, record.payload, record.end).words;
    this.#same(this.model.run(words), reply, words);
    this.#found(record, payload, reply);
  }

  #exec(record: RecordView, reply: Plain): void {
    const reader = new PayloadReader(record.bytes, record.payload, record.end);
    reader.uint53();
    const watched = reader.uint32();
    const count = reader.uint32();
    for (let i = 0; i < watched; i++) {
      reader.uint16();
      reader.uint53();
      reader.skip(reader.uint32());
    }
    const operation = this.#found(record, latin1(record.bytes, reader.position, record.end), reply);
    if (reply === null) {
      this.counts.execsAborted++;
      return;
    }
    for (const [key, value] of this.judges ? operation.watched : []) {
      const now = this.model.valueNow(key);
      if (now !== value) throw new Violation('WATCH', `EXEC of operation ${operation.id} ran with ${key} = ${now}; it was ${value} when watched`);
    }
    const expected: Plain[] = [];
    for (let i = 0, at = reader.position; i < count; i++) {
      const { words, end } = this.#words(record.bytes, at, record.end);
      at = end;
      expected.push(this.model.run(words));
    }
    this.#same(expected, reply, ['EXEC']);
  }

  #expire(record: RecordView): void {
    const reader = new PayloadReader(record.bytes, record.payload, record.end);
    const seenAtMs = reader.uint53();
    for (let left = reader.uint32(); left > 0; left--) {
      const deadlineMs = reader.uint53();
      const length = reader.uint32();
      const start = reader.skip(length);
      this.model.expire(latin1(record.bytes, start, start + length), deadlineMs, seenAtMs);
      this.counts.expired++;
    }
  }

  #words(bytes: Uint8Array, start: number, limit: number): { words: string[]; end: number } {
    const end = parseMultibulk(this.#args, bytes, start, limit, 1 << 20, 1 << 28);
    if (end < 0) throw new Violation('records', 'a committed command cannot be parsed');
    const words: string[] = [];
    for (let i = 0; i < this.#args.count; i++) words.push(this.#args.latin1(i));
    return { words, end };
  }

  #same(expected: Plain, reply: Plain, words: readonly string[]): void {
    if (JSON.stringify(expected) === JSON.stringify(reply)) return;
    throw new Violation('machine', `${words.join(' ').slice(0, 100)} answered ${text(reply)}, the model says ${text(expected)}`);
  }

  /** The operation whose record this is. */
  #found(record: RecordView, payload: string, reply: Plain): Operation {
    const origin = `${record.node}:${record.boot}:${record.session}`;
    const operation = this.#open.get(`${origin}:${payload}`);
    if (operation === undefined) throw new Violation('records', `nobody sent ${payload.slice(0, 100)} as ${origin}`);
    const { position } = this.model;
    if (operation.position >= 0) throw new Violation('exactly once', `${describe(operation)} is in the log at ${operation.position} and ${position}`);
    if (operation.failed) throw new Violation('false failure', `${describe(operation)} was refused with ${text(operation.reply ?? null)} and is in the log`);
    if (position <= operation.after) {
      throw new Violation('real time', `${describe(operation)} is at ${position}, but ${operation.after} had been answered before it was sent`);
    }
    operation.position = position;
    operation.expected = reply;
    return operation;
  }

  // --- the answers

  complete(operation: Operation, reply: Plain, nowMs: number): void {
    operation.completedMs = nowMs;
    operation.reply = reply;
    const isError = typeof reply === 'string' && reply.startsWith('-');
    switch (operation.kind) {
      case 'other':
        return;
      case 'write':
      case 'exec':
        if (isError && reply.startsWith('-UNCERTAIN')) this.counts.uncertain++;
        else if (isError && DEFINITE_FAILURES.some((code) => reply.startsWith(code))) this.#refused(operation);
        else if (this.judges) this.#acknowledged(operation, reply);
        return;
      case 'read':
      case 'read-exec':
        // An EXEC of reads that answers nil was stopped by its WATCH.
        if (!isError && !(operation.kind === 'read-exec' && reply === null) && this.judges) this.#read(operation, reply);
        return;
    }
  }

  #refused(operation: Operation): void {
    this.counts.refused++;
    operation.failed = true;
    if (operation.position >= 0) {
      throw new Violation('false failure', `${describe(operation)} is in the log at ${operation.position} and was refused with ${text(operation.reply!)}`);
    }
  }

  #acknowledged(operation: Operation, reply: Plain): void {
    this.counts.acknowledged++;
    if (operation.position < 0) throw new Violation('durability', `${describe(operation)} was answered ${text(reply)} and is not in the log`);
    if (JSON.stringify(reply) !== JSON.stringify(operation.expected)) {
      throw new Violation('reply', `${describe(operation)} was answered ${text(reply)}, the log says ${text(operation.expected!)}`);
    }
    this.#answeredAt(operation, operation.position);
  }

  #answeredAt(operation: Operation, position: number): void {
    const { session } = operation;
    if (position < session.lastPosition) {
      throw new Violation('session order', `${describe(operation)} is at ${position}, behind an earlier answer at ${session.lastPosition}`);
    }
    session.lastPosition = position;
    if (operation.kind === 'write' || operation.kind === 'exec' || session.level === 'linearizable') {
      this.#toldPosition = Math.max(this.#toldPosition, position);
    }
  }

  #read(operation: Operation, reply: Plain): void {
    const { session } = operation;
    const low = Math.max(session.lastPosition, session.level === 'linearizable' ? operation.after : 0);
    let high = this.model.position;
    for (const other of session.operations) {
      // Behind it in the pipeline: not to be seen by it.
      if (other.id > operation.id && other.position >= 0) high = Math.min(high, other.position - 1);
    }
    const wanted = JSON.stringify(reply);
    for (let position = low; position <= high; position++) {
      const answers = operation.commands.map((words) => this.model.read(words, position));
      if (JSON.stringify(operation.kind === 'read' ? answers[0] : answers) !== wanted) continue;
      operation.position = position;
      this.#answeredAt(operation, position);
      return;
    }
    const at = (position: number): string => text(operation.commands.map((words) => this.model.read(words, position)));
    throw new Violation(
      session.level === 'linearizable' ? 'linearizability' : 'monotonic reads',
      `${describe(operation)} answered ${text(reply)}; positions ${low} to ${high} allow ${at(low)} to ${at(high)}` +
        ` (session ${session.lastPosition}, told before ${operation.after})`,
    );
  }

  /** The connection is gone: the rest will not be answered. */
  abandon(session: SessionHistory): void {
    for (const operation of session.operations) if (operation.completedMs === Infinity) this.counts.silent++;
  }
}

function describe(operation: Operation): string {
  const commands = operation.commands.map((words) => words.join(' ').slice(0, 60)).join('; ');
  return `${operation.kind} ${operation.id} (${commands}; session ${operation.session.origin}, sent at ${operation.invokedMs.toFixed(1)})`;
}

const text = (value: Plain): string => (JSON.stringify(value) ?? 'nothing').slice(0, 200);

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
}

function replyOf(writer: ReplyWriter): Plain | undefined {
  const taken = writer.take();
  const [reply] = parseReplies(new Uint8Array(Buffer.concat(taken)));
  for (const buffer of taken) writer.recycle(buffer);
  return reply === undefined ? undefined : (plain(reply) as Plain);
}
