// The judgement of somebody who sees only what clients sent and got: is there an order of the operations on each key
// that agrees with real time and with every answer? It knows nothing of the log, the nodes or the checker beside it
// (history.ts). The algorithm is Wing and Gong's with Lowe's memory of what was tried, as in Porcupine: a depth-first
// search over the calls that may be next, taken back when a return is met whose call was not placed.
//
// Operations on several keys are taken apart, which loses some strictness, as do keys with deadlines, which are left
// out: time is not in this model. An operation without a sure answer may take effect at any time after its call.
import type { Operation } from './history.ts';
import type { Plain } from './model.ts';

interface Call {
  readonly id: number;
  readonly words: readonly string[];
  /** undefined: any. */
  readonly reply: Plain | undefined;
  readonly calledMs: number;
  /** Infinity: never answered. */
  readonly returnedMs: number;
}

type State = string | null;

/** The state after the call, or undefined if it cannot have answered so. */
function step(state: State, { words, reply }: Call): { readonly state: State } | undefined {
  const answer = (expected: Plain, next: State): { readonly state: State } | undefined =>
    reply === undefined || reply === expected ? { state: next } : undefined;
  switch (words[0]) {
    case 'GET':
      return answer(state, state);
    case 'EXISTS':
      return answer(state === null ? 0 : 1, state);
    case 'SET':
      return answer('OK', words[2]!);
    case 'DEL':
      return answer(state === null ? 0 : 1, null);
    case 'APPEND': {
      const next = (state ?? '') + words[2]!;
      return answer(next.length, next);
    }
    case 'INCRBY': {
      const next = Number(state ?? '0') + Number(words[2]);
      return answer(next, String(next));
    }
    default:
      throw new Error(`${words[0]} is not a command on one key`);
  }
}

/** A call or its return, in a doubly linked list in the order of time. */
interface Link {
  readonly call: Call;
  readonly bit: bigint;
  /** Of a call: its return. */
  readonly end: Link | undefined;
  previous: Link | undefined;
  next: Link | undefined;
}

export type Verdict = 'linearizable' | 'not linearizable' | 'undecided';

export function judge(calls: readonly Call[], stepsMax: number): Verdict {
  const head = linked(calls);
  const seen = new Set<string>();
  const placed: { readonly link: Link; readonly state: State }[] = [];
  let state: State = null;
  let done = 0n;
  let at = head.next;
  for (let steps = 0; head.next !== undefined; steps++) {
    if (steps > stepsMax) return 'undecided';
    if (at?.end !== undefined) {
      const after = step(state, at.call);
      const key = after === undefined ? '' : `${(done | at.bit).toString(32)} ${after.state}`;
      if (after !== undefined && !seen.has(key)) {
        seen.add(key);
        placed.push({ link: at, state });
        state = after.state;
        done |= at.bit;
        lift(at);
        at = head.next;
      } else at = at.next;
      continue;
    }
    // A return whose call is not placed yet: the last choice was wrong.
    const last = placed.pop();
    if (last === undefined) return 'not linearizable';
    state = last.state;
    done &= ~last.link.bit;
    unlift(last.link);
    at = last.link.next;
  }
  return 'linearizable';
}

function linked(calls: readonly Call[]): Link {
  const head: Link = { call: calls[0]!, bit: 0n, end: undefined, previous: undefined, next: undefined };
  const events: { readonly atMs: number; readonly isReturn: boolean; readonly link: Link }[] = [];
  calls.forEach((call, i) => {
    const end: Link = { call, bit: 1n << BigInt(i), end: undefined, previous: undefined, next: undefined };
    const start: Link = { call, bit: 1n << BigInt(i), end, previous: undefined, next: undefined };
    events.push({ atMs: call.calledMs, isReturn: false, link: start }, { atMs: call.returnedMs, isReturn: true, link: end });
  });
  // At the same moment calls go first: they may have overlapped.
  events.sort((a, b) => (a.atMs === b.atMs ? Number(a.isReturn) - Number(b.isReturn) : a.atMs - b.atMs));
  let previous = head;
  for (const { link } of events) {
    previous.next = link;
    link.previous = previous;
    previous = link;
  }
  return head;
}

function lift(link: Link): void {
  for (const each of [link, link.end!]) {
    each.previous!.next = each.next;
    if (each.next !== undefined) each.next.previous = each.previous;
  }
}

function unlift(link: Link): void {
  for (const each of [link.end!, link]) {
    each.previous!.next = each;
    if (each.next !== undefined) each.next.previous = each;
  }
}

const isError = (reply: Plain | undefined): boolean => typeof reply === 'string' && reply.startsWith('-');

/** The operations of a run as calls on single keys; keys that were ever given a deadline are absent. */
export function callsByKey(operations: readonly Operation[]): ReadonlyMap<string, Call[]> {
  const byKey = new Map<string, Call[]>();
  const withDeadlines = new Set<string>();
  for (const operation of operations) {
    const { kind, reply } = operation;
    if (kind === 'other' || operation.failed) continue;
    const isRead = kind === 'read' || kind === 'read-exec';
    const isKnown = reply !== undefined && !isError(reply);
    if (isRead && (!isKnown || operation.session.level !== 'linearizable')) continue;
    const isExec = kind === 'exec' || kind === 'read-exec';
    if (isExec && isKnown && reply === null) continue; // stopped by its WATCH
    operation.commands.forEach((words, i) => {
      const own = !isKnown ? undefined : isExec ? (reply as Plain[])[i] : reply;
      if (words.includes('PX') || words[0] === 'PEXPIRE') withDeadlines.add(words[1]!);
      for (const single of singles(words, own)) {
        const key = single.words[1]!;
        const call: Call = {
          id: operation.id, ...single, calledMs: operation.invokedMs, returnedMs: isKnown ? operation.completedMs : Infinity,
        };
        const calls = byKey.get(key);
        if (calls === undefined) byKey.set(key, [call]);
        else calls.push(call);
      }
    });
  }
  for (const key of withDeadlines) byKey.delete(key);
  return byKey;
}

/** A command as commands on one key each. */
function singles(words: readonly string[], reply: Plain | undefined): { words: readonly string[]; reply: Plain | undefined }[] {
  switch (words[0]) {
    case 'MGET':
      return words.slice(1).map((key, i) => ({ words: ['GET', key], reply: (reply as Plain[])[i] }));
    case 'MSET': {
      const pairs = new Map<string, string>();
      for (let i = 1; i + 1 < words.length; i += 2) pairs.set(words[i]!, words[i + 1]!);
      return [...pairs].map(([key, value]) => ({ words: ['SET', key, value], reply }));
    }
    case 'DEL':
      // The keys behind the first are there to tell one DEL from another, and never exist.
      return [{ words: words.slice(0, 2), reply }];
    default:
      return [{ words, reply }];
  }
}

/** The first `callsMax` calls of a history: what was answered later than their last call counts as not answered. */
export function prefixOf(calls: readonly Call[], callsMax: number): readonly Call[] {
  const sorted = [...calls].sort((a, b) => a.calledMs - b.calledMs);
  if (sorted.length <= callsMax) return sorted;
  const cutMs = sorted[callsMax]!.calledMs;
  return sorted
    .slice(0, callsMax)
    .filter((call) => call.returnedMs <= cutMs || isWrite(call))
    .map((call) => (call.returnedMs <= cutMs ? call : { ...call, returnedMs: Infinity, reply: undefined }));
}

const isWrite = ({ words }: Call): boolean => words[0] !== 'GET' && words[0] !== 'EXISTS';
