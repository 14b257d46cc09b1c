// Opens the log of a node: reads every segment from the first to the last, checks every byte that counts, and says what the log
// is. Owns the rules of what is whole, torn or damaged; formats are wal-segment.ts's and wal-frame.ts's.
//
// Whole: segments follow one another in their places; all but the last end in a seal; frame numbers rise by one from the first
// to the last; entries follow one another from the base on and their terms do not fall; each frame names the last entry.
// The segment behind the last one that is in use may be there already, empty, for what comes next.
//
// Torn tail or damage: a frame is written and synced before the next one is begun, so a crash tears the last frame alone, which
// was never reported persisted: it is wiped and said. What does not verify and has a whole frame of the log behind it was synced
// once: that is damage, as is everything else that does not hold. Then nothing is changed, for this node may have
// acknowledged what stands behind; the caller decides (data-dir.ts sets a damaged log aside, and the node rejoins without
// a vote). The last frame alone cannot be told from a tear; docs/consistency.md says so.
import * as fs from 'node:fs';
import { assert } from '../base/assert.ts';
import { copyBytes } from '../base/bytes.ts';
import { ENTRY_HEADER_BYTES, entryFault, entryIndex, entryTerm } from '../base/entry.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { LogBase } from '../base/log-base.ts';
import { LogShape } from '../base/log-shape.ts';
import { readUint32 } from '../base/uint.ts';
import { EntryPlaces } from './entry-places.ts';
import { SegmentReader } from './segment-reader.ts';
import { FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameFlag, SALT_AT, frameBytes, headBytesAt, readHead } from './wal-frame.ts';
import type { FrameHead, FrameState } from './wal-frame.ts';
import { SEGMENT_HEADER_BYTES, damaged, openError, openSegment, removeUnfinished, segmentPath, segmentPlaces, writeAll } from './wal-segment.ts';
import type { LogIdentity, Segment } from './wal-segment.ts';

export interface RecoveredLog {
  /** In order; the last is the one that is written. */
  readonly segments: readonly Segment[];
  /** Empty and ready, behind the last. */
  readonly prepared: Segment | undefined;
  readonly state: FrameState;
  readonly frameNumber: number;
  readonly shape: LogShape;
  readonly places: EntryPlaces;
  readonly values: Map<string, Uint8Array>;
  /** What was torn and is wiped, as the operator should read it. */
  readonly tornTail: string | undefined;
}

const WINDOW_BYTES = 1 * MiB;

/** The whole frame at `at`, or undefined. `use` gets its entries with their places, also where a later one does not verify. */
function frameAt(reader: SegmentReader, segment: Segment, at: number, use?: (entry: Uint8Array, offset: number) => void): FrameHead | undefined {
  const headBytes = headBytesAt(reader.bytes(segment, at, FRAME_HEADER_BYTES), segment.salt);
  if (headBytes === undefined || at + headBytes > segment.bytes) return undefined;
  const head = readHead(reader.bytes(segment, at, headBytes));
  if (head === undefined || at + headBytes + head.bodyBytes > segment.bytes) return undefined;
  let offset = at + headBytes;
  for (let i = 0; i < head.entryCount; i++) {
    const length = head.table[2 * i]!;
    const entry = reader.bytes(segment, offset, length);
    if (entryFault(entry) !== undefined || entryIndex(entry) !== head.firstIndex + i) return undefined;
    if (readUint32(entry, 0) !== head.table[2 * i + 1]) return undefined;
    use?.(entry, offset);
    offset += length;
  }
  return head;
}

const ZEROS = Buffer.alloc(64 * KiB);

/** Where in [from, end of the file) the next byte other than zero is, or undefined. */
function nextNonZero(reader: SegmentReader, segment: Segment, from: number): number | undefined {
  for (let at = from; at < segment.bytes; ) {
    const bytes = reader.bytes(segment, at, Math.min(ZEROS.length, segment.bytes - at));
    assert(bytes.length > 0, () => `${segment.path} ends at byte ${at}`);
    if (Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) !== 0) return at + bytes.findIndex((byte) => byte !== 0);
    at += bytes.length;
  }
  return undefined;
}

