// A machine that follows the log with nobody waiting for replies: entries applied, in slices that let the process breathe, and the
// digests of checkpoint records compared.
//
// What must hold: after a checkpoint that does not match, nothing more is applied and nothing is made of the machine.
import { assert } from '../base/assert.ts';
import { entryIndex, entryMachineVersion, entryTerm, entryTimeMs } from '../base/entry.ts';
import { OperationalError } from '../base/errors.ts';
import { type ApplySink, type Machine, MACHINE_VERSION, type MachineReport } from '../machine/machine.ts';
import type { Logger } from '../ports/logger.ts';

/** Nobody waits for a reply. */
const NO_CLIENTS: ApplySink = { begin: () => undefined, end: () => {}, session: () => undefined, server: () => undefined };

/** Table entries that are looked at after each slice: memory of what was deleted is freed then. */
const UPKEEP_ENTRIES = 5000;

/** What the machines that follow the log report, over all machines that one process makes one after another. */
export class ReplayReport implements MachineReport {
  readonly #logger: Logger;
  #divergence: string | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  handlerThrew(command: string, index: number, error: unknown): void {
    this.#logger.error({ command, index, error }, 'a write command failed inside, the same on every node: please report this');
  }

  diverged(index: number, own: string, leader: string): void {
    this.#divergence ??= `the log's checkpoint at index ${index} has digest ${leader}, and replaying the log to there gives ${own}`;
  }

  /** Throws if a checkpoint did not match. */
  check(): void {
    if (this.#divergence === undefined) return;
    throw new OperationalError(
      'SNAPSHOT',
      `${this.#divergence}: that is not the cluster's data, so nothing is published or restored of it. Begin again: a fault of this machine's memory does not come twice. ` +
        'If this does, keep the object store and a node\'s directory for a bug report',
    );
  }
}

/** The entry is the next one, sound, and of a version that this build runs. `where` begins the text. */
export function applyEntry(machine: Machine, entry: Uint8Array, where: string): void {
  const index = entryIndex(entry);
  assert(index === machine.appliedIndex + 1, () => `entry ${index} is applied after ${machine.appliedIndex}`);
  if (entryTerm(entry) < machine.appliedTerm || entryTimeMs(entry) < machine.timeMs) {
    throw new OperationalError('OBJECT_DAMAGED', `${where}: entry ${index} has term ${entryTerm(entry)} and time ${entryTimeMs(entry)} behind an entry of term ${machine.appliedTerm} and time ${machine.timeMs}; it belongs to another log`);
  }
  if (entryMachineVersion(entry) > MACHINE_VERSION) {
    throw new OperationalError('SNAPSHOT', `${where}: entry ${index} needs machine version ${entryMachineVersion(entry)}, and this release runs ${MACHINE_VERSION}: use the release that the nodes run`);
  }
  machine.apply(entry, index, entryTerm(entry), entryTimeMs(entry), NO_CLIENTS);
}

/** Work that the keyspace left for later; after a slice of entries. */
export function upkeep(machine: Machine): void {
  if (machine.bootstrapped) machine.keyspace.rehashStep(UPKEEP_ENTRIES);
}
