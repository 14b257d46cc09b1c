// An open-loop load: so many commands a second, whether the server answers or not. A wait counts from when the command was
// to be sent, so that a server that stands still is charged with all that would have come meanwhile.
//
// What must hold: commands are due in groups, one every millisecond, each with its group's time; what this process is late by
// is in the waits, and told by itself besides.
import { Worker } from 'node:worker_threads';
import { Histogram } from './histogram.mjs';
import { nowMs, Random } from './load.mjs';
import { Connection } from './resp.mjs';

const GROUP_MS = 1;
/** More than so many without a reply: the server does not hold the rate, and the waits say nothing but how long it ran. */
const UNANSWERED_MAX = 500_000;
const ANSWERS_MS_MAX = 60_000;

/** The timers of Node fire up to a millisecond late; a thread that sleeps on an address does not. */
const PACER = `
  const { parentPort, workerData: { cell, groupMs } } = require('node:worker_threads');
  const startMs = performance.now();
  for (let group = 1; Atomics.load(cell, 0) === 0; ) {
    const leftMs = startMs + group * groupMs - performance.now();
    if (leftMs > 0) Atomics.wait(cell, 0, 0, leftMs);
    parentPort.postMessage(0);
    group = Math.floor((performance.now() - startMs) / groupMs) + 1;
  }
`;

export class PacedLoad {
  #connections;
  #pacer;
  #cell = new Int32Array(new SharedArrayBuffer(4));
  #perMs;
  #command;
  #random = new Random(4711);
  #startMs = 0;
  #sent = 0;
  #answered = 0;
  #window = newWindow();
  #failed;
  #fail;

  /** `command(random)` as RESP. */
  static async start({ port, clients, perSecond, command }) {
    const connections = await Promise.all(Array.from({ length: clients }, () => Connection.open(port)));
    return new PacedLoad(connections, perSecond, command);
  }

  constructor(connections, perSecond, command) {
    this.#connections = connections;
    this.#perMs = perSecond / 1000;
    this.#command = command;
    this.#failed = new Promise((resolve, reject) => (this.#fail = reject));
    this.#failed.catch(() => {});
    for (const connection of connections) {
      connection.waiting = [];
      connection.onFailure = this.#fail;
      connection.onReply = () => this.#reply(connection.waiting.shift());
    }
    this.#startMs = nowMs();
    this.#pacer = new Worker(PACER, { eval: true, workerData: { cell: this.#cell, groupMs: GROUP_MS } });
    this.#pacer.on('message', () => this.#send());
    this.#pacer.on('error', this.#fail);
  }

  #reply({ dueMs, window }) {
    this.#answered++;
    window.waits.record(nowMs() - dueMs);
  }

  #send() {
    const now = nowMs();
    const window = this.#window;
    const due = Math.floor(Math.floor((now - this.#startMs) / GROUP_MS) * GROUP_MS * this.#perMs);
    while (this.#sent < due) {
      const dueMs = this.#startMs + Math.ceil((this.#sent + 1) / this.#perMs / GROUP_MS) * GROUP_MS;
      window.late.record(now - dueMs);
      const connection = this.#connections[this.#sent++ % this.#connections.length];
      connection.waiting.push({ dueMs, window });
      connection.send(this.#command(this.#random));
    }
    if (this.#sent - this.#answered > UNANSWERED_MAX) this.#fail(new Error(`${UNANSWERED_MAX} commands wait for replies: this rate is not held`));
  }

  /** What is sent from now on is counted in a new window, which `run` lasts; resolves to it, and what `run` resolved to. */
  async during(run) {
    const window = (this.#window = newWindow());
    const startMs = nowMs();
    const running = run();
    // Where the load fails first, what `run` comes to is of no interest.
    running.catch(() => {});
    const result = await Promise.race([running, this.#failed]);
    window.seconds = (nowMs() - startMs) / 1000;
    this.#window = newWindow();
    await this.#allAnswered(window);
    return { window, result };
  }

  /** Each wait belongs to when its command was due: the last of a window come after it. */
  async #allAnswered(window) {
    const deadline = nowMs() + ANSWERS_MS_MAX;
    while (window.waits.count < window.late.count) {
      if (nowMs() > deadline) throw new Error('a command had no reply for a minute');
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 10)), this.#failed]);
    }
  }

  async stop() {
    Atomics.store(this.#cell, 0, 1);
    Atomics.notify(this.#cell, 0);
    await this.#pacer.terminate();
    for (const connection of this.#connections) connection.close();
  }
}

function newWindow() {
  return { waits: new Histogram(), late: new Histogram(), seconds: 0 };
}
