// A write load that knows what it may expect: every write's outcome is kept as acknowledged, refused or unknown, and at
// the end the database has to show it.
//
// Each lane is one client's sequence of writes to keys of its own, the next sent when the last is answered. Kinds:
// - unique: SET of a new key each time. Acknowledged ones must be there, refused ones must not; an unknown one is sent again.
// - register: SET of one key to rising numbers, now and then read back. No value below the last acknowledged one may be seen.
// - counter: INCR of one key. Acknowledged ≤ value ≤ acknowledged + unknown.
import type { TestNode } from './node-process.ts';
import { ConnectionLost, ErrorReply, RespClient, type Reply } from './resp.ts';
import { pause, until } from './until.ts';

/** Errors by which a node promises that the write did not happen and will not. */
const REFUSALS = new Set(['CLUSTERDOWN', 'LOADING', 'MISCONF', 'OOM', 'MOVED', 'READONLY', 'BUSY', 'NOAUTH']);
const RECONNECT_MS = 10;
const READ_EVERY = 8;

export type Outcome = 'acked' | 'refused' | 'unknown';

export function outcomeOf(reply: Reply): Outcome {
  if (!(reply instanceof ErrorReply)) return 'acked';
  if (reply.code === 'UNCERTAIN') return 'unknown';
  if (REFUSALS.has(reply.code)) return 'refused';
  throw new Error(`a write was answered with: ${reply.text}`);
}

type LaneKind = 'unique' | 'register' | 'counter';

class Lane {
  readonly key: string;
  readonly kind: LaneKind;
  /** unique: sequence numbers; the others: numbers written. */
  readonly acked: number[] = [];
  readonly refused: number[] = [];
  unknown = 0;
  /** register: the highest value sent, and acknowledged. */
  sent = 0;
  lastAcked = 0;
  #next = 1;
  /** unique: the number whose earlier attempt is unknown; a later refusal speaks only for itself. */
  #open = 0;

  constructor(key: string, kind: LaneKind) {
    this.key = key;
    this.kind = kind;
  }

  /** The next write, and what its outcome changes. */
  next(padding: string): { words: readonly (string | number)[]; done: (outcome: Outcome) => void } {
    if (this.kind === 'counter') {
      return {
        words: ['INCR', this.key],
        done: (outcome) => {
          if (outcome === 'acked') this.lastAcked++;
          else if (outcome === 'unknown') this.unknown++;
          else this.refused.push(0);
        },
      };
    }
    const number = this.#next++;
    this.sent = number;
    return {
      words: ['SET', this.kind === 'unique' ? `${this.key}:${number}` : this.key, `${number}${padding}`],
      done: (outcome) => {
        if (outcome === 'acked') {
          this.lastAcked = number;
          if (this.kind === 'unique') this.acked.push(number);
        } else if (outcome === 'refused') {
          if (this.#open === number) this.#next = number;
          else this.refused.push(number);
        } else {
          this.unknown++;
          // Sent again, the same: it must be there in the end.
          if (this.kind === 'unique') this.#next = this.#open = number;
        }
      },
    };
  }
}

class Writer {
  readonly node: TestNode;
  readonly lanes: readonly Lane[];
  readonly #load: Load;
  #client: RespClient | undefined;
  #connecting: Promise<RespClient | undefined> | undefined;
  /** When the first write that was sent after the mark was acknowledged. */
  firstAckMs: number | undefined;

  constructor(load: Load, node: TestNode, lanes: readonly Lane[]) {
    this.#load = load;
    this.node = node;
    this.lanes = lanes;
  }

