// A process that writes a log and is killed, over and over.
import { expect } from 'vitest';
import { openWalLog } from '../../src/adapters/wal-log.ts';
import type { WalLog } from '../../src/adapters/wal-log.ts';
import type { LogIdentity } from '../../src/adapters/wal-segment.ts';
import type { Prng } from '../../src/base/prng.ts';
import { startScript } from './child-script.ts';
import { copyLog, tempDir } from './temp-dir.ts';

export interface Kills {
  readonly rounds: number;
  /** It is killed after at most so many reports. */
  readonly linesMax: number;
  readonly prng: Prng;
  /** Begins every message of a failure. */
  readonly note: string;
}

/**
 * `script` gets the path of the log, and prints each index that it was reported. After each kill the log holds all of those, and
 * `check` looks at the rest. Returns the highest.
 */
export async function killOverAndOver(script: string, path: string, identity: LogIdentity, kills: Kills, check: (log: WalLog, note: string) => void): Promise<number> {
  let reported = 0;
  for (let round = 0; round < kills.rounds; round++) {
    const child = startScript(script, [path]);
    await child.lines(1 + kills.prng.below(kills.linesMax));
    await child.kill('SIGKILL');
    reported = Math.max(reported, Number(child.wholeLines().at(-1)));
    const log = openWalLog({ path: copyLog(path, tempDir()), identity });
    const note = `${kills.note}, round ${round}`;
    expect(log.lastIndex, note).toBeGreaterThanOrEqual(reported);
    check(log, note);
    log.close();
  }
  return reported;
}
