// The engine side of a node: batches clients' writes into entries, applies committed entries to the machine, and says
// when reads may be served. Owns the open batch, the proposals and forwards under way, and the machine.
//
// What must hold:
// - A record's reply is written only when its entry, committed, is applied here.
// - A proposal or a forward is sent once. It ends in exactly one of: applied; known not to be in the log (the entry at
//   its place, or the first of a later term, is another's); UNCERTAIN after `uncertainAfterMs` without word.
// - Log time stamped here never goes back (LogClock).
import { copyBytes } from '../base/bytes.ts';
import { ENTRY_HEADER_BYTES, EntryKind, makeEntry, writeEntryHeader } from '../base/entry.ts';
import { APPLY_WINDOW_BYTES, BATCH_RECORDS_MAX, BATCH_TARGET_BYTES, MiB } from '../base/limits.ts';
import { Errors } from '../commands/errors.ts';
import type { ServerPort, SessionPort } from '../commands/ports.ts';
import { makeBootstrapEntry } from '../machine/bootstrap.ts';
import { MACHINE_VERSION, type Machine } from '../machine/machine.ts';
import { RecordBuilder, type RecordKind, type RecordView } from '../machine/record-codec.ts';
import type { CommittedEntry, RaftRole } from '../ports/link.ts';
import { NullReply } from '../resp/null-reply.ts';
import type { Reply } from '../resp/reply.ts';
import { Applying, type ApplyHost, type OtherMessage } from './applying.ts';
import { keepOwn, piecesOf, waitersOf, waitersOfEntry, type Piece } from './batches.ts';
import { Congestion } from './congestion.ts';
import type { EngineOptions } from './engine-options.ts';
import { Forwarded } from './forwarded.ts';
import { Forwards } from './forwards.ts';
import { FULL_RECORDS, Gathering } from './gathering.ts';
import { Outcomes, NOT_APPLIED } from './outcomes.ts';
import { Proposals, type Proposal } from './proposals.ts';
import { Installation } from './installation.ts';
import { InternalRecords } from './internal-records.ts';
import { LogClock } from './log-clock.ts';
import { isEssential, LOG_FULL, LogRoom } from './log-room.ts';
import { Reads } from './reads.ts';
import { Requests } from './requests.ts';
import { WriteTimings } from './write-timings.ts';

export type { EngineHost } from './engine-options.ts';

const BATCH_KEEP_BYTES = 1 * MiB;
/**
 * Own proposals on their way at once, full batches aside. With one, the next batch gathers what arrives during an fsync:
 * 1.5 times the SETs of four on one node at pipeline 1 and 16, and the same on three.
 */
const PROPOSALS_IN_FLIGHT_MAX = 1;
const BACKLOG_BYTES_MAX = 64 * MiB;
/** Bytes forwarded to the leader and not settled above which sockets are not read; far below what a peer's queue takes. */
const FORWARDED_BYTES_MAX = 8 * MiB;
/** Consensus hands over entries while fewer than four times as many bytes are not known to be applied. */
const APPLIED_BYTES_TOLD = APPLY_WINDOW_BYTES / 4;
const CRON_MS = 50;
/** Longest wait for a forward while the leader stays the same, in units of uncertainAfterMs. */
const FORWARD_PATIENCE = 5;

