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
  readonly #addresses: readonly RespAddress[];
  readonly #publishing: readonly Connection[];
  readonly #reporting: readonly Reporting[];
  readonly #logger: Logger;
  readonly #name: string;
  #silent = false;

  /** The first address is the one that is preferred. `name`: of this snapshotter, among those of the cluster. */
  constructor(addresses: readonly RespAddress[], logger: Logger, name: string) {
    this.#addresses = addresses;
    this.#publishing = addresses.map((address) => new Connection(address));
    this.#reporting = addresses.map((address) => new Reporting(new Connection(address)));
    this.#logger = logger;
    this.#name = name;
  }

  async publish({ index, term, manifestKey, manifestSha256, digest }: PublishedSnapshot): Promise<'published' | 'stale'> {
    const words = ['HOLDFAST', 'PUBLISH', index, term, manifestKey, manifestSha256, digest];
    let error = errorOf(await this.#askAny(words));
    const moved = error === undefined ? null : MOVED.exec(error);
    if (moved !== null) {
      const elsewhere = new Connection({ host: moved[1]!, port: Number(moved[2]), password: this.#addresses[0]?.password ?? '' });
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
    for (const member of this.#publishing) {
      try {
        return await member.ask(words);
      } catch (thrown) {
        last = thrown;
      }
    }
    throw last;
  }

  async report(progress: SnapshotterProgress): Promise<SnapshotterOrders> {
    const json = JSON.stringify({ name: this.#name, ...progress });
    const beganMs = performance.now();
    await within(REPORT_MS_MAX, Promise.all(this.#reporting.map((member) => member.tell(json))));
    const heard = this.#reporting.filter(({ answeredMs }) => answeredMs > beganMs - ORDERS_MS_MAX);
    if (heard.length === 0) {
      const reason = this.#reporting.find(({ fault }) => fault !== '')?.fault ?? 'none has answered yet';
      if (!this.#silent) this.#logger.warn({ reason }, 'no node answers the snapshotter; it goes on and asks again');
      this.#silent = true;
      throw new OperationalError('PEER', reason);
    }
    this.#silent = false;
    return { snapshotIndexMin: Math.max(...heard.map(({ orders }) => orders.snapshotIndexMin)) };
  }

  close(): void {
    for (const connection of this.#publishing) connection.close();
    for (const member of this.#reporting) member.close();
  }
}

/** To one member; made again for the next command where it was lost. */
class Connection {
  readonly #address: RespAddress;
  #client: RespClient | undefined;

  constructor(address: RespAddress) {
    this.#address = address;
  }

  async ask(words: readonly Word[]): Promise<RespValue> {
    if (this.#client?.closed !== false) this.#client = await RespClient.connect(this.#address);
    const client = this.#client;
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
