// The archive of the log as its writer sees it: takes committed entries as they come, puts them into the object store as segments,
// and gives them back to whoever is behind: the newest segment from memory, others from the store.
//
// What must hold:
// - Segments follow one another without a gap, in order: entry n + 1 is never stored before entry n is.
// - No entry waits much longer than the interval before it is stored, while the store takes it.
// - Memory is bounded whatever the store does: a segment being stored, one being filled, and the entry that closes it. `add` is
//   answered when there is room, so whoever feeds the archive waits for the store.
// - Storing a segment again does no harm: the same entries under the same name.
import { assert } from '../base/assert.ts';
import { entryIndex, entryTimeMs } from '../base/entry.ts';
import { OperationalError } from '../base/errors.ts';
import { SEGMENT_TARGET_BYTES } from '../base/limits.ts';
import type { Logger } from '../ports/logger.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { segmentKey } from './catalog.ts';
import { backoffMs, isStoreTrouble, type Pulse, type Retries } from './pulse.ts';
import { encodeSegment, readSegment, segmentBytes } from './segments.ts';

/** A segment in the store does not hold: its entries are to be archived again from the log. */
export class DamagedSegment extends OperationalError {
  readonly key: string;
  constructor(key: string, cause: OperationalError) {
    super(cause.code, cause.message, { cause });
    this.key = key;
  }
}

export interface ArchivedSegment {
  readonly key: string;
  readonly firstIndex: number;
  readonly lastIndex: number;
}

export interface ArchiverOptions {
  readonly clusterId: string;
  readonly store: ObjectStore;
  readonly pulse: Pulse;
  readonly retries: Retries;
  readonly logger: Logger;
  /** How long an entry may wait. */
  readonly intervalMs: number;
  /** Keys of segments that do not hold; one that is stored again does. */
  readonly damaged: Set<string>;
}

export class Archiver {
  readonly #options: ArchiverOptions;
  /** Behind the snapshot that the machine begins from; consecutive. What is applied is forgotten. */
  #segments: ArchivedSegment[];
  #lastIndex: number;
  #receivedIndex: number;
  #filling: Uint8Array[] = [];
  #fillingBytes = 0;
  /** When the first entry of `#filling` came; monotonic. */
  #fillingSinceMs = 0;
  /** When the oldest entry that is not stored came; monotonic, undefined if all are stored. */
  #oldestMs: number | undefined;
  #lastPutMs = 0;
  #flushTo = 0;
  #newest: { readonly segment: ArchivedSegment; readonly entries: readonly Uint8Array[] } | undefined;

  /** `segments`: what is stored behind entry `afterIndex`, without a gap. */
  constructor(options: ArchiverOptions, segments: readonly ArchivedSegment[], afterIndex: number) {
    this.#options = options;
    this.#segments = [...segments];
    this.#lastIndex = segments.at(-1)?.lastIndex ?? afterIndex;
    this.#receivedIndex = this.#lastIndex;
  }

  /** Everything up to here is in the store. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Everything up to here has come. */
  get receivedIndex(): number {
    return this.#receivedIndex;
  }

  /** For how long the oldest entry has been waiting. */
  get lagMs(): number {
    return this.#oldestMs === undefined ? 0 : Math.max(0, this.#nowMs - this.#oldestMs);
  }

