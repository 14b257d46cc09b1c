// What the node does about its data without being asked: expires, evicts, checkpoints; frees and moves memory. Of the former the
// leader decides, and everything it decides goes through the log as a record; the keyspace is only looked at here. The
// latter each node does in its own time: nothing that is replicated follows from how far it has got.
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import { copyBytes } from '../base/bytes.ts';
import { BATCH_TARGET_BYTES } from '../base/limits.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { Engine } from '../replica/engine.ts';
import { RecordKind, type RecordBuilder } from '../machine/record-codec.ts';
import type { Keyspace } from '../keyspace/keyspace.ts';
import type { Database, Handle } from '../keyspace/database.ts';

/** One key that was seen past its deadline. */
export interface ExpiredKey {
  readonly db: number;
  readonly key: Uint8Array;
  readonly deadlineMs: number;
}

export interface MaintenanceSettings {
  readonly maxmemory: number;
  readonly policy: string;
  readonly samples: number;
}

/** Keys looked at in each database by one turn of the active cycle, as Redis's ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP. */
const EXPIRE_SAMPLE_KEYS = 20;
const EXPIRE_ROUNDS_MAX = 16;
/** Keys that one record expires or evicts. */
const KEYS_PER_RECORD_MAX = 512;
/** A record takes no more keys once theirs have this many bytes: one key alone may have 60 MiB. */
const KEY_BYTES_PER_RECORD_MAX = BATCH_TARGET_BYTES;
const CHECKPOINT_ENTRIES = 10_000;
const CHECKPOINT_MS = 60_000;
/** Least time to one that a snapshotter waits for, whatever `hz` is. */
const WANTED_CHECKPOINT_MS = 100;
/** Elements freed between two looks at the clock. */
const FREE_STEP_ENTRIES = 256;
/** How long freeing holds up a turn of the event loop … */
const FREE_SLICE_MS = 1;
/** … and how long it then rests if there was anything else to do since the slice before; else it goes on in the next turn. */
const FREE_REST_MS = 5;
/** The same while memory is above maxmemory: what waits to be freed counts, and keys would be evicted in its place. */
const FREE_REST_PRESSED_MS = 1;
const DEFRAG_RATIO = 1.25;
const DEFRAG_SLACK_BYTES = 128 * MiB;
const DEFRAG_SLICE_BYTES = 64 * KiB;
/** Slices in one turn of the cron: a few milliseconds. */
const DEFRAG_SLICES = 8;

export class Maintenance {
  readonly #engine: Engine;
  readonly #entropy: Entropy;
  /** Expired keys whose deletion is on its way, so that they are not proposed over and over. */
  #expiring = false;
  #evicting = false;
  #lastCheckpointMs = 0;
  #checkpointing = false;
  #freeing = false;
  /** What clients have called and what was applied, when it was last looked at. */
  #workSeen = 0;
  /** Memory was above maxmemory since the last slice of freeing. */
  #pressed = false;
  readonly #clock: Clock;
  /** Commands that clients have called so far. */
  readonly #calls: () => number;
  readonly #wantsCheckpoint: () => boolean;
  activeExpire = true;

  /** `wantsCheckpoint`: a snapshotter waits for one. */
  constructor(engine: Engine, entropy: Entropy, clock: Clock, calls: () => number, wantsCheckpoint: () => boolean) {
    this.#engine = engine;
    this.#entropy = entropy;
    this.#clock = clock;
    this.#calls = calls;
    this.#wantsCheckpoint = wantsCheckpoint;
  }

