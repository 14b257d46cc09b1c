// One client connection: decodes its commands, sends each the way of its class, and keeps its replies in order.
// Owns the decoder, the output buffer, the transaction queue, and everything that waits for its turn.
//
// Order. Writes are numbered 1, 2, 3… as they go to the log, and are answered in that order; so the writes under way are
// just the range (#answered, #sent]. Anything else that cannot run at once waits in #later behind the write that came
// before it. What must hold:
// - A reply leaves only when all replies before it have been written.
// - A read runs after the writes before it and before the writes behind it are applied: while a read's index is not
//   known (#unresolved > 0), no write is sent.
// - A command that cannot go on (#stalled) stops everything behind it; its bytes are kept, nothing of it has happened.
import { assert } from '../base/assert.ts';
import { copyBytes } from '../base/bytes.ts';
import { RECORD_BYTES_MAX } from '../base/limits.ts';
import { Errors } from '../commands/errors.ts';
import type { ClientInfo, ReadConsistency, ReplyMode, SessionPort } from '../commands/ports.ts';
import type { CommandSpec } from '../commands/spec.ts';
import { fullSequence, RECORD_HEADER_BYTES, RecordKind } from '../machine/record-codec.ts';
import type { ClientSocket } from '../ports/client-listener.ts';
import { Args } from '../resp/args.ts';
import type { RequestDecoder } from '../resp/decoder.ts';
import { parseRequestInto } from '../resp/decoder.ts';
import { NullReply } from '../resp/null-reply.ts';
import type { Reply } from '../resp/reply.ts';
import { ReplyWriter } from '../resp/reply-writer.ts';
import type { ReadTicket } from '../replica/reads.ts';
import type { Server } from './server.ts';
import { PendingStats } from './pending-stats.ts';
import type { CommandStat } from './stats.ts';
import { Transaction } from './transaction.ts';

/** Something that waits behind the write numbered `after`. */
interface Later {
  readonly after: number;
  /** Runs it if it may run now; false leaves it first in the queue. */
  readonly run: () => boolean;
  /** Answers in its place with an error, where it can wait no longer. */
  readonly giveUp: (error: string) => void;
}

/** Above this many bytes not yet taken by the kernel, the connection's input is left alone. */
const OUTPUT_PAUSE_BYTES = 16 * 1024 * 1024;
/** Above this many bytes of input that cannot be dispatched yet, the socket is not read. */
const INPUT_PAUSE_BYTES = 1024 * 1024;
/** Reads that wait their turn on one connection; above it, its input is left alone. */
const LATER_MAX = 1024;
/** Arguments that a connection keeps room for. */
const ARGUMENTS_KEPT = 1024;
const TOO_LARGE = `ERR the command is larger than a log record may be (${RECORD_BYTES_MAX} bytes)`;

const LINEARIZABLE: ReadConsistency = { kind: 'linearizable' };
const NO_BYTES = new Uint8Array(0);
const nullReply = new NullReply();

export class Session implements SessionPort {
  readonly id: number;
  readonly socket: ClientSocket;
  readonly writer: ReplyWriter;
  readonly decoder: RequestDecoder;
  readonly #server: Server;
  #args = new Args();
  readonly createdMs: number;
  lastActiveMs: number;
  authenticated: boolean;
  user = 'default';
  name = '';
  db = 0;
  noEvict = false;
  noTouch = false;
  readConsistency: ReadConsistency = LINEARIZABLE;
  readonly = false;
  replyMode: ReplyMode = 'on';
  lastCommand = '';
  lastIndex = 0;
  closing = false;
  /** True while EXEC runs this session's queued commands. */
  inExec = false;
  /** In the server's list of sessions with something to send, or to try again. */
  dirty = false;
  resuming = false;
  overSoftLimitSinceMs = 0;

