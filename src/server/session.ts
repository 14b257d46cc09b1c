// One client connection: decodes its commands and sends each the way of its class: a write to the log, a read to the
// state, a session command to its handler. Owns the decoder, the output buffer and the transaction queue; the order of the
// replies is ReplyOrder's. What must hold:
// - A read runs after the writes before it and before the writes behind it are applied (WaitingReads).
// - A command that cannot go on (#stalled) stops everything behind it; its bytes are kept, nothing of it has happened.
import { assert } from '../base/assert.ts';
import { copyBytes } from '../base/bytes.ts';
import { RECORD_BYTES_MAX } from '../base/limits.ts';
import { Errors } from '../commands/errors.ts';
import type { ClientInfo, ReadConsistency, ReplyMode, SessionPort } from '../commands/ports.ts';
import type { CommandSpec } from '../commands/spec.ts';
import { RECORD_HEADER_BYTES, RecordKind } from '../machine/record-codec.ts';
import type { ClientSocket } from '../ports/client-listener.ts';
import { Args } from '../resp/args.ts';
import type { RequestDecoder } from '../resp/decoder.ts';
import { parseRequestInto } from '../resp/decoder.ts';
import { NullReply } from '../resp/null-reply.ts';
import type { Reply } from '../resp/reply.ts';
import { ReplyWriter } from '../resp/reply-writer.ts';
import type { Engine } from '../replica/engine.ts';
import type { Server } from './server.ts';
import { clientInfo } from './client-info.ts';
import { ReplyOrder, type ReplyOrderHost } from './reply-order.ts';
import { Transaction } from './transaction.ts';
import { WaitingReads, type Ticket, type WaitingReadsHost } from './waiting-reads.ts';

/** Above this many bytes not yet taken by the kernel, the connection's input is left alone. */
const OUTPUT_PAUSE_BYTES = 16 * 1024 * 1024;
/** Above this many bytes of input that cannot be dispatched yet, the socket is not read. */
const INPUT_PAUSE_BYTES = 1024 * 1024;
/** Commands between two looks at the clock. */
const COMMANDS_PER_LOOK = 16;
/** Reads that wait their turn on one connection; above it, its input is left alone. */
const LATER_MAX = 1024;
/** Arguments that a connection keeps room for. */
const ARGUMENTS_KEPT = 1024;
const TOO_LARGE = `ERR the command is larger than a log record may be (${RECORD_BYTES_MAX} bytes)`;

const LINEARIZABLE: ReadConsistency = { kind: 'linearizable' };
const NO_BYTES = new Uint8Array(0);
const nullReply = new NullReply();

export class Session implements SessionPort, ReplyOrderHost, WaitingReadsHost {
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
  lastSpec: CommandSpec | undefined;
  lastIndex = 0;
  closing = false;
  /** True while EXEC runs this session's queued commands. */
  inExec = false;
  /** In the server's list of sessions with something to send, or to try again. */
  dirty = false;
  resuming = false;
  overSoftLimitSinceMs = 0;

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
  #closeWhenAnswered = false;
  #inputPaused = false;
  #ended = false;
  /** The turn was over before its input was: `goOn` is next. */
  #heldOver = false;

