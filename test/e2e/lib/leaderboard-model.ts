// The plain model that leaderboards are compared with: no I/O, no clock.
//
// - ScoreHistory is one member of one board, written by one client at a time. An operation whose outcome is unknown may be
//   applied at any later moment or never, so the history holds every score that is possible; replies and reads narrow it, and
//   a reply or a read that fits none of them is a fault.
// - Ranking is a board at one moment: sorted by score, then by the bytes of the member, counted and sliced by hand.
// - `scoreOp` and `nameOp` say what the writers do, the same for every client library.
import type { Prng } from '../../../src/base/prng.ts';
import type { Outcome } from './load.ts';

/** null: not on the board. */
export type Score = number | null;
export type Pair = readonly [member: string, score: number];

export type ScoreOp =
  | { readonly kind: 'set' | 'raise'; readonly score: number }
  | { readonly kind: 'add'; readonly by: number }
  | { readonly kind: 'remove' };

export function applied(op: ScoreOp, before: Score): Score {
  switch (op.kind) {
    case 'set':
      return op.score;
    case 'raise':
      return before === null ? op.score : Math.max(before, op.score);
    case 'add':
      return (before ?? 0) + op.by;
    case 'remove':
      return null;
  }
}

/** ZINCRBY answers the score; ZADD with CH how many changed; ZREM how many went. */
export function replyOf(op: ScoreOp, before: Score): number {
  const after = applied(op, before);
  return op.kind === 'add' ? (after ?? NaN) : Number(before !== after);
}

interface State {
  readonly score: Score;
  /** Operations of unknown outcome that are not in `score` and may still land. */
  readonly open: readonly ScoreOp[];
}

/** What was possible when a read was sent. */
export interface ReadMark {
  readonly states: readonly State[];
  readonly startedCount: number;
}

/** More open operations than this on one member would make too many states; writers leave such a member alone. */
export const OPEN_MAX = 4;
/** A read during which more operations were begun than this says nothing. */
const READ_OPEN_MAX = 7;

/** The states, and what becomes of them as any of their open operations land in any order. */
function closure(states: readonly State[]): State[] {
  const numbers = new Map<ScoreOp, number>();
  for (const op of states.flatMap((state) => state.open)) if (!numbers.has(op)) numbers.set(op, numbers.size);
  const found = new Map<string, State>();
  const visit = (state: State): void => {
    const name = `${state.score} ${state.open.map((op) => numbers.get(op)).join(',')}`;
    if (found.has(name)) return;
    found.set(name, state);
    for (const op of state.open) visit({ score: applied(op, state.score), open: state.open.filter((other) => other !== op) });
  };
  for (const state of states) visit(state);
  return [...found.values()];
}

export class ScoreHistory {
  #states: readonly State[];
  #running: ScoreOp | undefined;
  readonly #started: ScoreOp[] = [];

  constructor(initial: Score) {
    this.#states = [{ score: initial, open: [] }];
  }

