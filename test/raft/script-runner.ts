// Runs a script of commands on a simulated group and writes what happens, in the manner of etcd/raft's testdata. A
// script is prose (lines that begin with #) and blocks:
//
//   command arguments…            one or more commands
//   ----
//   what they print               up to the next empty line
//
// After each command every node's Readies are taken; with persist=auto (the default) their writes end at once, else
// `persist` ends them one by one. Messages wait in the network, one queue a link, until delivered. `quiet` before a
// command hides what it prints. Time is one clock, which moves a tick (100 ms) with every tick.
import { assert, must } from '../../src/base/assert.ts';
import type { ConfigurationAt } from '../../src/base/configuration.ts';
import type { ConfigurationChange, Message, Ready, SnapshotOffer } from '../../src/raft/types.ts';
import { MessageType } from '../../src/raft/types.ts';
import { addressOf, configurationText, entryText, SimNode, startOf, textEntry } from './sim-node.ts';

const TICK_MS = 100;

const TYPE_NAMES = new Map<number, string>(Object.entries(MessageType).map(([name, value]) => [value, name]));

export interface Block {
  readonly prose: string[];
  readonly commands: string[];
  readonly expected: string[];
}

export function parseScript(text: string): Block[] {
  const blocks: Block[] = [];
  let prose: string[] = [];
  let commands: string[] = [];
  let expected: string[] | undefined;
  for (const line of [...text.split('\n'), '']) {
    if (expected !== undefined) {
      if (line !== '') {
        expected.push(line);
        continue;
      }
      blocks.push({ prose, commands, expected });
      prose = [];
      commands = [];
      expected = undefined;
    } else if (line === '----') expected = [];
    else if (line.startsWith('#') || (line === '' && commands.length === 0)) prose.push(line);
    else if (line !== '') commands.push(line);
  }
  assert(commands.length === 0, `commands without ----: ${commands.join('; ')}`);
  if (prose.some((line) => line !== '')) blocks.push({ prose, commands: [], expected: [] });
  return blocks;
}

export function formatScript(blocks: readonly Block[]): string {
  const parts: string[] = [];
  for (const block of blocks) {
    const prose = block.prose.join('\n').replace(/^\n+|\n+$/g, '');
    if (prose !== '') parts.push(prose, ...(block.commands.length === 0 ? [''] : []));
    if (block.commands.length > 0) parts.push(...block.commands, '----', ...block.expected, '');
  }
  return parts.join('\n').replace(/\n*$/, '\n');
}

export class ScriptRunner {
  #nodes = new Map<number, SimNode>();
  #queues = new Map<string, Message[]>();
  #aside = new Map<string, Message[]>();
  #cut = new Set<string>();
  #manualPersist = new Set<number>();
  /** What snapshots say of the members. */
  #configurations = new Map<number, ConfigurationAt>();
  /** Commit last printed, by node. */
  #commits = new Map<number, number>();
  #nowMs = 0;
  #out: string[] = [];

  run(commands: readonly string[]): string[] {
    this.#out = [];
    for (const command of commands) {
      const quiet = command.startsWith('quiet ');
      const before = this.#out.length;
      this.#command(quiet ? command.slice(6) : command);
      this.#settleAll();
      if (quiet) this.#out.length = before;
    }
    return this.#out.length === 0 ? ['(nothing)'] : this.#out;
  }