/** The first whole frame behind `from`, wherever frames may begin. Found by its salt, which nothing else has. */
function frameBehind(reader: SegmentReader, segment: Segment, from: number): number | undefined {
  const salt = Buffer.from(segment.salt);
  for (let at = from + FRAME_ALIGNMENT; at + FRAME_HEADER_BYTES <= segment.bytes; ) {
    const window = reader.bytes(segment, at, Math.min(WINDOW_BYTES, segment.bytes - at));
    const found = Buffer.from(window.buffer, window.byteOffset, window.length).indexOf(salt);
    if (found < 0) {
      at += Math.max(FRAME_ALIGNMENT, window.length - salt.length);
      continue;
    }
    const start = at + found - SALT_AT;
    if (start > from && start % FRAME_ALIGNMENT === 0 && frameAt(reader, segment, start) !== undefined) return start;
    at += found + 1;
  }
  return undefined;
}

/** Puts the log together, frame by frame. */
class Recovery {
  readonly places = new EntryPlaces();
  readonly values = new Map<string, Uint8Array>();
  /** Begins behind the last entry that the first segment does not hold; `recover` cuts it to the base. */
  shape: LogShape | undefined;
  state: FrameState | undefined;
  frameNumber = 0;
  lastFrame: { readonly segment: Segment; readonly at: number; readonly bytes: number } | undefined;

  /** Reads the frames of `segment`; where they end is its `end`. Says whether they end in a seal. */
  read(segment: Segment, reader: SegmentReader): boolean {
    for (;;) {
      const at = segment.end;
      const entries: FoundEntry[] = [];
      const head = frameAt(reader, segment, at, (entry, offset) => {
        entries.push({ header: copyBytes(entry, 0, ENTRY_HEADER_BYTES), bytes: entry.length, offset });
      });
      if (head === undefined) return false;
      this.#add(segment, at, head, entries);
      segment.end = at + frameBytes(head);
      this.lastFrame = { segment, at, bytes: frameBytes(head) };
      if ((head.flags & FrameFlag.seal) !== 0) return true;
    }
  }

  #add(segment: Segment, at: number, head: FrameHead, entries: readonly FoundEntry[]): void {
    const check = (holds: boolean, what: () => string): void => {
      if (!holds) throw damaged(segment.path, `the frame at byte ${at}: ${what()}`);
    };
    const complete = (head.flags & FrameFlag.complete) !== 0;
    check(this.shape !== undefined || complete, () => `it is number ${head.number}, and the log before it is not there`);
    check(this.shape === undefined || head.number === this.frameNumber + 1, () => `it is number ${head.number} behind number ${this.frameNumber}`);
    this.frameNumber = head.number;
    if ((head.flags & FrameFlag.emptied) !== 0) {
      this.shape = new LogShape(head.base);
      this.places.clear();
    }
    if (this.shape !== undefined && entries.length > 0 && head.firstIndex <= this.shape.base.index) {
      // It replaces all that is here, from before where the first segment begins: what that followed is gone with its segments.
      this.shape = undefined;
      this.places.clear();
    }
    const shape = (this.shape ??= new LogShape(startOf(head)));
    if (complete) this.values.clear();
    for (const [name, value] of head.values) this.values.set(name, value);
    if (entries.length > 0) {
      const follows = head.firstIndex > shape.base.index && head.firstIndex > head.base.index && head.firstIndex <= shape.lastIndex + 1;
      check(follows, () => `entry ${head.firstIndex} does not follow a log of [${shape.firstIndex}, ${shape.lastIndex}] behind ${head.base.index}`);
    }
    let term = shape.term(head.firstIndex - 1) ?? 0;
    for (const [i, { header, bytes, offset }] of entries.entries()) {
      const index = head.firstIndex + i;
      check(entryTerm(header) >= term, () => `entry ${index} of term ${entryTerm(header)} after term ${term}`);
      term = entryTerm(header);
      shape.appended(header, bytes);
      this.places.add(index, segment, offset);
    }
    const ends = shape.lastIndex === head.lastIndex && shape.lastTerm === head.lastTerm;
    check(ends, () => `the last entry is ${shape.lastIndex} of term ${shape.lastTerm}, it says ${head.lastIndex} of term ${head.lastTerm}`);
    this.state = head;
  }
}

interface FoundEntry {
  readonly header: Uint8Array;
  readonly bytes: number;
  readonly offset: number;
}

