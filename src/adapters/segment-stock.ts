// The segments of a log from the oldest to the one that is written, the empty one that comes next, and those on their way out.
// Owns making and removing them; what stands in them is wal-log.ts's.
//
// What must hold: at most one segment is behind the one that is written, and it is empty; the oldest is removed first; no more is
// begun once it is closed.
import * as fs from 'node:fs';
import { assert, must } from '../base/assert.ts';
import { errorText } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { createSegment, prepareSegment, zerosFor } from './wal-segment.ts';
import type { LogIdentity, Segment, Zeros } from './wal-segment.ts';

/** Of a segment that is made at once, because the one that comes next is not ready: writing it takes a few milliseconds. */
const HASTY_SEGMENT_BYTES = 1 * MiB;

export interface SegmentStockOptions {
  /** Of the log. */
  readonly path: string;
  readonly identity: LogIdentity;
  readonly onTrouble?: (text: string) => void;
}

export class SegmentStock {
  readonly #dir: string;
  readonly #identity: LogIdentity;
  readonly #segmentBytes: number;
  /** Oldest first; the last is written. */
  readonly #segments: Segment[];
  /** Bytes of those that are not written to any more, until they are removed. */
  #fullBytes: number;
  #prepared: Segment | undefined;
  /** Place of the segment that is being prepared, or that could not be. */
  #preparing: number | undefined;
  #preparingEnded = Promise.resolve();
  #zeros: Zeros | undefined;
  /** Their entries were cut; the first is being removed. */
  readonly #leaving: Segment[] = [];
  /** One could not be removed. */
  #stuck = false;
  readonly #onTrouble: ((text: string) => void) | undefined;
  #closed = false;

  constructor(options: SegmentStockOptions, segmentBytes: number, segments: readonly Segment[], prepared: Segment | undefined) {
    assert(segments.length > 0, 'a log has a segment');
    this.#dir = options.path;
    this.#identity = options.identity;
    this.#onTrouble = options.onTrouble;
    this.#segmentBytes = segmentBytes;
    this.#segments = [...segments];
    this.#fullBytes = segments.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0);
    this.#prepared = prepared;
  }

  get oldest(): Segment {
    return this.#segments[0]!;
  }

  get isTrimmed(): boolean {
    return this.#leaving.length === 0;
  }

  /** The segment that comes next, made at once if it is not ready. */
  next(): Segment {
    const full = must(this.#segments.at(-1));
    const place = full.place + 1;
    const next = this.#prepared ?? createSegment(this.#dir, place, this.#identity, Math.min(this.#segmentBytes, HASTY_SEGMENT_BYTES));
    this.#prepared = undefined;
    this.#preparing = undefined;
    this.#segments.push(next);
    this.#fullBytes += full.bytes;
    return next;
  }

  /** `active` was written to: in time before it is full, the next one is made. */
  used(active: Segment): void {
    const place = active.place + 1;
    if (this.#prepared !== undefined || this.#preparing === place || active.end < active.bytes / 2) return;
    this.#preparing = place;
    const before = this.#preparingEnded;
    this.#preparingEnded = this.#prepare(place, before);
  }

  async #prepare(place: number, before: Promise<void>): Promise<void> {
    await before;
    const isWanted = (): boolean => !this.#closed && this.#preparing === place;
    if (!isWanted()) return;
    try {
      this.#zeros ??= zerosFor(this.oldest.path);
      this.#prepared = await prepareSegment(this.#dir, place, this.#identity, this.#segmentBytes, this.#zeros, isWanted);
    } catch (thrown) {
      // The segment is then made at once when it is needed; what still hinders that fails the append.
      this.#onTrouble?.(`${this.#dir}: the next segment cannot be made ahead of its use: ${errorText(thrown)}. When this one is full and that has not changed, this node stops acknowledging writes`);
    }
  }

  /** Takes the oldest away; nobody reads it any more. */
  removeOldest(): void {
    const oldest = must(this.#segments.shift());
    if (this.#stuck) {
      this.#fullBytes -= oldest.bytes;
      fs.closeSync(oldest.fd);
      return;
    }
    this.#leaving.push(oldest);
    if (this.#leaving.length === 1) this.#removeNext();
  }

  /** One at a time on the thread pool, since to free the blocks of a file takes a disk a while. */
  #removeNext(): void {
    const segment = this.#leaving[0];
    if (segment === undefined || this.#closed) return;
    fs.unlink(segment.path, (error) => {
      if (error !== null) {
        // Those behind it stay too, for the log has no gaps; all are found and removed again after the next start.
        this.#onTrouble?.(`${segment.path} cannot be removed, so the log keeps its size: ${errorText(error)}`);
        this.#stuck = true;
        fs.closeSync(segment.fd);
        for (const { bytes } of this.#leaving) this.#fullBytes -= bytes;
        const waiting = this.#leaving.splice(0).slice(1);
        if (!this.#closed) for (const one of waiting) fs.closeSync(one.fd);
        return;
      }
      fs.closeSync(segment.fd);
      this.#leaving.shift();
      this.#fullBytes -= segment.bytes;
      this.#removeNext();
    });
  }

  sizeBytes(): number {
    return this.#fullBytes + must(this.#segments.at(-1)).bytes + (this.#prepared?.bytes ?? 0);
  }

  close(): void {
    this.#closed = true;
    // The one that is being removed closes itself.
    const [, ...waiting] = this.#leaving;
    for (const segment of [...this.#segments, ...waiting]) fs.closeSync(segment.fd);
    if (this.#prepared !== undefined) fs.closeSync(this.#prepared.fd);
  }
}