  /** Writes sent to the log, and writes answered. */
  #sent = 0;
  #answered = 0;
  readonly #pendingStats = new PendingStats();
  /** Of the write that is being applied: when it began, or -1 if it is not timed, and the error replies before it. */
  #applyStartMs = -1;
  #errorsBefore = 0;
  /** Writes behind the first unanswered one that are known to have failed. */
  #failures: Map<number, string> | undefined;
  /** Writes whose replies the client does not want (CLIENT REPLY). */
  #silent: Set<number> | undefined;
  #later: Later[] = [];
  #unresolved = 0;
  /** The RESP bytes of a decoded command that cannot go on yet. */
  #stalled: Uint8Array | undefined;
  #deferred = false;
  /** An EXEC under way may SELECT: nothing behind it goes on before it is answered. */
  #waitsForExec = false;
  /** The client does not want the reply of the session command that runs, or of the one that is deferred. */
  #silentCommand = false;
  #silentDeferred = false;
  /** Commands wait because the client does not take its replies. */
  #outputHeld = false;
  #inputFailed = false;
  #processing = false;
  #advancing = false;
  #closeWhenAnswered = false;
  #inputPaused = false;
  #ended = false;

  readonly transaction = new Transaction();

  constructor(server: Server, id: number, socket: ClientSocket) {
    this.#server = server;
    this.id = id;
    this.socket = socket;
    this.writer = new ReplyWriter(server.replyPool);
    this.writer.onError = (text) => server.stats.countError(text);
    this.decoder = server.newDecoder();
    this.createdMs = server.monotonicMs();
    this.lastActiveMs = this.createdMs;
    this.authenticated = server.requirePass === '';
    this.decoder.authenticated = this.authenticated;
  }

  // --- input

  data(chunk: Uint8Array): void {
    if (this.closing) return;
    this.lastActiveMs = this.#server.monotonicMs();
    this.decoder.bulkBytesMax = this.#server.engine.machine.settings['proto-max-bulk-len'];
    this.decoder.feed(chunk);
    this.process();
  }

