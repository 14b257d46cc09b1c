// The Publisher over client connections. Publishing goes to the node beside the snapshotter if it answers, else to another member;
// reports go to every member, so that INFO is true on each of them and BGSAVE can be asked of any.
import { OperationalError, errorText } from '../base/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { PublishedSnapshot, Publisher, SnapshotterOrders, SnapshotterProgress } from '../ports/publisher.ts';
import type { RespValue } from '../resp/reply-parser.ts';
import { errorOf, type RespAddress, RespClient, textOf, type Word } from './resp-client.ts';

/** A publish waits for a majority; a node that has not answered by then does not. */
const ANSWER_MS_MAX = 30_000;
/** A report waits so long for members that are slow to answer; what they say is heard with a later one. */
const REPORT_MS_MAX = 1000;
/** What a member asked for counts for so long behind its last answer. */
const ORDERS_MS_MAX = 30_000;
const MOVED = /^MOVED \d+ (.+):(\d+)$/;

export class RespPublisher implements Publisher {
  /** By address, in the order of preference. */
  #members = new Map<string, Member>();
  readonly #logger: Logger;
  readonly #name: string;
  #silent = false;

  /** The first address is the one that is preferred. `name`: of this snapshotter, among those of the cluster. */
  constructor(addresses: readonly RespAddress[], logger: Logger, name: string) {
    this.#logger = logger;
    this.#name = name;
    this.setAddresses(addresses);
  }

  /** Those that are members now, the preferred one first; connections to them stay. */
  setAddresses(addresses: readonly RespAddress[]): void {
    const before = this.#members;
    this.#members = new Map();
    for (const address of addresses) {
      const key = `${address.path ?? ''} ${address.host}:${address.port}`;
      this.#members.set(key, before.get(key) ?? { address, publishing: new Connection(address), reporting: new Reporting(new Connection(address)) });
    }
    for (const [key, member] of before) if (!this.#members.has(key)) close(member);
  }

  async publish({ index, term, manifestKey, manifestSha256, digest }: PublishedSnapshot): Promise<'published' | 'stale'> {
    const words = ['HOLDFAST', 'PUBLISH', index, term, manifestKey, manifestSha256, digest];
    let error = errorOf(await this.#askAny(words));
    const moved = error === undefined ? null : MOVED.exec(error);
    if (moved !== null) {
      const elsewhere = new Connection({ host: moved[1]!, port: Number(moved[2]), password: [...this.#members.values()][0]?.address.password ?? '' });
      try {
        error = errorOf(await elsewhere.ask(words));
      } finally {
        elsewhere.close();
      }
    }
    if (error === undefined) return 'published';
    if (/newer snapshot is published/.test(error)) return 'stale';
    throw new OperationalError('PEER', `HOLDFAST PUBLISH was answered with: ${error}`);
  }

  /** Whatever a member that did not answer may have done: a publish that is repeated is stale. */
  async #askAny(words: readonly Word[]): Promise<RespValue> {
    let last: unknown;
    for (const { publishing } of [...this.#members.values()]) {
      try {
        return await publishing.ask(words);
      } catch (thrown) {
        last = thrown;
      }
    }
    throw last;
  }

  async report(progress: SnapshotterProgress): Promise<SnapshotterOrders> {
    const json = JSON.stringify({ name: this.#name, ...progress });
    const beganMs = performance.now();
    const reporting = [...this.#members.values()].map((member) => member.reporting);
    await within(REPORT_MS_MAX, Promise.all(reporting.map((member) => member.tell(json))));
    const heard = reporting.filter(({ answeredMs }) => answeredMs > beganMs - ORDERS_MS_MAX);
    if (heard.length === 0) {
      const reason = reporting.find(({ fault }) => fault !== '')?.fault ?? 'none has answered yet';
      if (!this.#silent) this.#logger.warn({ reason }, 'no node answers the snapshotter; it goes on and asks again');
      this.#silent = true;
      throw new OperationalError('PEER', reason);
    }
    this.#silent = false;
    return { snapshotIndexMin: Math.max(...heard.map(({ orders }) => orders.snapshotIndexMin)) };
  }

  close(): void {
    for (const member of this.#members.values()) close(member);
  }
}

interface Member {
  readonly address: RespAddress;
  readonly publishing: Connection;
  readonly reporting: Reporting;
}

function close({ publishing, reporting }: Member): void {
  publishing.close();
  reporting.close();
}

/** To one member; made again for the next command where it was lost. */
class Connection {
  readonly #address: RespAddress;
  #client: RespClient | undefined;
  #closed = false;

  constructor(address: RespAddress) {
    this.#address = address;
  }

  async ask(words: readonly Word[]): Promise<RespValue> {
    if (this.#client?.closed !== false) this.#client = await RespClient.connect(this.#address);
    const client = this.#client;
    // Nobody's any more by the time that it was there: its answer is lost, as of one that breaks.
    if (this.#closed) client.close();
    const reply = client.send(words);
    client.flush();
    const timer = setTimeout(() => client.close(), ANSWER_MS_MAX);
    try {
      return await reply;
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#closed = true;
    this.#client?.close();
  }
}

/** What one member hears and says; one report at a time. */
class Reporting {
  readonly #connection: Connection;
  #busy = false;
  orders: SnapshotterOrders = { snapshotIndexMin: 0 };
  /** Monotonic. */
  answeredMs = -Infinity;
  /** Why it did not answer the last one; empty if it did. */
  fault = '';

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Never rejects; answered at once while an earlier one is under way. */
  async tell(json: string): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      const reply = await this.#connection.ask(['HOLDFAST', 'SNAPSHOTTER', json]);
      const error = errorOf(reply);
      if (error !== undefined) throw new OperationalError('PEER', `HOLDFAST SNAPSHOTTER was answered with: ${error}`);
      this.orders = ordersFrom(textOf(reply));
      this.answeredMs = performance.now();
      this.fault = '';
    } catch (thrown) {
      if (!(thrown instanceof OperationalError)) throw thrown;
      this.fault = thrown.message;
    } finally {
      this.#busy = false;
    }
  }

  close(): void {
    this.#connection.close();
  }
}

function ordersFrom(json: string): SnapshotterOrders {
  let orders: unknown;
  try {
    orders = JSON.parse(json);
  } catch (thrown) {
    throw new OperationalError('PEER', `HOLDFAST SNAPSHOTTER was answered with what is no JSON: ${errorText(thrown)}`);
  }
  const { snapshotIndexMin } = (orders ?? {}) as { snapshotIndexMin?: unknown };
  return { snapshotIndexMin: typeof snapshotIndexMin === 'number' ? snapshotIndexMin : 0 };
}

/** Until it is done, or so long. */
async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