export class Engine implements ApplyHost {
  readonly machine: Machine;
  readonly reads: Reads;
  readonly logClock: LogClock;
  readonly #options: EngineOptions;
  readonly #batch = new RecordBuilder(ENTRY_HEADER_BYTES, BATCH_TARGET_BYTES);
  #flushScheduled = false;
  #batchOpenedMs = 0;
  readonly #proposals = new Proposals();
  readonly #forwards = new Forwards();
  readonly #forwarded = new Forwarded();
  readonly room: LogRoom;
  /** Numbers of proposals and forwards: other ones in each boot, as answers to forwards of the boot before may still come. */
  #nextProposal: number;
  readonly timings = new WriteTimings();
  readonly #repliesSent = (): void => this.timings.sent(this.#options.clock.monotonicMs());
  readonly #gathering: Gathering;
  readonly requests: Requests;
  readonly congestion = new Congestion(() => this.congested, () => this.#options.host.uncongested());
  readonly #installation: Installation;
  readonly #applying: Applying;
  readonly #outcomes: Outcomes;
  role: RaftRole = 'follower';
  leader = 0;
  term = 0;
  /** Set when the log store failed: no write is taken any more. */
  logFailure: string | undefined;
  #bootstrapProposed = false;
  /** Records of session 0. */
  readonly #internal = new InternalRecords();
  /** Internal records need a writer so that `end` is called for them; it keeps nothing. */
  readonly #internalReply: Reply = new NullReply();
  #currentSession = 0;
  #stopped = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#nextProposal = options.origin.boot * 2 ** 20 + 1;
    this.machine = options.machine;
    this.logClock = new LogClock(options.clock);
    this.room = new LogRoom(options.clock, () => this.role === 'leader');
    this.#gathering = new Gathering(options.clock, () => this.flush());
    this.requests = new Requests(options.link, options.host);
    this.#installation = new Installation(options.link, options.logger, options.installer);
    const machine = options.machine;
    this.#outcomes = new Outcomes(machine, options.clock, this.#proposals, this.#forwards, this.timings, (waiters, error) => this.#failWaiters(waiters, error));
    this.#applying = new Applying(machine, options.clock, this, options.pace);
    this.reads = new Reads({
      cell: options.cell,
      link: options.link,
      clock: options.clock,
      logClock: this.logClock,
      state: {
        get appliedIndex() {
          return machine.appliedIndex;
        },
        get bootstrapped() {
          return machine.bootstrapped;
        },
        get machineTimeMs() {
          return machine.timeMs;
        },
      },
      timeoutMs: options.leaderWaitMs,
      useLease: options.readConsistency === 'lease',
      failureText: Errors.clusterDown,
    });
  }