  readonly #order: ReplyOrder = new ReplyOrder(this);
  readonly #reads: WaitingReads = new WaitingReads(this, this.#order);
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
    this.#look(this.lastActiveMs);
    this.process();
  }

  /** Leaves off if this turn is over. */
  #look(nowMs: number): void {
    if (this.#heldOver || !this.#server.turns.isOver(nowMs)) return;
    this.#heldOver = true;
    this.#server.turns.leave(this);
  }

  /** What the last turn has left. */
  goOn(): void {
    this.#heldOver = false;
    this.process();
  }

  /** Decodes and dispatches as far as it goes, and as this turn of the event loop allows. */
  process(): void {
    if (this.#processing || this.closing) return;
    this.#processing = true;
    this.#reads.look();
    const outputRoom = OUTPUT_PAUSE_BYTES - this.socket.bufferedBytes;
    let commands = 0;
    try {
      while (!this.closing && !this.#deferred && !this.#closeWhenAnswered) {
        if (++commands % COMMANDS_PER_LOOK === 0) this.#look(this.monotonicMs());
        this.#outputHeld = this.writer.pendingBytes > outputRoom;
        if (this.#outputHeld || this.#heldOver) break;
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

  /** There may be commands that wait for something else than bytes. */
  get #holdsInput(): boolean {
    return this.#stalled !== undefined || this.#deferred || this.#heldOver;
  }

  /** Stops or resumes reading the socket, by what is buffered either way. */
  #balanceInput(): void {
    const pause = (this.#holdsInput && this.decoder.bufferedBytes > INPUT_PAUSE_BYTES) || this.socket.bufferedBytes > OUTPUT_PAUSE_BYTES;
    if (pause !== this.#inputPaused) this.socket[pause ? 'pause' : 'resume']();
    this.#inputPaused = pause;
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
    this.#order.whenIdle(() => {
      this.writerFor(false).error(text);
      this.closeAfterReply();
    });
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
      if (!this.#order.idle) return this.#stall(args, start, end);
      this.#waitsForExec = false;
    }
    const spec = server.table.lookup(args);
    const refusal = server.refusal(this, spec, args) ?? this.#sizeFault(spec, start, end);
    if (refusal !== undefined) {
      if (!this.#order.idle) return this.#stall(args, start, end);
      this.#refuse(spec, refusal);
      return true;
    }
    assert(spec !== undefined, 'a command that is not refused is known');
    if (server.mustWait(this, spec)) return this.#stall(args, start, end);
    if (this.transaction.active && spec.insideExec === 'queue') {
      this.transaction.queue(spec, args.bytes, start, end);
      this.#count(spec);
      this.writerFor(this.#takeSilence()).simple('QUEUED');
      return true;
    }
    switch (spec.class) {
      case 'write':
        if (this.#reads.unresolved || server.engine.congested) {
          if (server.engine.congested) server.engine.congestion.note();
          return this.#stall(args, start, end);
        }
        this.#count(spec);
        this.#sendWrite(spec, args, start, end);
        return true;
      case 'read':
        if (this.#order.laterCount >= LATER_MAX) return this.#stall(args, start, end);
        this.#count(spec);
        this.#read(spec, args, start, end);
        return true;
      case 'session':
        if (!this.#order.idle) return this.#stall(args, start, end);
        if (spec.name === 'exec' && this.transaction.hasWrite && server.engine.congested) {
          server.engine.congestion.note();
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
    this.lastSpec = spec;
    this.#server.stats.commands++;
  }

  #refuse(spec: CommandSpec | undefined, text: string): void {
    if (spec !== undefined) this.#server.stats.ofCommand(spec).rejected++;
    const reply = this.writerFor(this.#takeSilence());
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
    if (this.replyMode === 'skip-next' || this.replyMode === 'skip') this.replyMode = 'on';
    return true;
  }

  writerFor(silent: boolean): Reply {
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
    const sequence = this.#order.next(this.#server.stats.ofCommand(spec), this.#takeSilence());
    const engine = this.#server.engine;
    engine.beginRecord(RecordKind.command, this.protocol, this.db, this.id, sequence).put(args.bytes, start, end);
    engine.endRecord();
  }

  /** The writer for the reply of write `sequence`, which is being applied; undefined if it was answered already. */
  beginReply(sequence: number): Reply | undefined {
    const reply = this.#order.begin(sequence);
    if (reply !== undefined) this.lastIndex = this.#server.engine.machine.appliedIndex + 1;
    return reply;
  }

  endReply(sequence: number): void {
    if (!this.#order.end(sequence)) return;
    this.inExec = false;
    this.progressed();
  }

  /** Write `sequence` gets this error and no other answer. */
  fail(sequence: number, error: string): void {
    this.#order.fail(sequence, error);
  }

  /** Something was answered, or may be now. */
  progressed(): void {
    this.#server.markDirty(this);
    if (this.#stalled !== undefined || this.#deferred) this.#server.resumeSoon(this);
  }

  monotonicMs(): number {
    return this.#server.monotonicMs();
  }

  // --- reads

  #read(spec: CommandSpec, args: Args, start: number, end: number): void {
    const silent = this.#takeSilence();
    if (this.#order.idle && this.#reads.admit(this.readConsistency)) {
      const { admittedMs } = this.#reads;
      const expired = this.#server.runRead(this, spec, args, this.writerFor(silent), admittedMs, this.db);
      if (expired) this.#readLater(spec, copyBytes(args.bytes, start, end), silent, this.db, admittedMs);
      else this.sawState();
      return;
    }
    const bytes = copyBytes(args.bytes, start, end);
    this.#readLater(spec, bytes, silent, this.db, this.#reads.take(this.readConsistency));
  }

  /** For HOLDFAST INDEX. */
  sawState(): void {
    this.lastIndex = Math.max(this.lastIndex, this.#server.engine.machine.seenIndex);
  }

  /** A read that waits: for its ticket, or (given the time at which it was judged) for the deletion of expired keys. */
  #readLater(spec: CommandSpec, bytes: Uint8Array, silent: boolean, db: number, waiting: Ticket | number): void {
    const args = new Args();
    assert(parseRequestInto(args, bytes, 0, bytes.length), 'a read that waits parses again');
    this.#reads.run(waiting, silent, (reply, timeMs) => this.#server.runRead(this, spec, args, reply, timeMs, db));
  }

  get engine(): Engine {
    return this.#server.engine;
  }

  deleteExpired(done: (error: string | undefined) => void): void {
    this.#server.deleteExpired(done);
  }

  // --- session commands

  #runSession(spec: CommandSpec, args: Args): void {
    this.#reads.look();
    const before = this.replyMode;
    const silent = before !== 'on' && this.#takeSilence() && spec.name !== 'reply';
    this.#silentCommand = silent;
    this.#server.runSession(this, spec, args, this.writerFor(silent));
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
    return this.writerFor(this.#silentDeferred);
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
      this.writerFor(this.#silentCommand).ok();
      return;
    }
    this.#reads.run(this.#reads.take(LINEARIZABLE), this.#silentCommand, (reply, timeMs) => {
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
      this.writerFor(this.#silentCommand).error(Errors.execAbort);
      return;
    }
    const queued = transaction.take();
    if (queued.hasWrite && queued.payloadBytes > RECORD_BYTES_MAX - RECORD_HEADER_BYTES) {
      this.writerFor(this.#silentCommand).error(`EXECABORT Transaction discarded because of: ${TOO_LARGE.slice(4)}`);
      return;
    }
    this.#waitsForExec = queued.hasSession;
    if (queued.hasWrite) {
      // EXEC itself is counted as the session command that it is.
      for (const spec of queued.writes) server.stats.ofCommand(spec).count(-1, false);
      const sequence = this.#order.next(undefined, this.#silentCommand);
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
      this.#reads.run(this.#reads.take(level), silent, attempt);
      return;
    }
    const { timeMs } = server.engine.reads;
    if (attempt(this.writerFor(silent), timeMs)) this.#reads.run(timeMs, silent, attempt);
    else this.sawState();
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
      this.writer.sendTo(this.socket);
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
    const ended = this.#ended && !this.#holdsInput && !this.#outputHeld;
    if ((this.#closeWhenAnswered || ended) && this.#order.idle) {
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
    // As in Redis, the command that asks is still in its buffer.
    const running = this.#server.runningSession === this;
    return clientInfo(this, this.#server.table, this.#server.monotonicMs(), running ? this.decoder.commandEnd - this.decoder.commandStart : 0);
  }

  get closingWhenAnswered(): boolean {
    return this.#closeWhenAnswered;
  }

  get pendingWrites(): number {
    return this.#order.pendingWrites;
  }
}
