// The snapshotter: follows the committed log of a cluster from outside, archives it, and makes snapshots of it with a machine of its
// own. The nodes do nothing for it but hand out their log.
//
//   feed ──► archiver ──► object store: segments
//                │ the newest segment from memory, older ones from the store
//                ▼
//             machine ──► object store: snapshot ──► loaded again: the machine that goes on
//             at a checkpoint of the log                └──► next checkpoint has its digest ──► manifest ──► published
//
// What must hold:
// - The machine applies only what is archived, so nothing is published, and no log is cut, beyond the archive.
// - A manifest is stored, and a snapshot published, only once its objects were loaded again and gave the digest that was written,
//   and a later checkpoint record of the log has said that this was the leader's digest there: a snapshot is of the state at a
//   checkpoint. The machine that was loaded goes on in the place of the one that wrote it: two are never in memory.
// - After a checkpoint that does not match, nothing is published and the run ends; the snapshot that waited for it is removed.
// - Killed anywhere, the next run goes on from what is in the store: a confirmed snapshot that was not published yet is
//   published, a segment that is not there yet is archived, half a snapshot is left to retention.
// - The archive is of this log (same-log.ts): else nothing is archived, published or deleted.
// - A store in trouble is asked again for ever, with memory bounded; so is a cluster that cannot be reached.
import { OperationalError, errorText } from '../base/errors.ts';
import type { SnapshotterProgress } from '../ports/publisher.ts';
import { DamagedSegment } from './archiver.ts';
import { backoffMs } from './pulse.ts';
import type { SnapshotterOptions } from './snapshotter-options.ts';
import { type RunMemory, SnapshotterRun, VerificationFailed } from './snapshotter-run.ts';

export class Snapshotter {
  readonly #options: SnapshotterOptions;
  readonly #memory: RunMemory = { damaged: new Set(), failures: 0, notBeforeMs: 0, cutAt: -1 };
  #stopped = false;
  #run: SnapshotterRun | undefined;

  constructor(options: SnapshotterOptions) {
    this.#options = options;
  }

  /** Resolves after `stop`; rejects where it cannot go on, with what an operator is to do. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const run = new SnapshotterRun(this.#options, this.#memory);
      this.#run = run;
      try {
        await run.run();
      } catch (thrown) {
        if (this.#stopped) return;
        if (this.#mayGoOn(thrown, run)) continue;
        await this.#tellEnd(thrown, run);
        throw thrown;
      }
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#run?.stop();
  }

  progress(): SnapshotterProgress | undefined {
    return this.#run?.progress();
  }

  /** Who waits for a snapshot hears why none comes; the log has it anyway. */
  async #tellEnd(thrown: unknown, run: SnapshotterRun): Promise<void> {
    await this.#options.publisher.report({ ...run.progress(), checkpointBehind: 0, fault: errorText(thrown) }).catch((unheard: unknown) => {
      if (!(unheard instanceof OperationalError)) throw unheard;
    });
  }

  /** Whether to begin again from what is in the store. */
  #mayGoOn(thrown: unknown, run: SnapshotterRun): boolean {
    const { logger, clock } = this.#options;
    const memory = this.#memory;
    if (thrown instanceof DamagedSegment && !memory.damaged.has(thrown.key)) {
      logger.error({ segment: thrown.key, reason: thrown.message }, 'an archived segment is damaged: its entries are fetched again from the log');
      memory.damaged.add(thrown.key);
      return true;
    }
    if (thrown instanceof VerificationFailed) {
      memory.failures++;
      memory.notBeforeMs = clock.wallMs() + backoffMs(memory.failures + 3);
      logger.error({ folder: thrown.folder, reason: thrown.message }, 'a snapshot that was just written does not hold: it is not published, and made again');
      return true;
    }
    // Another snapshotter may have archived, published and cut meanwhile; the store tells.
    if (thrown instanceof OperationalError && thrown.code === 'LOG_CUT' && run.archivedIndex > memory.cutAt) {
      memory.cutAt = run.archivedIndex;
      return true;
    }
    return false;
  }
}
