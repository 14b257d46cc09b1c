// What a snapshot waits for in the log: a checkpoint record, to be cut behind it, and the next one, which has the digest that the
// leader had there. The leader makes one when it is asked (SnapshotterProgress).
import { ENTRY_HEADER_BYTES, entryIndex, EntryKind, entryKind, entryRecordCount } from '../base/entry.ts';
import { RecordKind, RecordView } from '../machine/record-codec.ts';

/** One that has not come for so long is told of. */
const LATE_MS = 30_000;

const view = new RecordView();

function hasCheckpoint(entry: Uint8Array): boolean {
  if (entryKind(entry) !== EntryKind.commands) return false;
  let at = ENTRY_HEADER_BYTES;
  for (let left = entryRecordCount(entry); left > 0; left--) {
    view.read(entry, at, entry.length);
    if (view.kind === RecordKind.checkpoint) return true;
    at = view.end;
  }
  return false;
}

export class AwaitedCheckpoint {
  #behind = 0;
  /** Since when the log is known up to `#behind` and goes on without one; monotonic, undefined: not yet. */
  #lateSinceMs: number | undefined;

  /** It is to come behind this entry; 0: none is awaited. */
  get behind(): number {
    return this.#behind;
  }

  ask(behind: number): void {
    this.#behind = behind;
    this.#lateSinceMs = undefined;
  }

  end(): void {
    this.ask(0);
  }

  /** The last of these entries, which have just come, that has such a record; 0: none has, or none is awaited. */
  seen(entries: readonly Uint8Array[]): number {
    if (this.#behind === 0) return 0;
    const entry = entries.findLast((each) => entryIndex(each) > this.#behind && hasCheckpoint(each));
    return entry === undefined ? 0 : entryIndex(entry);
  }

  /** What to say where none has come for long, everything up to where it was asked for being applied; else empty. */
  fault(appliedIndex: number, nowMs: number): string {
    if (this.#behind === 0 || appliedIndex < this.#behind) return '';
    this.#lateSinceMs ??= nowMs;
    if (nowMs - this.#lateSinceMs < LATE_MS) return '';
    return `a snapshot waits for a checkpoint of the log behind entry ${this.#behind}, and none comes: see whether the cluster has a leader with a majority, and that it runs this release`;
  }
}