  get possible(): Score[] {
    return [...new Set(closure(this.#states).map(({ score }) => score))];
  }

  get openCount(): number {
    return Math.max(...this.#states.map(({ open }) => open.length));
  }

  begin(op: ScoreOp): void {
    if (this.#running !== undefined) throw new Error('one operation at a time on one member');
    this.#running = op;
    this.#started.push(op);
  }

  /** What the operation under way came to; the fault, if its reply is impossible. */
  end(outcome: Outcome, reply?: number): string | undefined {
    const op = this.#running;
    if (op === undefined) throw new Error('no operation is under way');
    this.#running = undefined;
    if (outcome === 'refused') return undefined;
    if (outcome === 'unknown') {
      this.#states = this.#states.map(({ score, open }) => ({ score, open: [...open, op] }));
      return undefined;
    }
    const before = closure(this.#states);
    const fitting = before.filter(({ score }) => replyOf(op, score) === reply);
    this.#states = (fitting.length > 0 ? fitting : before).map(({ score, open }) => ({ score: applied(op, score), open }));
    if (fitting.length > 0) return undefined;
    return `${JSON.stringify(op)} was answered ${reply}, with ${listText(before)} possible before it`;
  }

  readMark(): ReadMark {
    const running = this.#running;
    const states = running === undefined ? this.#states : this.#states.map(({ score, open }) => ({ score, open: [...open, running] }));
    return { states, startedCount: this.#started.length };
  }

  /** The fault, if a linearizable read that was sent at the mark and is answered now cannot have seen this score. */
  readFault(mark: ReadMark, score: Score): string | undefined {
    const since = this.#started.slice(mark.startedCount);
    const states = mark.states.map((state) => ({ score: state.score, open: [...state.open, ...since] }));
    if (states.some(({ open }) => open.length > READ_OPEN_MAX)) return undefined;
    const could = closure(states);
    if (could.some((state) => state.score === score)) return undefined;
    return `read ${score}, with ${listText(could)} possible`;
  }

  /** A read while nothing is under way. */
  observe(score: Score): string | undefined {
    if (this.#running !== undefined) throw new Error('an operation is under way');
    const could = closure(this.#states);
    const fitting = could.filter((state) => state.score === score);
    this.#states = fitting.length > 0 ? fitting : [{ score, open: [] }];
    return fitting.length > 0 ? undefined : `is ${score}, with ${listText(could)} possible`;
  }

  /** Nothing that is open lands from now on; whether it did before is as unknown as ever. */
  settle(): void {
    this.#states = this.possible.map((score) => ({ score, open: [] }));
  }
}

const listText = (states: readonly State[]): string => [...new Set(states.map(({ score }) => score))].join(' or ');

const bytesOf = (text: string): Buffer => Buffer.from(text, 'utf8');

/** `5`, `(5`, `-inf`, `+inf`. */
function scoreBound(text: string): { readonly at: number; readonly open: boolean } {
  const open = text.startsWith('(');
  const number = open ? text.slice(1) : text;
  return { at: number === '-inf' ? -Infinity : number === '+inf' ? Infinity : Number(number), open };
}

const isAbove = (score: number, min: string): boolean => {
  const { at, open } = scoreBound(min);
  return open ? score > at : score >= at;
};
const isBelow = (score: number, max: string): boolean => {
  const { at, open } = scoreBound(max);
  return open ? score < at : score <= at;
};

/** `[a`, `(a`, `-`, `+`. */
function lexSide(member: Buffer, bound: string, side: 'min' | 'max'): boolean {
  if (bound === '-') return side === 'min';
  if (bound === '+') return side === 'max';
  const order = Buffer.compare(member, bytesOf(bound.slice(1)));
  const sign = side === 'min' ? order : -order;
  return bound.startsWith('(') ? sign > 0 : sign >= 0;
}

interface Ranked {
  readonly member: string;
  readonly score: number;
  readonly bytes: Buffer;
}

const pairOf = ({ member, score }: Ranked): Pair => [member, score];

export class Ranking {
  readonly #ranked: readonly Ranked[];
  readonly #places = new Map<string, number>();

  constructor(pairs: Iterable<Pair>) {
    const ranked = Array.from(pairs, ([member, score]) => ({ member, score, bytes: bytesOf(member) }));
    this.#ranked = ranked.sort((a, b) => a.score - b.score || Buffer.compare(a.bytes, b.bytes));
    this.#ranked.forEach(({ member }, place) => this.#places.set(member, place));
  }

  get size(): number {
    return this.#ranked.length;
  }

  get pairs(): Pair[] {
    return this.#ranked.map(pairOf);
  }

  /** The member at this place from below. */
  at(place: number): string {
    return this.#ranked[place]?.member ?? '';
  }

  score(member: string): Score {
    return this.#ranked[this.#places.get(member) ?? -1]?.score ?? null;
  }

  rank(member: string): number | null {
    return this.#places.get(member) ?? null;
  }

  revRank(member: string): number | null {
    const rank = this.rank(member);
    return rank === null ? null : this.size - 1 - rank;
  }

  /** Both ends included; negative ones count from the end. */
  range(start: number, stop: number, order: 'up' | 'down' = 'up'): Pair[] {
    const at = (index: number): number => (index < 0 ? index + this.size : index);
    const [from, to] = [Math.max(0, at(start)), Math.min(at(stop), this.size - 1)];
    if (order === 'up') return this.#ranked.slice(from, to + 1).map(pairOf);
    return this.#ranked.slice(this.size - 1 - to, this.size - from).map(pairOf).reverse();
  }

  byScore(min: string, max: string): string[] {
    return this.#ranked.filter(({ score }) => isAbove(score, min) && isBelow(score, max)).map(({ member }) => member);
  }

  count(min: string, max: string): number {
    return this.byScore(min, max).length;
  }

  lexCount(min: string, max: string): number {
    return this.#ranked.filter(({ bytes }) => lexSide(bytes, min, 'min') && lexSide(bytes, max, 'max')).length;
  }
}

/** One board: the history of each of its members. */
export class BoardModel {
  readonly key: string;
  readonly members: ReadonlyMap<string, ScoreHistory>;

  constructor(key: string, initial: Iterable<readonly [string, Score]>) {
    this.key = key;
    this.members = new Map(Array.from(initial, ([member, score]) => [member, new ScoreHistory(score)]));
  }

  history(member: string): ScoreHistory {
    const history = this.members.get(member);
    if (history === undefined) throw new Error(`${this.key} has no ${member}`);
    return history;
  }

  settle(): void {
    for (const history of this.members.values()) history.settle();
  }

  /** The whole board as one node gave it, low to high, while nobody wrote: what is wrong with it. */
  boardFaults(pairs: readonly Pair[], ranking = new Ranking(pairs)): string[] {
    const faults: string[] = [];
    const seen = new Map<string, number>();
    for (const [member, score] of pairs) {
      if (seen.has(member)) faults.push(`${this.key}: ${member} twice`);
      if (!this.members.has(member)) faults.push(`${this.key}: ${member} was never written`);
      seen.set(member, score);
    }
    for (const [member, history] of this.members) {
      const fault = history.observe(seen.get(member) ?? null);
      if (fault !== undefined) faults.push(`${this.key}: ${member} ${fault}`);
    }
    const wrong = pairs.findIndex(([member], place) => ranking.at(place) !== member);
    if (wrong >= 0) faults.push(`${this.key}: place ${wrong} has ${pairs[wrong]?.[0]} and should have ${ranking.at(wrong)}`);
    return faults;
  }
}

/** The name of a member: of several lengths, and such that bytes and UTF-16 units sort differently. */
export function memberName(i: number, { long = true } = {}): string {
  if (i % 11 === 1) return `é:${i}`;
  if (i % 13 === 2) return `\u{1f3c6}${i}`;
  if (i % 17 === 3) return `\uff5e${i}`;
  if (long && i % 19 === 4) return `player:${'x'.repeat(80)}:${i}`;
  return `player:${i}`;
}

/** Few enough scores that many members share one. */
export const INITIAL_SCORES = 2000;

/** The n-th thing to do with the member at place i of a board. A third is raised, a third set up and down, a third added to. */
export function scoreOp(i: number, n: number, prng: Prng): ScoreOp {
  switch (i % 3) {
    case 0:
      return { kind: 'raise', score: n * 15 + prng.below(INITIAL_SCORES) };
    case 1:
      return { kind: 'set', score: 20 * ((n * 37) % 101) + 0.5 };
    default:
      return { kind: 'add', by: prng.between(-40, 100) / 4 };
  }
}

/** A board of names, all with score 0: there or not. */
export const nameOp = (n: number): ScoreOp => (n % 2 === 0 ? { kind: 'remove' } : { kind: 'set', score: 0 });