  /** Called `hz` times a second. */
  cron(nowMs: number): void {
    const { machine } = this.#engine;
    if (!machine.bootstrapped) return;
    machine.keyspace.prepare();
    if (!this.#freeing) this.#free();
    // What is about to be freed is no reason to move what stays.
    if (!this.#freeing) this.#defragment(machine.keyspace);
    if (!this.#engine.isLeader || this.#engine.congested) return;
    const { isFull } = this.#engine.room;
    if (!isFull && this.activeExpire && !this.#expiring) this.#expireCycle(machine.keyspace);
    // A snapshot is what a full log waits for. Whoever asks for checkpoints without end gets so many.
    const isWanted = nowMs - this.#lastCheckpointMs >= WANTED_CHECKPOINT_MS && this.#wantsCheckpoint();
    if (isWanted || this.#isCheckpointDue(nowMs, isFull)) this.#checkpoint(nowMs);
  }

  /** Frees what was flushed or removed, for a moment, and sees to it that it goes on while there is more. */
  #free(): void {
    const { keyspace } = this.#engine.machine;
    const isBusy = this.#hasWorked();
    const startedMs = this.#clock.monotonicMs();
    let more = true;
    while (more && this.#clock.monotonicMs() - startedMs < FREE_SLICE_MS) more = keyspace.rehashStep(FREE_STEP_ENTRIES);
    this.#freeing = more;
    if (!more) return;
    const goOn = (): void => this.#free();
    const restMs = this.#pressed ? FREE_REST_PRESSED_MS : FREE_REST_MS;
    this.#pressed = false;
    if (isBusy) this.#clock.after(restMs, goOn);
    // What the sockets have delivered in this turn is dealt with before the end of it.
    else this.#clock.endOfTurn(goOn);
  }

  /**
   * True if this node had work since this was last asked. A follower without clients works too: it applies what the leader's
   * clients write, and all nodes of a cluster free the same at the same time, on a machine that may be one.
   */
  #hasWorked(): boolean {
    const work = this.#calls() + this.#engine.machine.appliedIndex;
    const hasWorked = work !== this.#workSeen;
    this.#workSeen = work;
    return hasWorked;
  }

  /** Moves records out of sparse slabs, a slice at a time, while much more is reserved than used. Changes handles: only between commands. */
  #defragment(keyspace: Keyspace): void {
    if (keyspace.reservedBytes < keyspace.usedBytes * DEFRAG_RATIO + DEFRAG_SLACK_BYTES) return;
    for (let slice = 0; slice < DEFRAG_SLICES; slice++) if (!keyspace.defragStep(DEFRAG_SLICE_BYTES)) return;
  }

  /** Has the deletion of these keys logged; `done` hears when it is applied. */
  expire(keys: readonly ExpiredKey[], seenAtMs: number, done: (error: string | undefined) => void): void {
    const open = new Map<number, { list: ExpiredKey[]; bytes: number }>();
    const records: ExpiredKey[][] = [];
    for (const key of keys) {
      let record = open.get(key.db);
      if (record === undefined || record.list.length >= KEYS_PER_RECORD_MAX || record.bytes >= KEY_BYTES_PER_RECORD_MAX) {
        record = { list: [], bytes: 0 };
        open.set(key.db, record);
        records.push(record.list);
      }
      record.list.push(key);
      record.bytes += key.key.length;
    }
    let left = records.length;
    let failure: string | undefined;
    if (left === 0) {
      done(undefined);
      return;
    }
    for (const list of records) {
      this.#engine.submitInternal(RecordKind.expire, list[0]!.db, (builder) => fillExpire(builder, list, seenAtMs), (error) => {
        failure ??= error;
        if (--left === 0) done(failure);
      });
    }
  }

  #expireCycle(keyspace: Keyspace): void {
    const nowMs = this.#engine.logClock.nowMs();
    const found: ExpiredKey[] = [];
    for (let number = 0; number < keyspace.databases; number++) {
      const db = keyspace.database(number);
      // As in Redis: go on while more than a quarter of the sample has expired.
      for (let round = 0; round < EXPIRE_ROUNDS_MAX && found.length < KEYS_PER_RECORD_MAX; round++) {
        const size = db.volatileSize;
        if (size === 0) break;
        const sample = Math.min(EXPIRE_SAMPLE_KEYS, size);
        const before = found.length;
        const start = this.#entropy.uint32() % size;
        for (let i = 0; i < sample; i++) {
          const key = db.volatileAt((start + i) % size);
          if (db.isExpired(key, nowMs)) found.push(expiredKey(keyspace, number, key));
        }
        if ((found.length - before) * 4 <= sample || sample === size) break;
      }
    }
    if (found.length === 0) return;
    this.#expiring = true;
    this.expire(found, nowMs, () => {
      this.#expiring = false;
    });
  }

  /**
   * Makes room before a command that may need it: has enough keys deleted to come below `maxmemory` again. False if the
   * policy or the data do not allow it. The deletions stand in the log before the command.
   */
  evict(settings: MaintenanceSettings): boolean {
    const { keyspace } = this.#engine.machine;
    const excess = keyspace.usedBytes - settings.maxmemory;
    if (excess <= 0) return true;
    this.#pressed = true;
    if (this.#evicting) return true;
    if (settings.policy === 'noeviction' || !this.#engine.isLeader) return settings.policy !== 'noeviction';
    const chosen = new Map<number, Uint8Array[]>();
    const seen = new Set<Handle>();
    let freed = 0;
    let count = 0;
    let keyBytes = 0;
    for (let misses = 0; freed < excess && count < KEYS_PER_RECORD_MAX && keyBytes < KEY_BYTES_PER_RECORD_MAX && misses < 64; ) {
      const victim = this.#victim(keyspace, settings, seen);
      if (victim === undefined) {
        misses++;
        continue;
      }
      seen.add(victim.key);
      freed += keyspace.memoryUsage(victim.key);
      count++;
      const span = keyspace.keySpan(victim.key);
      const list = chosen.get(victim.db);
      const key = copyBytes(span.bytes, span.start, span.end);
      keyBytes += key.length;
      if (list === undefined) chosen.set(victim.db, [key]);
      else list.push(key);
    }
    if (count === 0) return false;
    let left = chosen.size;
    this.#evicting = true;
    for (const [db, keys] of chosen) {
      this.#engine.submitInternal(RecordKind.evict, db, (builder) => fillEvict(builder, keys), () => {
        if (--left === 0) this.#evicting = false;
      });
    }
    return true;
  }

