// The task that keeps the object store to its window: after each published snapshot, and now and then, it deletes what
// planRetention (catalog.ts) gives up, and what puts that never finished left behind.
//
// What must hold: that nothing can be deleted (a store may be set up so that we must not) is told, and is no trouble of the
// archive and the snapshots.
import { errorText } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { deleteAll, planRetention, readCatalog, type RetentionRules } from './catalog.ts';
import { isStoreTrouble, type Pulse } from './pulse.ts';

const EVERY_MS = 3_600_000;
const RETRY_MS = 300_000;
/** Unfinished puts that have not changed for so long are nobody's. */
const LEFTOVER_MS = 24 * 3_600_000;

export interface RetentionOptions {
  readonly store: ObjectStore;
  readonly clusterId: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly pulse: Pulse;
  readonly rules: RetentionRules;
}

export class Retention {
  readonly #options: RetentionOptions;
  #warned = '';
  #fault = '';

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Until the pulse stops. `publishedIndex`: that of the newest snapshot known to be published, 0 for none. */
  async run(publishedIndex: () => number): Promise<never> {
    const { clock, pulse } = this.#options;
    let doneIndex = 0;
    let nextMs = 0;
    for (;;) {
      const index = publishedIndex();
      if (index > 0 && (index > doneIndex || clock.monotonicMs() >= nextMs)) {
        const isDone = await this.#tryOnce(index);
        doneIndex = index;
        nextMs = clock.monotonicMs() + (isDone ? EVERY_MS : RETRY_MS);
      } else await pulse.wait();
    }
  }

  async #tryOnce(publishedIndex: number): Promise<boolean> {
    const { logger } = this.#options;
    try {
      await this.once(publishedIndex);
      this.#fault = '';
      return true;
    } catch (thrown) {
      if (!isStoreTrouble(thrown)) throw thrown;
      const reason = errorText(thrown);
      if (reason !== this.#fault) logger.warn({ reason, minutes: RETRY_MS / 60_000 }, 'what is older than the retention cannot be deleted now; it is tried again');
      this.#fault = reason;
      return false;
    }
  }

  async once(publishedIndex: number): Promise<void> {
    const { store, clusterId, logger, clock, pulse, rules } = this.#options;
    const catalog = await readCatalog(store, clusterId);
    const plan = planRetention(catalog, publishedIndex, rules, clock.wallMs());
    const warnings = plan.warnings.join('; ');
    if (warnings !== '' && warnings !== this.#warned) logger.warn({ warnings }, 'the object store is not as it should be');
    this.#warned = warnings;
    for (const key of plan.deletions) {
      pulse.check();
      await deleteAll(store, [key]);
    }
    const leftovers = await store.removeLeftovers(LEFTOVER_MS);
    if (plan.deletions.length === 0 && leftovers === 0) return;
    const reachesBackTo = plan.reachesBackToMs === undefined ? 'unknown' : plan.reachesBackToMs;
    logger.info({ objects: plan.deletions.length, leftovers, reachesBackToMs: reachesBackTo }, 'deleted what is older than the retention');
  }
}