  /** Decodes and dispatches as far as it goes. */
  process(): void {
    if (this.#processing || this.closing) return;
    this.#processing = true;
    const outputRoom = OUTPUT_PAUSE_BYTES - this.socket.bufferedBytes;
    try {
      while (!this.closing && !this.#deferred && !this.#closeWhenAnswered) {
        this.#outputHeld = this.writer.pendingBytes > outputRoom;
        if (this.#outputHeld) break;
        if (this.#stalled !== undefined) {
          const bytes = this.#stalled;
          this.#stalled = undefined;
          assert(parseRequestInto(this.#args, bytes, 0, bytes.length), 'a stalled command parses again');
          if (!this.#dispatch(this.#args, 0, bytes.length)) break;
          continue;
        }
        const result = this.decoder.next(this.#args);
        if (result === 'incomplete') break;
        if (result === 'error') {
          this.#protocolError();
          break;
        }
        if (!this.#dispatch(this.#args, this.decoder.commandStart, this.decoder.commandEnd)) break;
      }
    } finally {
      this.#processing = false;
    }
    if (this.closing) return;
    this.decoder.detach();
    // The last command's bytes may be hundreds of megabytes: an idle connection must not keep them alive.
    if (this.#args.starts.length > ARGUMENTS_KEPT) this.#args = new Args();
    else this.#args.reset(NO_BYTES);
    this.#balanceInput();
    this.#server.markDirty(this);
  }

  /** Stops or resumes reading the socket, by what is buffered either way. */
  #balanceInput(): void {
    const held = this.#stalled !== undefined || this.#deferred;
    const pause =
      (held && this.decoder.bufferedBytes > INPUT_PAUSE_BYTES) || this.socket.bufferedBytes > OUTPUT_PAUSE_BYTES;
    if (pause === this.#inputPaused) return;
    this.#inputPaused = pause;
    if (pause) this.socket.pause();
    else this.socket.resume();
  }

  /** The kernel has taken what was written. */
  drained(): void {
    this.#balanceInput();
    if (this.#outputHeld) this.process();
  }

  #protocolError(): void {
    const { decoder } = this;
    if (this.#inputFailed) return;
    this.#inputFailed = true;
    if (decoder.errorKind === 'queryBufferLimit') {
      this.#server.log.warn({ client: this.socket.remoteAddr, id: this.id }, 'closing a client that went over client-query-buffer-limit');
      this.close();
      return;
    }
    const text = `ERR ${decoder.error}`;
    this.#whenAnswered(() => {
      this.#writerFor(false).error(text);
      this.closeAfterReply();
    });
  }

  /** Runs `action` now if nothing is pending, else after it. */
  #whenAnswered(action: () => void): void {
    if (this.#idle) {
      action();
      return;
    }
    this.#later.push({
      after: this.#sent,
      run: () => {
        action();
        return true;
      },
      giveUp: action,
    });
  }

  get #idle(): boolean {
    return this.#answered === this.#sent && this.#later.length === 0;
  }

  // --- dispatch

  #stall(args: Args, start: number, end: number): false {
    this.#stalled = copyBytes(args.bytes, start, end);
    return false;
  }

  /** False if the command cannot go on now; it is kept and tried again by `process`. */
  #dispatch(args: Args, start: number, end: number): boolean {
    const server = this.#server;
    if (this.#waitsForExec) {
      if (!this.#idle) return this.#stall(args, start, end);
      this.#waitsForExec = false;
    }
    const spec = server.table.lookup(args);
    const refusal = server.refusal(this, spec, args) ?? this.#sizeFault(spec, start, end);
    if (refusal !== undefined) {
      if (!this.#idle) return this.#stall(args, start, end);
      this.#refuse(spec, refusal);
      return true;
    }
    assert(spec !== undefined, 'a command that is not refused is known');
    if (server.mustWait(this, spec)) return this.#stall(args, start, end);
    if (this.transaction.active && spec.insideExec === 'queue') {
      this.transaction.queue(spec, args.bytes, start, end);
      this.#count(spec);
      this.#writerFor(this.#takeSilence()).simple('QUEUED');
      return true;
    }
    switch (spec.class) {
      case 'write':
        if (this.#unresolved > 0 || server.engine.congested) {
          if (server.engine.congested) server.engine.noteCongestion();
          return this.#stall(args, start, end);
        }
        this.#count(spec);
        this.#sendWrite(spec, args, start, end);
        return true;
      case 'read':
        if (this.#later.length >= LATER_MAX) return this.#stall(args, start, end);
        this.#count(spec);
        this.#read(spec, args, start, end);
        return true;
      case 'session':
        if (!this.#idle) return this.#stall(args, start, end);
        if (spec.name === 'exec' && this.transaction.hasWrite && server.engine.congested) {
          server.engine.noteCongestion();
          return this.#stall(args, start, end);
        }
        this.#count(spec);
        this.#runSession(spec, args);
        return true;
    }
  }

  /** A record that no entry can hold must not get into the log. */
  #sizeFault(spec: CommandSpec | undefined, start: number, end: number): string | undefined {
    return spec?.class === 'write' && end - start > RECORD_BYTES_MAX - RECORD_HEADER_BYTES ? TOO_LARGE : undefined;
  }

  #count(spec: CommandSpec): void {
    this.lastCommand = this.#server.table.fullName(spec);
    this.#server.stats.commands++;
  }

  #refuse(spec: CommandSpec | undefined, text: string): void {
    if (spec !== undefined) this.#server.stats.ofCommand(spec).rejected++;
    const reply = this.#writerFor(this.#takeSilence());
    if (spec?.name === 'exec') {
      this.transaction.discard();
      // A client that follows MOVED must see it as such.
      if (text.startsWith('MOVED ')) return reply.error(text);
      return reply.error(`EXECABORT Transaction discarded because of: ${text.replace(/^ERR /, '')}`);
    }
    if (this.transaction.active) this.transaction.abort();
    reply.error(text);
  }

  /** True if the client does not want the reply of the command that is being dispatched. */
  #takeSilence(): boolean {
    if (this.replyMode === 'on') return false;
    if (this.replyMode === 'skip-next' || this.replyMode === 'skip') {
      this.replyMode = 'on';
      return true;
    }
    return true;
  }

  #writerFor(silent: boolean): Reply {
    return silent || this.closing ? nullReply : this.writer;
  }