  /** The best of `samples` random keys by the policy. */
  #victim(keyspace: Keyspace, settings: MaintenanceSettings, seen: Set<Handle>): { db: number; key: Handle } | undefined {
    const onlyVolatile = settings.policy.startsWith('volatile');
    let total = 0;
    for (let i = 0; i < keyspace.databases; i++) total += sizeOf(keyspace.database(i), onlyVolatile);
    if (total === 0) return undefined;
    let best: { db: number; key: Handle } | undefined;
    let bestScore = -Infinity;
    const samples = settings.policy.endsWith('random') ? 1 : settings.samples;
    for (let s = 0; s < samples; s++) {
      let position = this.#entropy.uint32() % total;
      let number = 0;
      while (position >= sizeOf(keyspace.database(number), onlyVolatile)) {
        position -= sizeOf(keyspace.database(number), onlyVolatile);
        number++;
      }
      const db = keyspace.database(number);
      const key = onlyVolatile ? db.volatileAt(position) : db.at(position);
      if (seen.has(key)) continue;
      const score = evictionScore(keyspace, key, settings.policy);
      if (score <= bestScore) continue;
      bestScore = score;
      best = { db: number, key };
    }
    return best;
  }

  /** Of a full log one a minute, whatever else is in it: a snapshot is published, and the log cut, only after the checkpoint behind its own. */
  #isCheckpointDue(nowMs: number, isFull: boolean): boolean {
    if (isFull) return nowMs - this.#lastCheckpointMs >= CHECKPOINT_MS;
    const { machine } = this.#engine;
    const since = machine.appliedIndex - machine.lastCheckpointIndex;
    return since >= CHECKPOINT_ENTRIES || (since > 1 && nowMs - this.#lastCheckpointMs >= CHECKPOINT_MS);
  }

  /** A record that makes every node compare digests; see Machine. */
  #checkpoint(nowMs: number): void {
    if (this.#checkpointing) return;
    this.#checkpointing = true;
    this.#lastCheckpointMs = nowMs;
    const { index, digest } = this.#engine.machine.checkpoint;
    this.#engine.submitInternal(
      RecordKind.checkpoint,
      0,
      (builder) => {
        builder.uint53(index);
        builder.uint32(digest.low);
        builder.uint32(digest.high);
      },
      () => {
        this.#checkpointing = false;
      },
    );
    // It ends its entry: snapshots are of the state behind a whole entry, and this is where they are cut.
    this.#engine.flushNow();
  }
}

export function expiredKey(keyspace: Keyspace, number: number, key: Handle): ExpiredKey {
  const deadlineMs = keyspace.expiryMs(key);
  const span = keyspace.keySpan(key);
  return { db: number, key: copyBytes(span.bytes, span.start, span.end), deadlineMs };
}

function sizeOf(db: Database, onlyVolatile: boolean): number {
  return onlyVolatile ? db.volatileSize : db.size;
}

/** Higher is evicted sooner. */
function evictionScore(keyspace: Keyspace, key: Handle, policy: string): number {
  if (policy.endsWith('lru')) return keyspace.idleMs(key);
  if (policy.endsWith('lfu')) return 255 - keyspace.lfuFrequency(key);
  if (policy.endsWith('ttl')) return -keyspace.expiryMs(key);
  return 0;
}

function fillExpire(builder: RecordBuilder, keys: readonly ExpiredKey[], seenAtMs: number): void {
  builder.uint53(seenAtMs);
  builder.uint32(keys.length);
  for (const { key, deadlineMs } of keys) {
    builder.uint53(deadlineMs);
    builder.uint32(key.length);
    builder.put(key, 0, key.length);
  }
}

function fillEvict(builder: RecordBuilder, keys: readonly Uint8Array[]): void {
  builder.uint32(keys.length);
  for (const key of keys) {
    builder.uint32(key.length);
    builder.put(key, 0, key.length);
  }
}
