// Whose stall is it? The engine's event loop stands still because of what the engine does, because another thread has the CPU, or
// because the machine gives nobody one. `StallProbe` tells them apart: the rounds of the server's own timers
// (stall-probe.cjs) beside a metronome on each CPU.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { nowMs } from './load.mjs';
import { kill } from './processes.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const EVERY_MS = 5;
const PRIORITY = '10';

const linesOf = (file) => fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);

export class StallProbe {
  #rounds;
  #metronomes;
  #sinceMs = 0;

  /** `folder` gets the files. */
  constructor(folder) {
    this.#rounds = path.join(folder, 'stall-rounds');
    fs.writeFileSync(this.#rounds, '');
    this.#metronomes = os.cpus().map((_, cpu) => {
      const file = path.join(folder, `metronome-${cpu}`);
      fs.writeFileSync(file, '');
      const command = ['-c', String(cpu), 'chrt', '-f', PRIORITY, process.execPath, path.join(here, 'metronome.mjs'), file];
      return { file, child: spawn('taskset', command, { stdio: ['ignore', 'ignore', 'inherit'] }) };
    });
  }

  /** For the server's environment. */
  get environment() {
    return { NODE_OPTIONS: `--require ${path.join(here, 'stall-probe.cjs')}`, HOLDFAST_STALL_PROBE: this.#rounds };
  }

  reset() {
    this.#sinceMs = nowMs();
  }

  /**
   * Since `reset`, ms: the most of any stall of a thread of process `pid`, its engine unless another is named, that was neither queueing for a CPU nor a stop of the machine,
   * and the machine's own longest stop. Where both overlap only the longer is taken off, so `own` is rather too much than too little.
   */
  longest(pid, threadId = 0) {
    const gaps = this.#metronomes.map(({ file, child }) => {
      if (child.exitCode !== null) throw new Error('a metronome has ended: are taskset and chrt there (Debian package util-linux), and may this user ask for a real-time priority?');
      return linesOf(file).map((line) => line.split(' ').map(Number)).filter(([fromMs]) => fromMs >= this.#sinceMs);
    });
    let ownMsMax = 0;
    for (const line of linesOf(this.#rounds)) {
      const round = JSON.parse(line);
      if (round.pid !== pid || round.threadId !== threadId || round.fromMs < this.#sinceMs) continue;
      const stallMs = round.toMs - round.fromMs - EVERY_MS;
      const stoppedMs = gaps[round.processor].reduce((sum, [fromMs, toMs]) => sum + Math.max(0, Math.min(toMs, round.toMs) - Math.max(fromMs, round.fromMs)), 0);
      ownMsMax = Math.max(ownMsMax, stallMs - Math.max(round.queuedMs, stoppedMs));
    }
    return { ownMsMax, machineMsMax: Math.max(0, ...gaps.flat().map(([fromMs, toMs]) => toMs - fromMs - 1)) };
  }

  stop() {
    for (const { child } of this.#metronomes) kill(child.pid, 'SIGKILL');
  }
}
