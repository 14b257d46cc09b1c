// What the engine does with batches of records as bytes: who waits for them, how they are cut, which are whose. Pure.
import { ENTRY_HEADER_BYTES, EntryKind, entryKind, entryRecordCount } from '../base/entry.ts';
import { BATCH_RECORDS_MAX, BATCH_TARGET_BYTES } from '../base/limits.ts';
import { RecordView, type Origin, type RecordBuilder } from '../machine/record-codec.ts';

/** Records in one piece that an entry may hold. */
export interface Piece {
  readonly records: Uint8Array;
  readonly count: number;
}

const view = new RecordView();

/** All of the batch's records, cut where an entry would become too large or have too many. */
export function piecesOf(batch: RecordBuilder): Piece[] {
  const all = batch.bytes.slice(ENTRY_HEADER_BYTES, batch.length);
  const pieces: Piece[] = [];
  let start = 0;
  let from = 0;
  let at = 0;
  for (let number = 0; number < batch.count; number++) {
    view.read(all, at, all.length);
    if (number - from === BATCH_RECORDS_MAX || (number > from && view.end - start > BATCH_TARGET_BYTES)) {
      pieces.push({ records: all.slice(start, at), count: number - from });
      start = at;
      from = number;
    }
    at = view.end;
  }
  if (batch.count > from) pieces.push({ records: start === 0 ? all : all.slice(start), count: batch.count - from });
  return pieces;
}

/** (session, sequence) of the records of this process's own clients. A peer's are answered by that peer, whatever becomes of them here. */
export function waitersOf(records: Uint8Array, count: number, { node, boot }: Origin): Uint32Array {
  const waiters = new Uint32Array(count * 2);
  let own = 0;
  for (let at = 0, i = 0; i < count; i++) {
    view.read(records, at, records.length);
    if (view.node === node && view.boot === boot) {
      waiters[own++] = view.session;
      waiters[own++] = view.sequence;
    }
    at = view.end;
  }
  return waiters.subarray(0, own);
}

/** The same of an entry; none where it has no records (a bootstrap entry's payload is none). */
export function waitersOfEntry(entry: Uint8Array, origin: Origin): Uint32Array {
  const count = entryKind(entry) === EntryKind.commands ? entryRecordCount(entry) : 0;
  return waitersOf(entry.subarray(ENTRY_HEADER_BYTES), count, origin);
}

/** Takes the records of other processes out of the batch. */
export function keepOwn(batch: RecordBuilder, { node, boot }: Origin, capacityMax: number): void {
  const records = batch.bytes.slice(ENTRY_HEADER_BYTES, batch.length);
  const { count } = batch;
  batch.clear(capacityMax);
  for (let at = 0, i = 0; i < count; i++) {
    view.read(records, at, records.length);
    if (view.node === node && view.boot === boot) batch.append(records.subarray(at, view.end), 1);
    at = view.end;
  }
}

/** The boot of the process that a peer's records come from, if they are `count` whole records of node `from`; else undefined. */
export function soundBoot(records: Uint8Array, count: number, from: number): number | undefined {
  if (count < 1 || count > BATCH_RECORDS_MAX) return undefined;
  try {
    let at = 0;
    for (let i = 0; i < count; i++) {
      view.read(records, at, records.length);
      if (view.node !== from) return undefined;
      at = view.end;
    }
    return at === records.length ? view.boot : undefined;
  } catch {
    // RecordView asserts on lengths that do not add up: here, from a peer, that is only a refusal.
    return undefined;
  }
}
