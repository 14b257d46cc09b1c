// What a command handler writes its reply into. Two implementations: reply-writer.ts writes RESP2 or RESP3 bytes into
// a connection's output buffer; null-reply.ts takes everything and keeps nothing (records of other nodes' clients).
// A handler cannot tell them apart, and the reply never feeds back into the state.

import type { Slices } from '../base/slices.ts';

export interface Reply {
  /** The connection's protocol. Only writers look at it; handlers that must differ (HGETALL's map…) use the typed calls below. */
  readonly protocol: 2 | 3;
  /** +OK */
  ok(): void;
  /** +text; no CR or LF in it. */
  simple(text: string): void;
  /** -text, first word the code ("ERR …", "WRONGTYPE …"); CR and LF are replaced by spaces. Counted by `errors`. */
  error(text: string): void;
  /** :value, a safe integer. */
  integer(value: number): void;
  bigInteger(value: bigint): void;
  /** $… of bytes[start, end), copied. */
  bulk(bytes: Uint8Array, start: number, end: number): void;
  /** $… of each of them, copied. */
  bulks(slices: Slices): void;
  /** $… of the text as UTF-8. */
  bulkText(text: string): void;
  /** $… of the decimal digits of a safe integer. */
  bulkInteger(value: number): void;
  /** RESP2 $-1, RESP3 _ */
  null(): void;
  /** RESP2 *-1, RESP3 _ */
  nullArray(): void;
  array(count: number): void;
  /** `pairs` keys and values follow: RESP2 *2n, RESP3 %n. */
  map(pairs: number): void;
  /** RESP2 *n, RESP3 ~n. */
  set(count: number): void;
  /** RESP3 >n; RESP2 *n. */
  push(count: number): void;
  /** `pairs` keys and values follow, and then the reply that they are about: RESP3 |n. RESP2 has none: the caller looks. */
  attribute(pairs: number): void;
  /** RESP2 a bulk of Redis's %.17g form, RESP3 ,value. */
  double(value: number): void;
  /** RESP2 :0/:1, RESP3 #f/#t. */
  boolean(value: boolean): void;
  /** RESP2 a bulk, RESP3 =txt: verbatim. */
  verbatim(text: string, format: 'txt' | 'mkd'): void;
  /** RESP2 a bulk, RESP3 (big number. */
  bigNumber(text: string): void;
  /** An array whose length is known only later: returns a mark for `endArray`. */
  beginArray(): number;
  endArray(mark: number, count: number): void;
  /** Number of error replies written so far; a caller compares before and after to count failed commands. */
  readonly errors: number;
}