/** Where the log begins that the first frame of the first segment goes on with. The term is 0 where it is not known. */
function startOf(head: FrameHead): LogBase {
  const index = head.entryCount > 0 ? head.firstIndex - 1 : head.lastIndex;
  if (index === head.base.index) return head.base;
  return { index, term: head.entryCount > 0 ? 0 : head.lastTerm, timeMs: 0 };
}

function recover(dir: string, segments: readonly Segment[], reader: SegmentReader): Omit<RecoveredLog, 'tornTail'> & { readonly recovery: Recovery } {
  const recovery = new Recovery();
  for (const [i, segment] of segments.entries()) {
    if (recovery.read(segment, reader)) continue;
    const behind = segments.slice(i + 1);
    const used = behind.find((one) => nextNonZero(reader, one, SEGMENT_HEADER_BYTES) !== undefined);
    if (used !== undefined || behind.length > 1) {
      throw damaged(segment.path, `the frame at byte ${segment.end} does not verify, and the log goes on in ${(used ?? behind.at(-1))?.path}`);
    }
    const { shape, state, frameNumber, places, values } = recovery;
    if (shape === undefined || state === undefined) throw damaged(segment.path, `there is no whole frame at byte ${segment.end}`);
    if (state.base.index < shape.base.index) {
      throw damaged(dir, `it begins behind entry ${state.base.index}, but the entries up to ${shape.base.index} are missing`);
    }
    shape.cut(state.base);
    return { segments: segments.slice(0, i + 1), prepared: behind[0], state, frameNumber, shape, places, values, recovery };
  }
  throw damaged(dir, `${segments.at(-1)?.path ?? 'its first segment'} is sealed, and the segment behind it is missing`);
}

/** What stands behind the last frame: undefined where that is zeros, a text where it is a tear. */
function tornTail(segment: Segment, reader: SegmentReader): string | undefined {
  const at = nextNonZero(reader, segment, segment.end);
  if (at === undefined) return undefined;
  const whole = frameBehind(reader, segment, segment.end);
  if (whole !== undefined) {
    throw damaged(segment.path, `the frame at byte ${segment.end} does not verify, and a whole one stands behind it at byte ${whole}`);
  }
  return `${segment.path}: the frame at byte ${segment.end} does not verify, and none stands behind it`;
}

/**
 * Makes durable what was read: a sync that failed before may have left it in the page cache alone. That is the last
 * frame at most, for nothing is written after a failed sync.
 */
function settle(recovery: Recovery, active: Segment, torn: boolean): void {
  const { lastFrame } = recovery;
  assert(lastFrame !== undefined, 'a log has a frame');
  const bytes = Buffer.alloc(lastFrame.bytes);
  const read = fs.readSync(lastFrame.segment.fd, bytes, 0, bytes.length, lastFrame.at);
  writeAll(lastFrame.segment.fd, bytes.subarray(0, read), lastFrame.at);
  fs.fdatasyncSync(lastFrame.segment.fd);
  if (!torn) return;
  const zeros = Buffer.alloc(Math.min(WINDOW_BYTES, active.bytes - active.end));
  for (let at = active.end; at < active.bytes; at += zeros.length) writeAll(active.fd, zeros.subarray(0, active.bytes - at), at);
  fs.fdatasyncSync(active.fd);
}

/**
 * Opens the log in `dir` after checking all of it. Throws OperationalError: LOG_DAMAGED names what does not verify, DATA_DIR
 * means another node's log or another release's, LOG_WRITE a disk that does not take the first write.
 */
export function recoverLog(dir: string, identity: LogIdentity): RecoveredLog {
  if (!fs.existsSync(dir)) throw damaged(dir, 'the directory is missing');
  const segments: Segment[] = [];
  try {
    const found = segmentPlaces(dir);
    if (found.length === 0) throw damaged(dir, 'there is no segment in it');
    for (const [i, place] of found.entries()) {
      if (place !== found[0]! + i) throw damaged(dir, `${segmentPath(dir, found[0]! + i)} is missing`);
      segments.push(openSegment(dir, place, identity));
    }
    const reader = new SegmentReader(WINDOW_BYTES);
    const { recovery, ...log } = recover(dir, segments, reader);
    const active = log.segments.at(-1)!;
    const torn = tornTail(active, reader);
    settle(recovery, active, torn !== undefined);
    removeUnfinished(dir);
    return { ...log, tornTail: torn };
  } catch (thrown) {
    for (const segment of segments) fs.closeSync(segment.fd);
    throw openError(dir, thrown);
  }
}
