// Members that come and go in a run: an operator who asks the leader to take a new node in or to have one leave, makes the new
// nodes that the log knows of, and starts those that were removed once more, to see them stop.
//
// Limits that the product states: a member that lost its disk comes back with the help of a majority of the others, so that there
// are three voters at least where disks are lost.
import type { Prng } from '../../src/base/prng.ts';
import { decodeConfiguration, type Configuration, type MemberAddress } from '../../src/base/configuration.ts';
import { entryKind } from '../../src/base/entry.ts';
import type { MemberChange } from '../../src/ports/link.ts';
import { initialConfiguration } from '../../src/raft/configuration.ts';
import type { Life, SimNode } from './node.ts';
import type { RunOptions, Simulator } from './simulator.ts';

const VOTERS_MIN = 3;
const VOTERS_MAX = 5;
/** Nodes that there ever are in a run. */
const NODES_MAX = 12;

export function addressOf(id: number): MemberAddress {
  return { id, name: `n${id}`, host: `host${id}`, peerPort: 16379, clientPort: 6379 };
}

export class MemberWork {
  readonly #sim: Simulator;
  readonly #prng: Prng;
  readonly enabled: boolean;
  readonly #gapMs: number;
  readonly #hasty: boolean;
  readonly #votersMin: number;
  readonly #first: Configuration;
  /** The newest that was committed. */
  configuration: Configuration;
  active = true;
  #named = 0;
  /** Lives that have been asked something and have not answered. */
  readonly #asked = new Set<Life>();
  readonly counts = { 'adds asked': 0, 'removals asked': 0, 'changes done': 0, configurations: 0, 'nodes added': 0, 'nodes stopped': 0 };

  constructor(sim: Simulator, prng: Prng, first: readonly number[], enabled: boolean, hasty: RunOptions['hastyMembers']) {
    this.#sim = sim;
    this.#prng = prng;
    this.enabled = enabled;
    this.#gapMs = hasty?.gapMs ?? 300 + prng.unit() * 1500;
    this.#hasty = hasty !== undefined;
    this.#votersMin = hasty?.votersMin ?? VOTERS_MIN;
    this.#first = initialConfiguration(first.map(addressOf));
    this.configuration = this.#first;
  }

  /** Those that the group was made with. */
  get first(): Configuration {
    return this.#first;
  }

  isMember(id: number): boolean {
    return this.configuration.members.some((member) => member.id === id);
  }

  /** No change is under way, and nobody learns any more. */
  get settled(): boolean {
    const waits = !this.#hasty && [...this.#asked].some((life) => life.node.life === life && !life.stopping);
    const { outgoing, learners, members } = this.configuration;
    const pending = this.#sim.nodes.some(({ id, life }) => {
      const status = life?.consensus.raft.status();
      return status !== undefined && members.some((member) => member.id === id) && status.configurationIndex > status.commit;
    });
    return !waits && !pending && outgoing.length === 0 && learners.length === 0;
  }

  /** From when a member is in the log until its node is there. */
  delayMs(): number {
    return this.#prng.unit() * 500;
  }

  committed(entry: Uint8Array): void {
    const configuration = decodeConfiguration(entryKind(entry), entry);
    if (configuration === undefined) return;
    this.counts.configurations++;
    this.configuration = configuration;
    for (const { id } of configuration.members) {
      if (this.#sim.nodes.some((node) => node.id === id)) continue;
      this.counts['nodes added']++;
      this.#sim.addNode(id, configuration.members);
    }
  }

  start(): void {
    if (!this.enabled) return;
    this.#sim.scheduler.after(this.#gapMs * 2 * this.#prng.unit(), () => {
      if (this.active) this.#ask();
      this.start();
    });
  }

  #ask(): void {
    const prng = this.#prng;
    const lives = this.#sim.nodes.flatMap(({ life }) => (life === undefined || life.stopping ? [] : [life]));
    const leader = lives.find((life) => life.cell.current.selfIsLeader) ?? lives[0];
    if (leader === undefined) return;
    const { voters, members } = this.configuration;
    const mayAdd = voters.length < VOTERS_MAX && this.#sim.nodes.length < NODES_MAX;
    if (mayAdd && (voters.length <= this.#votersMin || prng.chance(0.5))) {
      const name = `m${++this.#named}`;
      this.counts['adds asked']++;
      this.#change(leader, { kind: 'add', name, host: name, peerPort: 16379, clientPort: 6379 });
    } else if (voters.length > this.#votersMin) {
      const member = prng.chance(0.3) ? members.find(({ id }) => id === leader.node.id) : prng.pick([...members]);
      if (member === undefined) return;
      this.counts['removals asked']++;
      this.#change(leader, { kind: 'remove', name: member.name });
    }
  }

  #change(leader: Life, change: MemberChange): void {
    this.#sim.note(`node ${leader.node.id} is asked to ${change.kind} ${change.name}`);
    if (this.#asked.has(leader) && !this.#hasty) return;
    this.#asked.add(leader);
    leader.engineThread.post(0, () => {
      leader.engine.requests.changeMembers(change, (error) => {
        this.#asked.delete(leader);
        this.#sim.note(`${change.kind} ${change.name}: ${error ?? 'done'}`);
        if (error === undefined) this.counts['changes done']++;
      });
    });
  }

  /** A node stops by itself. False where it has no reason to. */
  stopped(node: SimNode): boolean {
    this.counts['nodes stopped']++;
    return this.enabled && !this.isMember(node.id) && node.id <= this.configuration.lastId;
  }
}