  async #connected(): Promise<RespClient | undefined> {
    if (this.#client !== undefined && !this.#client.isClosed) return this.#client;
    this.#connecting ??= RespClient.connect(this.node.port)
      .then((client) => (this.#client = client))
      .catch(() => undefined)
      .finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  async run(lane: Lane): Promise<void> {
    for (let turn = 1; !this.#load.stopping; turn++) {
      const client = await this.#connected();
      if (client === undefined) {
        await pause(RECONNECT_MS);
        continue;
      }
      if (lane.kind === 'register' && turn % READ_EVERY === 0) await this.#readBack(client, lane);
      else await this.#write(client, lane);
    }
  }

  async #write(client: RespClient, lane: Lane): Promise<void> {
    const { words, done } = lane.next(this.#load.padding);
    const sentMs = performance.now();
    let outcome: Outcome;
    try {
      outcome = outcomeOf(await client.send(...words));
    } catch (thrown) {
      if (!(thrown instanceof ConnectionLost)) throw thrown;
      outcome = 'unknown';
    }
    done(outcome);
    this.#load.count(this.node, outcome);
    if (outcome === 'acked' && this.firstAckMs === undefined && sentMs >= this.#load.markMs) this.firstAckMs = performance.now();
    if (outcome === 'refused') await pause(RECONNECT_MS);
  }

  async #readBack(client: RespClient, lane: Lane): Promise<void> {
    const atLeast = lane.lastAcked;
    let reply: Reply;
    try {
      reply = await client.send('GET', lane.key);
    } catch (thrown) {
      if (!(thrown instanceof ConnectionLost)) throw thrown;
      return;
    }
    if (reply instanceof ErrorReply) {
      outcomeOf(reply);
      return;
    }
    const seen = Number(typeof reply === 'string' ? reply.split(':', 1)[0] : 0);
    if (seen < atLeast || seen > lane.sent) {
      throw new Error(`${lane.key} on ${this.node.name}: read ${seen} after ${atLeast} was acknowledged and ${lane.sent} sent`);
    }
  }

  close(): void {
    this.#client?.close();
  }
}

export class Load {
  readonly #writers: readonly Writer[];
  readonly #runs: Promise<void>[] = [];
  readonly #ackedOn = new Map<TestNode, number>();
  readonly #unknownOn = new Map<TestNode, number>();
  #failure: Error | undefined;
  stopping = false;
  /** Stands behind the number in every value that is SET. */
  readonly padding: string;
  markMs = 0;
  acked = 0;
  refused = 0;
  unknown = 0;

  /** `lanesPerWriter` writes at a time on each of `writersPerNode` connections to each node. */
  constructor(nodes: readonly TestNode[], { writersPerNode = 2, lanesPerWriter = 6, valueBytes = 0 } = {}) {
    this.padding = valueBytes === 0 ? '' : `:${'x'.repeat(valueBytes)}`;
    const kinds: readonly LaneKind[] = ['unique', 'register', 'counter'];
    this.#writers = nodes.flatMap((node) =>
      Array.from({ length: writersPerNode }, (_, w) => {
        const lanes = Array.from({ length: lanesPerWriter }, (_lane, i) => new Lane(`${node.name}w${w}l${i}`, kinds[i % kinds.length] ?? 'unique'));
        return new Writer(this, node, lanes);
      }),
    );
  }

  count(node: TestNode, outcome: Outcome): void {
    this[outcome]++;
    if (outcome === 'acked') this.#ackedOn.set(node, this.ackedOn(node) + 1);
    else if (outcome === 'unknown') this.#unknownOn.set(node, this.unknownOn(node) + 1);
  }

  /** Writes through this node whose outcome it did not tell. */
  unknownOn(node: TestNode): number {
    return this.#unknownOn.get(node) ?? 0;
  }

  /** Writes that this node has acknowledged. */
  ackedOn(node: TestNode): number {
    return this.#ackedOn.get(node) ?? 0;
  }

  start(): void {
    for (const writer of this.#writers) {
      for (const lane of writer.lanes) {
        this.#runs.push(
          writer.run(lane).catch((thrown: unknown) => {
            this.#failure ??= thrown instanceof Error ? thrown : new Error(String(thrown));
          }),
        );
      }
    }
  }

  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** From now on `flowing` looks at writes that are sent after this. */
  mark(): void {
    this.markMs = performance.now();
    for (const writer of this.#writers) writer.firstAckMs = undefined;
  }

  /** Waits until every writer of these nodes had a write acknowledged that was sent after the mark; ms after the mark of the first and the last of them. */
  async flowing(nodes: readonly TestNode[], timeoutMs = 10_000): Promise<{ firstMs: number; lastMs: number }> {
    const writers = this.#writers.filter((writer) => nodes.includes(writer.node));
    await until(
      'writes to be acknowledged again',
      () => {
        this.check();
        return writers.every((writer) => writer.firstAckMs !== undefined);
      },
      { timeoutMs, everyMs: 5 },
    );
    const times = writers.map((writer) => (writer.firstAckMs ?? NaN) - this.markMs);
    return { firstMs: Math.min(...times), lastMs: Math.max(...times) };
  }

  /** Waits for `count` more acknowledgements. */
  async more(count: number, timeoutMs = 30_000): Promise<void> {
    const target = this.acked + count;
    await until(`${count} more acknowledged writes`, () => {
      this.check();
      return this.acked >= target;
    }, { timeoutMs });
  }

  /** Lets every lane finish its write; the nodes should be up by now. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.#runs);
    for (const writer of this.#writers) writer.close();
    this.check();
  }

  /** What does not agree with the outcomes; empty when all is well. */
  faults(dump: ReadonlyMap<string, string>): string[] {
    const faults: string[] = [];
    const valueOf = (key: string): string | undefined => dump.get(`0/${key}`)?.split(' ')[1]?.split(':', 1)[0];
    for (const lane of this.#writers.flatMap((writer) => writer.lanes)) {
      const { key, kind } = lane;
      if (kind === 'unique') {
        for (const n of lane.acked) if (valueOf(`${key}:${n}`) !== String(n)) faults.push(`${key}:${n} was acknowledged and is ${valueOf(`${key}:${n}`)}`);
        for (const n of lane.refused) if (valueOf(`${key}:${n}`) !== undefined) faults.push(`${key}:${n} was refused as not applied and is there`);
        continue;
      }
      const value = Number(valueOf(key) ?? 0);
      const most = kind === 'counter' ? lane.lastAcked + lane.unknown : lane.sent;
      if (!(value >= lane.lastAcked && value <= most)) {
        faults.push(`${kind} ${key} is ${value}: acknowledged ${lane.lastAcked}, at most ${most} with ${lane.unknown} unknown`);
      }
      if (kind === 'register' && lane.refused.includes(value)) faults.push(`register ${key} is ${value}, which was refused as not applied`);
    }
    return faults;
  }

  get summary(): string {
    return `${this.acked} acknowledged, ${this.refused} refused, ${this.unknown} unknown`;
  }
}