  start(): void {
    const { link, startsBehind } = this.#options;
    link.onMessage((message) => this.#applying.told(message));
    if (startsBehind !== undefined && startsBehind.index > 0) this.#installation.start(startsBehind);
    this.#scheduleCron();
  }

  /** No more timers; the link is the caller's to close. */
  stop(): void {
    this.#stopped = true;
  }

  /** True while what was committed before the start is being applied. */
  get loading(): boolean {
    return !this.machine.bootstrapped || this.machine.appliedIndex < (this.#options.replayTo ?? 0);
  }

  /** The newest commit index that consensus has published. */
  get commitIndex(): number {
    this.#options.cell.load();
    return this.#options.cell.commit;
  }

  get isLeader(): boolean {
    return this.role === 'leader';
  }

  /** Too much is on its way to the log: sockets should not be read until `uncongested`. */
  get congested(): boolean {
    return this.#proposals.bytes + this.#batch.recordBytes > BACKLOG_BYTES_MAX || this.#forwards.bytes > FORWARDED_BYTES_MAX;
  }

  /** Before a connection's input is looked at: applies what is committed by now, so that the log does not wait for all of the turn's input. */
  catchUp(): void {
    if (this.#proposals.size === 0 || this.#applying.isPaused) return;
    const { cell, link } = this.#options;
    cell.load();
    if (cell.commit > this.machine.appliedIndex) link.poll();
  }

  // --- writes

  /** Opens a record in the batch; the caller puts the payload into the builder and calls `endRecord`. */
  beginRecord(kind: RecordKind, protocol: 2 | 3, db: number, session: number, sequence: number): RecordBuilder {
    if (this.#batch.count === 0) this.#batchOpenedMs = this.#options.clock.monotonicMs();
    this.#batch.begin(kind, protocol, db, this.#options.origin, session, sequence);
    return this.#batch;
  }

  endRecord(): void {
    this.#batch.end();
    if (this.#batch.recordBytes >= BATCH_TARGET_BYTES || this.#batch.count >= BATCH_RECORDS_MAX) this.flush();
    else this.#scheduleFlush();
  }

  /** Logs a record of the node's own (expiry, eviction, settings); `done` hears when it is applied, or why not. */
  submitInternal(
    kind: RecordKind,
    db: number,
    fill: (builder: RecordBuilder) => void,
    done: (error: string | undefined) => void,
  ): void {
    fill(this.beginRecord(kind, 2, db, 0, this.#internal.add(done)));
    this.endRecord();
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    this.#options.clock.endOfTurn(() => {
      this.#flushScheduled = false;
      this.flush();
    });
  }

  /** Sends the open batch off: to our own log as leader, to the leader otherwise. Waits where neither can be. */
  flush(): void {
    const batch = this.#batch;
    if (batch.count === 0 || this.#stopped) return;
    if (this.logFailure !== undefined && this.leader === 0) {
      this.#refuseBatch(Errors.clusterDown);
    } else if (this.role === 'leader') {
      const full = batch.recordBytes >= BATCH_TARGET_BYTES || batch.count >= BATCH_RECORDS_MAX;
      if (!full && (this.#isBusy || this.#gathering.holds(batch.count))) return;
      this.flushNow();
    } else if (this.leader !== 0) {
      this.#forward();
    }
  }

  /** What is in flight, or is being applied in several turns, has to be done with before a batch that is not full leaves. */
  get #isBusy(): boolean {
    return this.#proposals.size >= PROPOSALS_IN_FLIGHT_MAX || this.#applying.isPaused;
  }

  #propose(): void {
    const batch = this.#batch;
    const nowMs = this.logClock.nowMs();
    if (batch.count <= BATCH_RECORDS_MAX && batch.recordBytes <= 2 * BATCH_TARGET_BYTES) {
      const { count } = batch;
      const entry = batch.take();
      writeEntryHeader(entry, EntryKind.commands, MACHINE_VERSION, count, nowMs);
      this.#send(entry);
      return;
    }
    for (const { records, count } of this.#takePieces()) this.#send(makeEntry(EntryKind.commands, MACHINE_VERSION, count, nowMs, records));
  }

  /** Empties the batch, which may have grown for as long as no leader was known, into pieces that an entry may hold. */
  #takePieces(): Piece[] {
    const pieces = piecesOf(this.#batch);
    this.#batch.clear(BATCH_KEEP_BYTES);
    return pieces;
  }

  #send(entry: Uint8Array): void {
    const id = this.#nextProposal++;
    this.#proposals.add(id, entry, this.#batchOpenedMs, this.#options.clock.monotonicMs());
    // The link takes what it is given; our copy stays for apply.
    this.#options.link.send({ type: 'propose', id, term: this.term, entry: copyBytes(entry) });
  }

  #forward(): void {
    const deadlineMs = this.#options.clock.monotonicMs() + this.#options.uncertainAfterMs * FORWARD_PATIENCE;
    for (const { records, count } of this.#takePieces()) {
      const id = this.#nextProposal++;
      this.#forwards.add({ id, term: this.term, bytes: records.length, waiters: waitersOf(records, count, this.#options.origin), deadlineMs });
      this.#options.link.send({ type: 'forward', id, leader: this.leader, term: this.term, count, records });
    }
  }

  #refuseBatch(error: string): void {
    const records = this.#batch.bytes.slice(ENTRY_HEADER_BYTES, this.#batch.length);
    const waiters = waitersOf(records, this.#batch.count, this.#options.origin);
    this.#batch.clear(BATCH_KEEP_BYTES);
    this.#failWaiters(waiters, error);
    this.#options.host.flush();
  }

  #failWaiters(waiters: Uint32Array, error: string): void {
    for (let i = 0; i < waiters.length; i += 2) this.#fail(waiters[i]!, waiters[i + 1]!, error);
  }

  #fail(session: number, sequence: number, error: string): void {
    if (session === 0) this.#internal.settle(sequence, error);
    else this.#options.host.fail(session, sequence, error);
  }

  #failProposal(proposal: Proposal, error: string): void {
    this.#failWaiters(waitersOfEntry(proposal.entry, this.#options.origin), error);
  }

  // --- from consensus

  heard(message: OtherMessage): void {
    switch (message.type) {
      case 'appended': {
        // Ours from an earlier term, which our own log has lost since: as leader we have all that is committed.
        const before = this.#proposals.appended(message.id, message.term, message.index);
        if (before !== undefined) this.#failProposal(before, NOT_APPLIED);
        return;
      }
      case 'refused': {
        this.#bootstrapProposed = false;
        this.#failProposal(this.#proposals.refused(message.id), Errors.clusterDown);
        this.#options.host.flush();
        this.flush();
        return;
      }
      case 'forward-failed':
        this.#forwardFailed(message.id, message.reason);
        return;
      case 'forwarded':
        this.#takeForwarded(message.from, message.id, message.term, message.count, message.records);
        return;
      case 'read-state':
        this.reads.onReadState(message.id, message.index, message.timeMs);
        this.#options.host.flush();
        return;
      case 'read-failed':
        this.reads.onReadFailed(message.id);
        return;
      case 'state':
        this.#stateChanged(message.role, message.leader, message.term);
        return;
      case 'log-failed':
        this.logFailure = message.reason;
        // Cut off from the others, this node will not learn what became of what is under way.
        this.#proposals.hurry(this.#options.clock.monotonicMs());
        this.#forwards.hurry(this.#options.clock.monotonicMs(), this.term, 0);
        this.flush();
        this.#options.host.stateChanged();
        return;
      case 'log-room':
        this.room.told(message.isFull);
        return;
      case 'restore':
      case 'piece-asked':
        this.#installation.asked(message);
        return;
      case 'installed':
        this.#installed(message.accepted);
        return;
      case 'status':
      case 'transferred':
      case 'members-changed':
      case 'members':
        this.requests.told(message);
        return;
      case 'stopped':
        this.#stopped = true;
        this.#options.host.stopped(message.reason);
        return;
    }
  }

  shutdown(): void {
    this.flush();
    this.#options.link.send({ type: 'shutdown' });
  }

  #stateChanged(role: RaftRole, leader: number, term: number): void {
    const led = this.role === 'leader';
    // Peers' records in the open batch were for this node as leader of a term that is over: the peer counts them as lost
    // once it sees an entry of a later one.
    if (led && (role !== 'leader' || term !== this.term)) keepOwn(this.#batch, this.#options.origin, BATCH_KEEP_BYTES);
    this.#gathering.stop();
    this.room.leaderChanged();
    this.role = role;
    this.leader = leader;
    this.term = term;
    const uncertainAt = this.#options.clock.monotonicMs() + this.#options.uncertainAfterMs;
    if (led && role !== 'leader') this.#proposals.hurry(uncertainAt);
    this.#forwards.hurry(uncertainAt, term, leader);
    this.#bootstrapProposed = false;
    this.#options.host.stateChanged();
    this.flush();
  }

  #forwardFailed(id: number, reason: string): void {
    if (reason === LOG_FULL) this.room.refusedByLeader();
    const forward = this.#forwards.takeOne(id);
    if (forward === undefined) return;
    this.#failWaiters(forward.waiters, reason === LOG_FULL ? Errors.logFull : Errors.clusterDown);
    this.#options.host.flush();
  }

  /** Records of a peer's clients: into our batch if we lead the term that they were sent in, in one piece. */
  #takeForwarded(from: number, id: number, term: number, count: number, records: Uint8Array): void {
    const verdict = this.#forwarded.judge(from, id, count, records);
    if (verdict === 'old') return;
    const takes = this.role === 'leader' && this.term === term && this.machine.bootstrapped && verdict === 'new';
    if (!takes || (this.room.isFull && !isEssential(records, count, this.machine.table))) {
      this.#options.link.send({ type: 'forward-refused', to: from, id, term, reason: takes ? LOG_FULL : 'not the leader of that term' });
      return;
    }
    if (this.#batch.count + count > BATCH_RECORDS_MAX) this.flushNow();
    if (this.#batch.count === 0) this.#batchOpenedMs = this.#options.clock.monotonicMs();
    this.#batch.append(records, count);
    if (this.#batch.recordBytes >= BATCH_TARGET_BYTES) this.flush();
    else this.#scheduleFlush();
  }

  /** As leader: proposes the open batch whatever is in flight. */
  flushNow(): void {
    if (this.#batch.count > 0 && this.role === 'leader' && this.machine.bootstrapped) this.#propose();
  }

  // --- apply

  beginEntries(entries: readonly CommittedEntry[]): void {
    this.#outcomes.ownRecords = 0;
    // What fills an entry by itself goes to disk while these are applied.
    const inFlight = this.#proposals.size - entries.filter(({ proposal }) => proposal !== 0).length;
    if (this.role === 'leader' && inFlight < PROPOSALS_IN_FLIGHT_MAX && this.#batch.count >= FULL_RECORDS) this.flushNow();
  }

  beginEntry(committed: CommittedEntry): Uint8Array {
    this.logClock.observe(committed.timeMs);
    return this.#outcomes.begin(committed);
  }

  endEntry(committed: CommittedEntry): void {
    const own = this.#outcomes.end(committed, this.#options.origin);
    if (own !== undefined) this.#batch.giveBack(own);
    this.reads.onApplied();
  }

  endEntries(): void {
    const { ownRecords } = this.#outcomes;
    this.#options.host.flush();
    // Behind the server's own end of turn, in which the replies leave.
    if (ownRecords > 0) this.#options.clock.endOfTurn(this.#repliesSent);
    const bytes = this.#outcomes.takeBytes(APPLIED_BYTES_TOLD);
    if (bytes > 0) this.#options.link.send({ type: 'applied', index: this.machine.appliedIndex, bytes });
    this.#installation.tellPublished(this.machine);
    this.#maybeBootstrap();
    if (ownRecords > 0 && this.#proposals.size === 0) this.#gathering.begin(ownRecords, this.#batch.count);
    this.flush();
    this.congestion.check();
  }

  paused(): void {
    this.#options.host.flush();
  }

  resumed(): void {
    this.flush();
  }

  /** Another machine takes over, which is ahead: what this one would still have applied is in it, or is not; nobody here can tell. */
  #installed(accepted: boolean): void {
    const machine = this.#installation.installed(accepted);
    if (machine === undefined) return;
    this.machine.adopt(machine);
    this.logClock.observe(machine.timeMs);
    for (const forward of this.#forwards.takeLate(Infinity)) this.#failWaiters(forward.waiters, Errors.uncertain);
    for (const proposal of this.#proposals.takeUpTo(machine.appliedIndex)) this.#failProposal(proposal, Errors.uncertain);
    this.#installation.tellPublished(this.machine);
    this.reads.onApplied();
    this.#options.host.flush();
    this.#options.host.stateChanged();
    // What waited for room in flight.
    this.flush();
    this.congestion.check();
  }

  #maybeBootstrap(): void {
    if (this.machine.bootstrapped || this.role !== 'leader' || this.#bootstrapProposed) return;
    // The no-op of our own term is applied and nothing before it was a bootstrap: there is none.
    if (this.machine.appliedTerm !== this.term) return;
    this.#bootstrapProposed = true;
    this.#send(makeBootstrapEntry(this.#options.bootstrap(), this.logClock.nowMs()));
  }

  // ApplySink

  begin(record: RecordView): Reply | undefined {
    const { origin, host } = this.#options;
    if (record.node !== origin.node || record.boot !== origin.boot) return undefined;
    this.#currentSession = record.session;
    if (!this.#forwards.isEmpty) {
      for (const lost of this.#forwards.applied(record.session, record.sequence)) this.#failWaiters(lost.waiters, Errors.uncertain);
    }
    if (record.session === 0) return this.#internalReply;
    return host.beginReply(record.session, record.sequence, record.protocol);
  }

  end(record: RecordView): void {
    if (record.session === 0) this.#internal.settle(record.sequence, undefined);
    else this.#options.host.endReply(record.session, record.sequence);
  }

  session(): SessionPort | undefined {
    return this.#options.host.session(this.#currentSession);
  }

  server(): ServerPort | undefined {
    return this.#options.host.server();
  }

  // --- time

  #scheduleCron(): void {
    this.#options.clock.after(CRON_MS, () => {
      if (this.#stopped) return;
      this.#cron();
      this.#scheduleCron();
    });
  }

  #cron(): void {
    const now = this.#options.clock.monotonicMs();
    this.reads.expire();
    for (const proposal of this.#proposals.late(now)) this.#failProposal(proposal, Errors.uncertain);
    for (const forward of this.#forwards.takeLate(now)) this.#failWaiters(forward.waiters, Errors.uncertain);
    const waited = now - this.#batchOpenedMs;
    if (this.#batch.count > 0 && this.leader === 0 && waited > this.#options.leaderWaitMs) this.#refuseBatch(Errors.clusterDown);
    this.#maybeBootstrap();
    this.congestion.check();
    this.#options.host.flush();
  }
}