  get #nowMs(): number {
    return this.#options.pulse.clock.monotonicMs();
  }

  /** Takes the next entries, which nobody writes to any more. Answered once there is room for more. */
  async add(entries: readonly Uint8Array[]): Promise<void> {
    const { pulse } = this.#options;
    for (const entry of entries) {
      while (this.#fillingBytes >= SEGMENT_TARGET_BYTES) await pulse.wait();
      assert(entryIndex(entry) === this.#receivedIndex + 1, () => `entry ${entryIndex(entry)} comes behind ${this.#receivedIndex}`);
      if (this.#filling.length === 0) this.#fillingSinceMs = this.#nowMs;
      this.#oldestMs ??= this.#nowMs;
      this.#filling.push(entry);
      this.#fillingBytes += entry.length;
      this.#receivedIndex++;
    }
    pulse.fire();
  }

  /** Stores entries up to this one without waiting for the interval, also if they have yet to come. */
  flush(toIndex: number): void {
    this.#flushTo = Math.max(this.#flushTo, toIndex);
    this.#options.pulse.fire();
  }

  /** Stores what comes, until the pulse stops. */
  async run(): Promise<never> {
    const { pulse } = this.#options;
    for (;;) {
      const waitMs = this.#waitMs();
      if (waitMs > 0) await pulse.wait(waitMs);
      else await this.#storeSegment();
    }
  }

  /** Until the entries gathered so far are due. */
  #waitMs(): number {
    if (this.#filling.length === 0) return Infinity;
    if (this.#fillingBytes >= SEGMENT_TARGET_BYTES || this.#lastIndex < this.#flushTo) return 0;
    const { intervalMs } = this.#options;
    // Storing takes time too.
    const allowedMs = intervalMs - Math.min(intervalMs / 2, this.#lastPutMs);
    return this.#fillingSinceMs + allowedMs - this.#nowMs;
  }

  async #storeSegment(): Promise<void> {
    const { clusterId, store, retries, pulse, logger } = this.#options;
    const entries = this.#filling;
    const sinceMs = this.#fillingSinceMs;
    this.#filling = [];
    this.#fillingBytes = 0;
    pulse.fire();
    const [firstIndex, lastIndex] = [this.#lastIndex + 1, this.#lastIndex + entries.length];
    const segment = { key: segmentKey(clusterId, firstIndex, lastIndex), firstIndex, lastIndex };
    const bytes = segmentBytes(entries);
    let begunMs = sinceMs;
    await retries.run(`archiving log entries ${firstIndex} to ${lastIndex}`, () => {
      begunMs = this.#nowMs;
      return store.put(segment.key, encodeSegment(clusterId, entries), { bytes });
    });
    this.#lastPutMs = this.#nowMs - begunMs;
    this.#options.damaged.delete(segment.key);
    this.#segments.push(segment);
    this.#newest = { segment, entries };
    this.#lastIndex = lastIndex;
    this.#oldestMs = this.#filling.length === 0 ? undefined : this.#fillingSinceMs;
    logger.debug({ firstIndex, lastIndex, bytes, ms: Math.round(this.#lastPutMs) }, 'log archived');
    pulse.fire();
  }

  /** Log time of the newest entry that is stored, if it is known without asking the store. */
  get lastTimeMs(): number | undefined {
    const last = this.#newest?.entries.at(-1);
    return last === undefined ? undefined : entryTimeMs(last);
  }

  /** Stored entries from `from` on to the end of a segment; an entry of them at a time is in memory, the newest segment aside. */
  async *read(from: number): AsyncGenerator<Uint8Array> {
    const at = this.#segments.findIndex(({ lastIndex }) => lastIndex >= from);
    const segment = this.#segments[at];
    assert(segment !== undefined && segment.firstIndex <= from, () => `entry ${from} is in the archive, which ends at ${this.#lastIndex}`);
    this.#segments.splice(0, at);
    if (this.#newest?.segment === segment) {
      yield* this.#newest.entries.slice(from - segment.firstIndex);
      return;
    }
    yield* this.#readStored(segment, from);
  }

  /** Opens the segment again where the store breaks off in the middle. */
  async *#readStored(segment: ArchivedSegment, from: number): AsyncGenerator<Uint8Array> {
    const { store, retries, pulse } = this.#options;
    let next = from;
    for (let failures = 1; next <= segment.lastIndex; failures++) {
      const entries = await retries.run(`reading ${segment.key}`, () => this.#open(store, segment));
      try {
        for (;;) {
          const step = await entries.next();
          if (step.done === true) return;
          if (entryIndex(step.value) < next) continue;
          next++;
          yield step.value;
        }
      } catch (thrown) {
        if (!isStoreTrouble(thrown)) throw damageOf(segment.key, thrown);
        await pulse.sleep(backoffMs(failures));
      } finally {
        await entries.return?.();
      }
    }
  }

  async #open(store: ObjectStore, segment: ArchivedSegment): Promise<AsyncIterator<Uint8Array>> {
    try {
      return await openSegment(store, this.#options.clusterId, segment);
    } catch (thrown) {
      throw damageOf(segment.key, thrown);
    }
  }
}

/** The entries of a segment, which is the one that its name says. */
export async function openSegment(store: ObjectStore, clusterId: string, segment: ArchivedSegment): Promise<AsyncIterator<Uint8Array>> {
  const { key, firstIndex, lastIndex } = segment;
  const { header, entries, stop } = await readSegment(await store.get(key), key);
  if (header.clusterId !== clusterId || header.firstIndex !== firstIndex || header.lastIndex !== lastIndex) {
    await stop();
    throw new OperationalError('OBJECT_DAMAGED', `${key} holds entries ${header.firstIndex} to ${header.lastIndex} of cluster ${header.clusterId}, which is not what its name says`);
  }
  return entries[Symbol.asyncIterator]();
}

/** What was thrown, as damage of this segment where it is that. */
export function damageOf(key: string, thrown: unknown): unknown {
  const isDamage = thrown instanceof OperationalError && (thrown.code === 'OBJECT_DAMAGED' || thrown.code === 'OBJECT_NOT_FOUND');
  return isDamage ? new DamagedSegment(key, thrown) : thrown;
}