  #command(line: string): void {
    const words = line.split(' ').filter((word) => word !== '');
    const options = new Map(words.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]));
    const [name = '', ...args] = words.filter((word) => !word.includes('='));
    const handler = this.#handlers[name];
    assert(handler !== undefined, `no command ${name}`);
    handler(args, options);
  }

  readonly #handlers: Record<string, (args: string[], options: Map<string, string>) => void> = {
    cluster: (_args, options) => this.#cluster(options),
    campaign: ([id]) => this.#answer(this.#node(id).raft.campaign()),
    tick: ([who, count]) => this.#tick(who, count, false),
    run: ([count]) => this.#tick('all', count, true),
    wait: ([ms]) => {
      this.#nowMs += Number(ms);
    },
    propose: ([id, text = '']) => {
      const result = this.#node(id).raft.propose(textEntry(text), this.#nowMs);
      if (!result.ok) this.#print(`${id} refuses: ${result.reason}`);
    },
    deliver: ([what]) => this.#deliver(what),
    drop: ([what]) => {
      for (const link of this.#links(what)) this.#queues.delete(link);
    },
    copy: ([what]) => {
      for (const link of this.#links(what)) this.#queue(this.#queues, link).push(...this.#queue(this.#queues, link));
    },
    aside: ([what]) => this.#move(this.#links(what), this.#queues, this.#aside),
    back: ([what = '']) => this.#move([what], this.#aside, this.#queues),
    isolate: ([id = '']) => {
      for (const other of this.#nodes.keys()) this.#cut.add(`${id}->${other}`).add(`${other}->${id}`);
      this.#dropCut();
    },
    cut: ([link = '']) => {
      this.#cut.add(link);
      this.#dropCut();
    },
    heal: () => this.#cut.clear(),
    persist: ([id, count]) => this.#persist(this.#node(id), count === undefined ? Infinity : Number(count)),
    'persist-manual': ([id]) => {
      this.#manualPersist.add(Number(id));
    },
    'persist-auto': ([id]) => {
      this.#manualPersist.delete(Number(id));
      this.#persist(this.#node(id), Infinity);
    },
    crash: ([id]) => this.#node(id).crash(),
    /** `restart 2 loading`: until `restored-own` says that its state is there. */
    restart: ([id, how]) => this.#restart(this.#node(id), false, how === 'loading'),
    replace: ([id]) => this.#restart(this.#node(id), true),
    rejoined: ([id]) => this.#node(id).raft.setRejoining(false),
    'read-index': ([id, context]) => this.#node(id).raft.readIndex(Number(context), this.#nowMs),
    'tell-commit': ([id, to = '0']) => this.#node(id).raft.tellCommit(Number(to)),
    transfer: ([id, to]) => this.#answer(this.#node(id).raft.transferLeadership(Number(to))),
    mute: ([id, peer]) => this.#node(id).raft.mute(Number(peer)),
    unmute: ([id, peer]) => this.#node(id).raft.unmute(Number(peer)),
    reset: ([id, peer]) => this.#node(id).raft.resetProgress(Number(peer)),
    unreachable: ([id, peer]) => this.#node(id).raft.unreachable(Number(peer)),
    /** Node 4 is to learn, to vote, or to go: `add 1 4`, `promote 1 4`, `remove 1 4`. */
    add: ([id, member]) =>
      this.#change(id, ({ voters, learners }) => ({ voters, learners: [...learners, Number(member)], added: addressOf(Number(member)) })),
    promote: ([id, member]) =>
      this.#change(id, ({ voters, learners }) => ({ voters: [...voters, Number(member)], learners: learners.filter((other) => other !== Number(member)) })),
    remove: ([id, member]) =>
      this.#change(id, ({ voters, learners }) => ({
        voters: voters.filter((other) => other !== Number(member)),
        learners: learners.filter((other) => other !== Number(member)),
      })),
    members: (ids) => {
      for (const id of ids) {
        const { configuration, configurationIndex } = this.#node(id).raft.status();
        this.#print(`${id} at ${configurationIndex}: ${configurationText(configuration)}${this.#node(id).raft.configurationSettled ? '' : ', under way'}`);
      }
    },
    compact: ([id, to]) => this.#node(id).disk.compact(Number(to)),
    offer: ([id, at]) => this.#node(id).raft.offerSnapshot(this.#snapshotAt(this.#node(id), Number(at))),
    restored: ([id]) => this.#answer(this.#node(id).endRestore(true)),
    'restore-failed': ([id]) => this.#answer(this.#node(id).endRestore(false)),
    /** The driver found this one by itself. */
    'restored-own': ([id, at, term]) => this.#node(id).raft.restored({ index: Number(at), term: Number(term), timeMs: 0 }),
    send: (args, options) => this.#send(args, options),
    lease: ([id]) => this.#lease(this.#node(id)),
    status: (args) => {
      for (const id of args.length === 0 ? this.#nodes.keys() : args) this.#status(this.#node(String(id)));
    },
    log: ([id]) => this.#log(this.#node(id)),
  };

  #change(id: string | undefined, make: (from: ConfigurationChange) => ConfigurationChange): void {
    const { raft } = this.#node(id);
    const result = raft.proposeChange(make(raft.configuration), this.#nowMs);
    if (!result.ok) this.#print(`${id} refuses: ${result.reason}`);
  }

  #cluster(options: Map<string, string>): void {
    for (const part of [this.#nodes, this.#queues, this.#aside, this.#cut, this.#manualPersist, this.#commits, this.#configurations]) part.clear();
    this.#nowMs = 0;
    const number = (name: string, otherwise: number): number => Number(options.get(name) ?? otherwise);
    const nodes = Array.from({ length: number('nodes', 3) }, (_, at) => at + 1);
    const voters = nodes.slice(0, number('voters', nodes.length));
    for (const id of nodes) {
      const config = {
        id,
        configurations: startOf(id, voters),
        electionTicks: number('election', 10),
        heartbeatTicks: number('heartbeat', 1),
        tickMs: TICK_MS,
        leaseDriftMs: number('drift', 50),
        appendBytesMax: number('append-bytes', 1 << 20),
        inflightBytesMax: number('inflight-bytes', 1 << 20),
        inflightMessagesMax: number('inflight-messages', 256),
        uncommittedBytesMax: number('uncommitted', 1 << 20),
        readConsistency: options.get('read') === 'quorum' ? ('quorum' as const) : ('lease' as const),
        holdsCommit: options.get('commit') === 'held',
        // Node n's election timeout is n − 1 ticks beyond the least.
        random: (bound: number) => (bound > 1000 ? 0 : Math.min(id - 1, bound - 1)),
      };
      const node = new SimNode(config, 'handed-over');
      node.configurationAt = (index) => this.#configurations.get(index);
      this.#nodes.set(id, node);
    }
  }

  #snapshotAt(node: SimNode, index: number): SnapshotOffer {
    const known = node.raft.committedConfiguration;
    if (known.index > 0 && known.index <= index) this.#configurations.set(index, known);
    return { index, term: must(node.raft.entryTerm(index)), reference: Buffer.from(`s${index}`) };
  }

  #restart(node: SimNode, wiped: boolean, loading = false): void {
    node.restart({ wiped, loading });
    this.#commits.delete(node.id);
  }

  #node(id: string | undefined): SimNode {
    return must(this.#nodes.get(Number(id)), `no node ${id}`);
  }

  #print(line: string): void {
    this.#out.push(line);
  }

  #answer(accepted: boolean): void {
    if (!accepted) this.#print('refused');
  }

  #tick(who: string | undefined, count = '1', deliver: boolean): void {
    const nodes = who === 'all' ? [...this.#nodes.values()] : [this.#node(who)];
    for (let left = Number(count); left > 0; left--) {
      this.#nowMs += TICK_MS;
      for (const node of nodes) if (node.up) node.raft.tick(this.#nowMs);
      this.#settleAll();
      if (deliver) this.#deliver(undefined);
    }
  }

  /** Takes Readies until there is nothing more to do without the network. */
  #settleAll(): void {
    for (const node of this.#nodes.values()) {
      while (node.up && node.raft.hasReady()) {
        this.#printReady(node.id, this.#takeReady(node));
        if (!this.#manualPersist.has(node.id)) this.#persist(node, Infinity);
      }
    }
  }

  #takeReady(node: SimNode): Ready {
    const ready = node.take();
    for (const message of ready.messages) this.#post(message);
    return ready;
  }

  #printReady(id: number, ready: Ready): void {
    const { softState, hardState, entries } = ready;
    if (softState !== undefined) {
      const led = softState.leader === 0 ? 'no leader' : `leader ${softState.leader}`;
      this.#print(`${id} is ${softState.role}, term ${softState.term}, ${led}`);
    }
    if (ready.restore !== undefined) this.#print(`${id} restores snapshot ${ready.restore.index}/${ready.restore.term}`);
    const writes = [
      ...(ready.reset === undefined ? [] : [`an empty log behind ${ready.reset.index}/${ready.reset.term}`]),
      ...(hardState === undefined ? [] : [`term=${hardState.term} vote=${hardState.vote} commit=${hardState.commit}`]),
      ...entries.map((entry) => `${entry.index}/${entry.term} ${entryText(entry)}`),
    ];
    if (writes.length > 0) this.#print(`${id} writes ${writes.join(', ')}`);
    for (const message of ready.messages) this.#print(describe(message));
    for (const message of ready.messagesAfterPersist) this.#print(`${describe(message)} (after its write)`);
    if (ready.commit !== (this.#commits.get(id) ?? 0)) this.#print(`${id} has committed ${ready.commit}`);
    this.#commits.set(id, ready.commit);
    for (const read of ready.readStates) this.#print(`${id} may serve read ${read.context} at ${read.index}`);
    for (const context of ready.readFailures) this.#print(`${id} fails read ${context}`);
  }

  #persist(node: SimNode, count: number): void {
    for (let left = count; left > 0; left--) {
      const done = node.persistNext();
      if (done === undefined) return;
      if (this.#manualPersist.has(node.id)) this.#printWritten(node.id, done.ready);
      for (const message of done.messages) {
        if (message.to === node.id) node.raft.step(message, this.#nowMs);
        else this.#post(message);
      }
    }
  }

  #printWritten(id: number, { entries, hardState }: Ready): void {
    const last = entries.at(-1);
    if (last !== undefined) this.#print(`${id} has written up to ${last.index}/${last.term}`);
    else if (hardState !== undefined) this.#print(`${id} has written its hard state`);
  }

  #queue(queues: Map<string, Message[]>, link: string): Message[] {
    let queue = queues.get(link);
    if (queue === undefined) queues.set(link, (queue = []));
    return queue;
  }

  #post(message: Message): void {
    const link = `${message.from}->${message.to}`;
    if (!this.#cut.has(link)) this.#queue(this.#queues, link).push(message);
  }

  #dropCut(): void {
    for (const link of this.#cut) this.#queues.delete(link);
  }

  #move(links: readonly string[], from: Map<string, Message[]>, to: Map<string, Message[]>): void {
    for (const link of links) {
      this.#queue(to, link).push(...this.#queue(from, link));
      from.delete(link);
    }
  }

  /** `a->b`, `b` (everything to b), or undefined for all links. */
  #links(what: string | undefined): string[] {
    if (what?.includes('->') === true) return [what];
    const links = [...this.#queues.keys()].filter((link) => what === undefined || link.endsWith(`->${what}`));
    return links.sort();
  }

  /** All: until nothing is on its way. One node or link: what is on its way now. */
  #deliver(what: string | undefined): void {
    for (;;) {
      let any = false;
      for (const link of this.#links(what)) {
        const messages = this.#queue(this.#queues, link);
        this.#queues.delete(link);
        for (const message of messages) {
          any = true;
          const node = must(this.#nodes.get(message.to));
          if (node.up) node.raft.step(message, this.#nowMs);
          this.#settleAll();
        }
      }
      if (!any || what !== undefined) return;
    }
  }

  /** A hand-made message: `send append 2 3 term=2 index=1`. */
  #send([type = '', from, to]: string[], options: Map<string, string>): void {
    const field = (name: string): number => Number(options.get(name) ?? 0);
    const message: Message = {
      type: MessageType[type as keyof typeof MessageType],
      from: Number(from),
      to: Number(to),
      term: field('term'),
      index: field('index'),
      logTerm: field('log-term'),
      entries: [],
      commit: field('commit'),
      reject: options.has('reject'),
      hint: field('hint'),
      context: field('context'),
      transfer: options.has('transfer'),
      timeMs: 0,
      reference: Buffer.from(options.get('reference') ?? ''),
    };
    this.#node(to).raft.step(message, this.#nowMs);
  }

  #lease(node: SimNode): void {
    const until = node.raft.leaseUntilMs();
    const left = until === -Infinity ? 'no lease' : until > this.#nowMs ? `lease for ${until - this.#nowMs} ms` : 'lease is over';
    this.#print(`${node.id} at ${this.#nowMs} ms: ${left}`);
  }

  #status(node: SimNode): void {
    if (!node.up) {
      this.#print(`${node.id} is down`);
      return;
    }
    const s = node.raft.status();
    const ignored = s.ignoredMessages === 0 ? '' : `, ${s.ignoredMessages} messages ignored`;
    this.#print(
      `${s.id}: ${s.role}, term ${s.term}, vote ${s.vote}, leader ${s.leader}, last ${s.lastIndex}, on disk ${s.persistedIndex}, commit ${s.commit}${ignored}`,
    );
    if (s.role !== 'leader') return;
    for (const peer of s.peers) {
      const marks = `${peer.recentActive ? ', active' : ''}${peer.muted ? ', muted' : ''}`;
      const pending = peer.pendingSnapshot === 0 ? '' : ` ${peer.pendingSnapshot}`;
      this.#print(`   ${peer.id}: ${peer.state}${pending}, match ${peer.match}, next ${peer.next}${marks}`);
    }
  }

  #log(node: SimNode): void {
    const { lastIndex } = node.raft;
    const first = node.disk.base.index + 1;
    const entries = lastIndex < first ? [] : node.raft.entries(first, lastIndex, Infinity);
    const texts = entries.map((entry) => `${entry.index}/${entry.term} ${entryText(entry)}`);
    const behind = first === 1 ? '' : `behind ${first - 1}/${node.raft.entryTerm(first - 1)}: `;
    this.#print(`${node.id}: ${behind}${texts.length === 0 ? 'empty' : texts.join(', ')}`);
  }
}

