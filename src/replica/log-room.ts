// Whether the leader's log may take more writes, as this node's engine knows: of its own log by its consensus, of another leader's
// by what that one refuses. Once it is full only what helps it out is taken (isEssential); the server asks before a write begins.
//
// What must hold: what the leader refused is taken up again by itself; a follower has no other way to hear that there is room.
import type { CommandTable } from '../commands/table.ts';
import { RecordKind, RecordView } from '../machine/record-codec.ts';
import type { Clock } from '../ports/clock.ts';
import { Args } from '../resp/args.ts';
import { parseRequestInto } from '../resp/decoder.ts';

/** Why a forwarded batch comes back: the text that goes over the wire. */
export const LOG_FULL = 'the log is full';
/** After the leader has refused for that, one batch is sent on trial so often. */
export const TRIAL_MS = 250;

export class LogRoom {
  readonly #clock: Clock;
  readonly #leads: () => boolean;
  #isOwnFull = false;
  #leaderFullUntilMs = 0;

  constructor(clock: Clock, leads: () => boolean) {
    this.#clock = clock;
    this.#leads = leads;
  }

  get isFull(): boolean {
    return this.#leads() ? this.#isOwnFull : this.#leaderFullUntilMs > 0 && this.#clock.monotonicMs() < this.#leaderFullUntilMs;
  }

  /** Consensus, of this node's own log. */
  told(isFull: boolean): void {
    this.#isOwnFull = isFull;
  }

  refusedByLeader(): void {
    this.#leaderFullUntilMs = this.#clock.monotonicMs() + TRIAL_MS;
  }

  leaderChanged(): void {
    this.#leaderFullUntilMs = 0;
  }
}

const view = new RecordView();
const args = new Args();

/** All of these records go into a full log: what the cluster logs by itself (so that reads go on), settings, and commands declared so. */
export function isEssential(records: Uint8Array, count: number, table: CommandTable): boolean {
  for (let at = 0, i = 0; i < count; i++) {
    view.read(records, at, records.length);
    if (view.kind === RecordKind.exec) return false;
    if (view.kind === RecordKind.command) {
      if (!parseRequestInto(args, records, view.payload, view.end)) return false;
      if (table.lookup(args)?.essential !== true) return false;
    }
    at = view.end;
  }
  return true;
}