  get protocol(): 2 | 3 {
    return this.writer.protocol;
  }

  /** HELLO's own reply is in the protocol that it asks for. */
  set protocol(protocol: 2 | 3) {
    this.writer.protocol = protocol;
  }

  // --- writes

  #sendWrite(spec: CommandSpec, args: Args, start: number, end: number): void {
    const sequence = this.#nextSequence(this.#server.stats.ofCommand(spec));
    const engine = this.#server.engine;
    engine.beginRecord(RecordKind.command, this.protocol, this.db, this.id, sequence).put(args.bytes, start, end);
    engine.endRecord();
  }

  /** The write is counted in `stat` once it is answered. */
  #nextSequence(stat: CommandStat | undefined): number {
    const sequence = ++this.#sent;
    this.#pendingStats.push(stat);
    if (this.replyMode !== 'on' && this.#takeSilence()) (this.#silent ??= new Set()).add(sequence);
    return sequence;
  }

  /** The writer for the reply of write `sequence`, which is being applied; undefined if it was answered already. */
  beginReply(sequence32: number): Reply | undefined {
    const sequence = fullSequence(this.#answered + 1, sequence32);
    if (sequence <= this.#answered) return undefined;
    this.#answerBefore(sequence);
    this.lastIndex = this.#server.engine.machine.appliedIndex + 1;
    const stat = this.#pendingStats.of(sequence);
    this.#applyStartMs = stat?.timesNext === true ? this.#server.monotonicMs() : -1;
    this.#errorsBefore = this.writer.errors;
    return this.#writerFor(this.#silent?.delete(sequence) === true);
  }

  /** Answers everything that stands before write `sequence`, whose reply is about to be written. */
  #answerBefore(sequence: number): void {
    for (;;) {
      const later = this.#later[0];
      if (later !== undefined && later.after <= this.#answered) {
        // It has its index and what it waits for is applied, or this write had not been sent; to be safe, it is not waited for.
        if (!later.run()) later.giveUp(Errors.clusterDown);
        this.#removeLater(later);
      } else if (this.#answered + 1 < sequence) {
        // A forwarded batch before this one was lost on its way: its outcome is unknown.
        this.#answerFailed(this.#failures?.get(this.#answered + 1) ?? Errors.uncertain);
      } else {
        return;
      }
    }
  }

  endReply(sequence32: number): void {
    const sequence = fullSequence(this.#answered + 1, sequence32);
    if (sequence !== this.#answered + 1) return;
    const startMs = this.#applyStartMs;
    this.#pendingStats.of(sequence)?.count(startMs < 0 ? -1 : this.#server.monotonicMs() - startMs, this.writer.errors > this.#errorsBefore);
    this.#answerUpTo(sequence);
    this.inExec = false;
    this.#server.markDirty(this);
    if (this.#later.length > 0 || this.#failures !== undefined) this.advance();
    if (this.#stalled !== undefined || this.#deferred) this.#server.resumeSoon(this);
  }

  /** Write `sequence` gets this error and no other answer. */
  fail(sequence32: number, error: string): void {
    const sequence = fullSequence(this.#answered + 1, sequence32);
    if (sequence <= this.#answered) return;
    (this.#failures ??= new Map()).set(sequence, error);
    this.advance();
    this.#server.markDirty(this);
    if (this.#stalled !== undefined) this.#server.resumeSoon(this);
  }

  #answerFailed(error: string): void {
    const sequence = this.#answered + 1;
    this.#failures?.delete(sequence);
    if (this.#failures?.size === 0) this.#failures = undefined;
    this.#pendingStats.of(sequence)?.count(-1, true);
    this.#writerFor(this.#silent?.delete(sequence) === true).error(error);
    this.#answerUpTo(sequence);
  }

  #answerUpTo(sequence: number): void {
    this.#answered = sequence;
    this.#pendingStats.answered(sequence);
  }

  /** Runs everything whose turn has come. */
  advance(): void {
    if (this.#advancing) return;
    this.#advancing = true;
    try {
      while (!this.closing) {
        const later = this.#later[0];
        if (later !== undefined && later.after <= this.#answered) {
          if (!later.run()) break;
          this.#removeLater(later);
          continue;
        }
        const error = this.#failures?.get(this.#answered + 1);
        if (error === undefined) break;
        this.#answerFailed(error);
      }
    } finally {
      this.#advancing = false;
    }
  }

  #removeLater(later: Later): void {
    const at = this.#later.indexOf(later);
    if (at >= 0) this.#later.splice(at, 1);
  }

  // --- reads

  #read(spec: CommandSpec, args: Args, start: number, end: number): void {
    const silent = this.#takeSilence();
    if (this.#idle && this.#server.engine.reads.admit(this.readConsistency)) {
      const { timeMs } = this.#server.engine.reads;
      const expired = this.#server.runRead(this, spec, args, this.#writerFor(silent), timeMs, this.db);
      if (expired) this.#readLater(spec, copyBytes(args.bytes, start, end), silent, this.db, timeMs);
      else this.#sawState();
      return;
    }
    const bytes = copyBytes(args.bytes, start, end);
    this.#readLater(spec, bytes, silent, this.db, this.#ticket(this.readConsistency));
  }

  /** For HOLDFAST INDEX. */
  #sawState(): void {
    this.lastIndex = Math.max(this.lastIndex, this.#server.engine.machine.appliedIndex);
  }

  /** A ticket that counts as unresolved until its index is known. */
  #ticket(level: ReadConsistency): { ticket: ReadTicket; error: string | undefined } {
    const state = { ticket: undefined as unknown as ReadTicket, error: undefined as string | undefined };
    state.ticket = this.#server.engine.reads.take(level, (error) => {
      if (unresolved) this.#unresolved--;
      state.error = error;
      this.advance();
      this.#server.markDirty(this);
      if (this.#stalled !== undefined) this.#server.resumeSoon(this);
    });
    // The index of a causal read is the client's word: it may be beyond the log.
    const unresolved = state.ticket.index < 0 || (level.kind === 'causal' && !this.#server.engine.reads.mayServe(state.ticket));
    if (unresolved) this.#unresolved++;
    return state;
  }

  /**
   * A read that waits: for its ticket, for the writes before it, or (given the time at which it was judged) for the
   * deletion of expired keys that `runRead` has met.
   */
  #readLater(
    spec: CommandSpec,
    bytes: Uint8Array,
    silent: boolean,
    db: number,
    waiting: { ticket: ReadTicket; error: string | undefined } | number,
  ): void {
    const args = new Args();
    assert(parseRequestInto(args, bytes, 0, bytes.length), 'a read that waits parses again');
    this.#runLater(waiting, silent, (reply, timeMs) => this.#server.runRead(this, spec, args, reply, timeMs, db));
  }

  /**
   * Queues `attempt` for when its ticket is good. It returns true if it met expired keys: then it is tried again once those
   * are deleted, and judged at the same time. With writes behind it on their way it cannot wait for that, or they would be
   * answered and seen before it: then it is judged at the time of the log, by which nothing is expired that is not gone.
   */
  #runLater(
    waiting: { ticket: ReadTicket; error: string | undefined } | number,
    silent: boolean,
    attempt: (reply: Reply, timeMs: number) => boolean,
  ): void {
    const after = this.#sent;
    const judged = typeof waiting === 'number';
    let deleting = judged;
    let failure: string | undefined;
    const giveUp = (error: string): void => this.#writerFor(silent).error(error);
    const wait = (): void => {
      deleting = true;
      this.#unresolved++;
      this.#server.deleteExpired((error) => {
        this.#unresolved--;
        deleting = false;
        failure = error;
        this.advance();
        this.#server.markDirty(this);
        if (this.#stalled !== undefined) this.#server.resumeSoon(this);
      });
    };
    if (deleting) wait();
    this.#later.push({
      after,
      run: () => {
        if (deleting) return false;
        const error = failure ?? (judged ? undefined : waiting.error);
        if (error !== undefined) {
          giveUp(error);
          return true;
        }
        const { engine } = this.#server;
        if (!judged && !engine.reads.mayServe(waiting.ticket)) return false;
        const timeMs = this.#sent > after ? engine.machine.timeMs : judged ? waiting : waiting.ticket.timeMs;
        if (attempt(this.#writerFor(silent), timeMs)) {
          wait();
          return false;
        }
        this.#sawState();
        return true;
      },
      giveUp,
    });
  }

  // --- session commands

  #runSession(spec: CommandSpec, args: Args): void {
    const before = this.replyMode;
    const silent = before !== 'on' && this.#takeSilence() && spec.name !== 'reply';
    this.#silentCommand = silent;
    this.#server.runSession(this, spec, args, this.#writerFor(silent));
    this.decoder.authenticated = this.authenticated;
  }

  /** The reply of the running command comes later; until `finish` nothing else of this connection runs. */
  defer(start: (finish: () => void) => void): void {
    this.#deferred = true;
    this.#silentDeferred = this.#silentCommand;
    start(() => {
      if (!this.#deferred) return;
      this.#deferred = false;
      this.#server.markDirty(this);
      this.#server.resumeSoon(this);
    });
  }

  /** Where the reply of the deferred command goes. */
  get deferredReply(): Reply {
    return this.#writerFor(this.#silentDeferred);
  }

  // --- transactions (SessionPort)

  get inMulti(): boolean {
    return this.transaction.active;
  }

  beginMulti(): void {
    this.transaction.begin();
  }

  discardMulti(): void {
    this.transaction.discard();
  }

  unwatch(): void {
    this.transaction.unwatch();
  }

  watch(first: number): void {
    const server = this.#server;
    const args = this.#server.runningArgs;
    const keys: Uint8Array[] = [];
    for (let i = first; i < args.count; i++) keys.push(args.copy(i));
    const db = this.db;
    const take = (timeMs: number): void => {
      for (const key of keys) {
        this.transaction.watch(db, key, server.keyspace.version(db, key, 0, key.length, timeMs), server.engine.machine.appliedIndex);
      }
    };
    if (server.engine.reads.admit(LINEARIZABLE)) {
      take(server.engine.reads.timeMs);
      this.#writerFor(this.#silentCommand).ok();
      return;
    }
    this.#runLater(this.#ticket(LINEARIZABLE), this.#silentCommand, (reply, timeMs) => {
      take(Math.max(timeMs, server.engine.machine.timeMs));
      reply.ok();
      return false;
    });
  }

  exec(): void {
    const { transaction } = this;
    const server = this.#server;
    if (transaction.aborted) {
      transaction.discard();
      this.#writerFor(this.#silentCommand).error(Errors.execAbort);
      return;
    }
    const queued = transaction.take();
    if (queued.hasWrite && queued.payloadBytes > RECORD_BYTES_MAX - RECORD_HEADER_BYTES) {
      this.#writerFor(this.#silentCommand).error(`EXECABORT Transaction discarded because of: ${TOO_LARGE.slice(4)}`);
      return;
    }
    this.#waitsForExec = queued.hasSession;
    if (queued.hasWrite) {
      // EXEC itself is counted as the session command that it is.
      for (const spec of queued.writes) server.stats.ofCommand(spec).count(-1, false);
      const sequence = this.#nextSequence(undefined);
      if (this.#silentCommand) (this.#silent ??= new Set()).add(sequence);
      const builder = server.engine.beginRecord(RecordKind.exec, this.protocol, this.db, this.id, sequence);
      queued.fill(builder);
      server.engine.endRecord();
      return;
    }
    // Reads only: no need for the log. From WATCH to EXEC all is linearizable.
    const db = this.db;
    const level = queued.watched.length > 0 ? LINEARIZABLE : this.readConsistency;
    const attempt = (reply: Reply, timeMs: number): boolean => server.runReadOnlyExec(this, queued, reply, timeMs, db);
    const silent = this.#silentCommand;
    if (!server.engine.reads.admit(level)) {
      this.#runLater(this.#ticket(level), silent, attempt);
      return;
    }
    const { timeMs } = server.engine.reads;
    if (attempt(this.#writerFor(silent), timeMs)) this.#runLater(timeMs, silent, attempt);
    else this.#sawState();
  }

  reset(): void {
    this.transaction.discard();
    this.replyMode = 'on';
    this.db = 0;
    this.name = '';
    this.protocol = 2;
    this.readConsistency = LINEARIZABLE;
    this.readonly = false;
    this.noEvict = false;
    this.noTouch = false;
    this.authenticated = this.#server.requirePass === '';
  }

  closeAfterReply(): void {
    this.#closeWhenAnswered = true;
    this.#server.markDirty(this);
  }

  /** The client sends no more: what it has sent is still answered, then the connection ends. */
  inputEnded(): void {
    this.#ended = true;
    this.#server.markDirty(this);
  }

  /** Sends what has been written. */
  flush(): void {
    if (this.closing) return;
    if (this.writer.pendingBytes > 0) {
      this.#server.stats.outputBytes += this.writer.pendingBytes;
      const buffers = this.writer.take();
      this.socket.write(buffers, () => {
        for (const buffer of buffers) this.writer.recycle(buffer);
      });
      if (this.#server.overOutputLimit(this)) {
        this.#server.log.warn(
          { client: this.socket.remoteAddr, id: this.id, bytes: this.socket.bufferedBytes },
          'closing a client that went over client-output-buffer-limit',
        );
        this.close();
        return;
      }
      this.#balanceInput();
    }
    const ended = this.#ended && this.#stalled === undefined && !this.#deferred && !this.#outputHeld;
    if ((this.#closeWhenAnswered || ended) && this.#idle) {
      this.closing = true;
      this.socket.end();
    }
  }

  /** Closes at once; what was not sent is dropped. */
  close(): void {
    if (this.closing) return;
    this.closing = true;
    this.socket.destroy();
  }

  get info(): ClientInfo {
    const now = this.#server.monotonicMs();
    const { transaction, decoder } = this;
    const outputBytes = this.writer.pendingBytes + this.socket.bufferedBytes;
    // As in Redis, the command that asks is still in its buffer.
    const runningBytes = this.#server.runningSession === this ? decoder.commandEnd - decoder.commandStart : 0;
    return {
      id: this.id,
      addr: this.socket.remoteAddr,
      laddr: this.socket.localAddr,
      fd: this.socket.fd,
      name: this.name,
      ageSeconds: Math.floor((now - this.createdMs) / 1000),
      idleSeconds: Math.floor((now - this.lastActiveMs) / 1000),
      flags: this.#flags(),
      db: this.db,
      multi: transaction.active ? transaction.count : -1,
      watch: transaction.watchedCount,
      queryBufferBytes: decoder.bufferedBytes + runningBytes,
      queryBufferFreeBytes: Math.max(0, decoder.memoryBytes - decoder.bufferedBytes),
      argvBytes: 0,
      multiBytes: transaction.bytes,
      outputBufferBytes: this.writer.pendingBytes,
      outputListLength: 0,
      outputListBytes: this.socket.bufferedBytes,
      totalBytes: decoder.memoryBytes + outputBytes + transaction.bytes,
      lastCommand: this.lastCommand,
      user: this.user,
      protocol: this.protocol,
      type: 'normal',
    };
  }

  #flags(): string {
    let flags = '';
    if (this.transaction.active) flags += 'x';
    if (this.#closeWhenAnswered) flags += 'c';
    if (this.readonly) flags += 'r';
    if (this.socket.isUnix) flags += 'U';
    if (this.noEvict) flags += 'e';
    if (this.noTouch) flags += 'T';
    return flags === '' ? 'N' : flags;
  }

  /** Writes on their way to the log or through it. */
  get pendingWrites(): number {
    return this.#sent - this.#answered;
  }
}
