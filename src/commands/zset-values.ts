// Small steps that sorted-set commands share. Owns no state.
import type { Handle } from '../keyspace/database.ts';
import { ValueType } from '../keyspace/types.ts';
import type { ZsetEditor, ZsetLimits } from '../keyspace/zset-edit.ts';
import type { ZsetView } from '../keyspace/zset-view.ts';
import { MiB } from '../base/limits.ts';
import type { CommandContext } from './context.ts';
import { Errors } from './errors.ts';

/** The longest member: it must stand in one block with its score. */
export const MEMBER_BYTES_MAX = 31 * MiB;
export const memberTooLong = 'ERR member of a sorted set exceeds 31 MiB';
export const positiveRange = 'ERR value is out of range, must be positive';

/** False, with the WRONGTYPE reply written, where the key holds something else than a sorted set. */
export function isZset(context: CommandContext, key: Handle): boolean {
  if (context.keyspace.type(key) === ValueType.zset) return true;
  context.reply.error(Errors.wrongType);
  return false;
}

/** The sorted set at argument `i`, empty where there is none; undefined, with the reply written, if it is something else. */
export function readZset(context: CommandContext, i: number): ZsetView | undefined {
  const key = context.lookupRead(i);
  if (key !== 0 && !isZset(context, key)) return undefined;
  const { view } = context.keyspace.zsets;
  view.open(key);
  return view;
}

export function zsetLimits(context: CommandContext): ZsetLimits {
  const { settings } = context;
  return { entriesMax: settings['zset-max-listpack-entries'], valueBytesMax: settings['zset-max-listpack-value'] };
}

/** Opens the editor on the key at argument `i`, whose value is `h`, a sorted set or none. */
export function editZset(context: CommandContext, i: number, h: Handle): ZsetEditor {
  const { args, db, keyspace } = context;
  const { editor } = keyspace.zsets;
  editor.open(db, h, args.bytes, args.start(i), args.end(i), zsetLimits(context));
  return editor;
}

/** Replies the member that the view stands on. */
export function replyMember(context: CommandContext, view: ZsetView): void {
  view.load();
  context.reply.bulk(view.memberBytes, view.memberStart, view.memberEnd);
}

/** The head of an array of members with scores: pairs of their own in RESP3, flat in RESP2. */
export function replyPairsHead(context: CommandContext, count: number): void {
  context.reply.array(context.reply.protocol === 3 ? count : count * 2);
}

/** Replies the member and the score that the view stands on, in such an array. */
export function replyPair(context: CommandContext, view: ZsetView): void {
  if (context.reply.protocol === 3) context.reply.array(2);
  replyMember(context, view);
  context.reply.double(view.score);
}

/** A member and its score, apart from any value; a char a byte, so that < compares as memcmp does. */
export interface ZsetEntry {
  readonly member: string;
  readonly score: number;
}

/**
 * Puts these, in the order in which they are to be added, in the place of whatever the key at argument `i` holds. Replies how
 * many. `asTree`: where Redis builds the large form at once (which keeps the sign of −0, as a listpack does not).
 */
export function storeZset(context: CommandContext, i: number, entries: readonly ZsetEntry[], asTree: boolean): void {
  const { db, reply } = context;
  const old = context.lookupWrite(i);
  if (old !== 0) db.remove(old);
  if (old !== 0 || entries.length > 0) context.dirty++;
  const editor = editZset(context, i, 0);
  if (asTree) editor.beginAsTree();
  for (const { member, score } of entries) {
    const bytes = Buffer.from(member, 'latin1');
    editor.find(bytes, 0, bytes.length);
    editor.set(score, bytes, 0, bytes.length);
  }
  editor.close();
  reply.integer(entries.length);
}

export function viewEntry(view: ZsetView): ZsetEntry {
  const { score } = view;
  view.load();
  const { memberBytes, memberStart, memberEnd } = view;
  const member = Buffer.from(memberBytes.buffer, memberBytes.byteOffset + memberStart, memberEnd - memberStart).toString('latin1');
  return { member, score };
}
