// The configured limit of the log on this node's disk: looks often at how large it is, warns before and at the limit, and has the
// engine refuse writes from there on while this node leads. Owns the limit and what was said about it.
//
// What must hold:
// - The engine is told each change once. A log that was cut below the limit has room again, without anybody's doing.
// - A follower takes whatever its leader sends, limit or not: what it would refuse could be what the leader has acknowledged.
import { MiB } from '../base/limits.ts';
import type { ConsensusLink, LogState } from '../ports/link.ts';
import type { Logger } from '../ports/logger.ts';

/** Of the limit, from where on it is warned of. */
const NEAR = 0.8;

export interface LogLimitOptions {
  readonly link: ConsensusLink;
  readonly logger: Logger;
  /** 0: none. */
  readonly bytesMax: number;
  readonly sizeBytes: () => number;
  readonly leads: () => boolean;
  readonly memberName: (id: number) => string;
  /** What the log waits for. */
  readonly held: () => Pick<LogState, 'heldBy' | 'heldAt' | 'heldEntries' | 'heldBytes'>;
}

export class LogLimit {
  readonly #options: LogLimitOptions;
  #bytesMax: number;
  #isFull = false;
  /** The last that was told: 0: nothing; 1: it is near; 2: it is reached, as a follower; 3: as leader. */
  #told = 0;

  constructor(options: LogLimitOptions) {
    this.#options = options;
    this.#bytesMax = options.bytesMax;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  set bytesMax(bytes: number) {
    this.#bytesMax = bytes;
    this.look();
  }

  state(): LogState {
    return { bytes: this.#options.sizeBytes(), bytesMax: this.#bytesMax, isFull: this.#isFull, ...this.#options.held() };
  }

  look(): void {
    const { link, sizeBytes, leads } = this.#options;
    if (this.#bytesMax === 0 && this.#told === 0) return;
    const bytes = sizeBytes();
    const share = this.#bytesMax === 0 ? 0 : bytes / this.#bytesMax;
    if (this.#isFull !== share >= 1) {
      this.#isFull = share >= 1;
      link.send({ type: 'log-room', isFull: this.#isFull });
    }
    const level = share < NEAR ? 0 : share < 1 ? 1 : leads() ? 3 : 2;
    if (level === this.#told) return;
    const before = this.#told;
    this.#told = level;
    this.#tell(before, level, bytes);
  }

  #tell(before: number, level: number, bytes: number): void {
    const { logger, held, memberName } = this.#options;
    const { heldBy, heldAt, heldEntries, heldBytes } = held();
    const waitsFor = heldBy === 0 ? 'a snapshot behind entry' : `${memberName(heldBy)}, which is at entry`;
    const megabytes = (count: number): number => Math.round(count / MiB);
    const fields = {
      megabytes: megabytes(bytes), megabytesMax: megabytes(this.#bytesMax),
      waitsFor: `${waitsFor} ${heldAt}`, entries: heldEntries, megabytesBehind: megabytes(heldBytes),
    };
    if (level === 3) logger.error(fields, 'the log has reached log-disk-bytes-max: writes are refused until it can be cut');
    else if (level === 2 && before < 2) logger.warn(fields, 'the log of this follower has reached log-disk-bytes-max: it goes on taking what the leader sends, and would take no writes as leader');
    else if (level === 1 && before < 1) logger.warn(fields, 'the log nears log-disk-bytes-max, at which writes are refused');
    else if (before >= 2 && level < 2) logger.warn(fields, 'the log is below log-disk-bytes-max again: writes are taken');
  }
}