/** index/term throughout. */
function describe(m: Message): string {
  const name = must(TYPE_NAMES.get(m.type));
  const parts = [`${m.from}->${m.to} ${name} term=${m.term}`];
  switch (m.type) {
    case MessageType.append:
      parts.push(`after ${m.index}/${m.logTerm} [${m.entries.map((entry) => `${entry.index}/${entry.term}`).join(' ')}] commit=${m.commit}`);
      break;
    case MessageType.appendResponse:
      parts.push(m.reject ? `refuses ${m.index}, hint ${m.hint}/${m.logTerm}` : `has ${m.index}`);
      break;
    case MessageType.heartbeat:
      parts.push(`round=${m.context} commit=${m.commit}`);
      break;
    case MessageType.heartbeatResponse:
      parts.push(`round=${m.context}`);
      break;
    case MessageType.vote:
    case MessageType.preVote:
      parts.push(`last=${m.index}/${m.logTerm}${m.transfer ? ' transfer' : ''}`);
      break;
    case MessageType.voteResponse:
    case MessageType.preVoteResponse:
      parts.push(m.reject ? 'no' : 'yes');
      break;
    case MessageType.readIndex:
      parts.push(`number=${m.context}`);
      break;
    case MessageType.readIndexResponse:
      parts.push(`number=${m.context} ${m.reject ? 'no' : `index=${m.index}`}`);
      break;
    case MessageType.snapshot:
      parts.push(`${m.index}/${m.logTerm} at ${Buffer.from(m.reference).toString('latin1')}`);
      break;
    case MessageType.snapshotResponse:
      parts.push(`${m.reject ? 'no' : 'yes'} to ${m.index}`);
      break;
    case MessageType.timeoutNow:
      break;
  }
  return parts.join(' ');
}
