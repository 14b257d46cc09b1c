// The Publisher over a client connection: to the node beside the snapshotter if it answers, else to another member.
import { OperationalError, errorText } from '../base/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { PublishedSnapshot, Publisher, SnapshotterOrders, SnapshotterProgress } from '../ports/publisher.ts';
import { errorOf, type RespAddress, RespClient, textOf, type Word } from './resp-client.ts';

/** A publish waits for a majority; a node that has not answered by then does not. */
const ANSWER_MS_MAX = 30_000;
const MOVED = /^MOVED \d+ (.+):(\d+)$/;

export class RespPublisher implements Publisher {
  readonly #addresses: readonly RespAddress[];
  readonly #logger: Logger;
  #client: RespClient | undefined;
  #next = 0;
  #silent = false;

  /** The first is the one that is preferred. */
  constructor(addresses: readonly RespAddress[], logger: Logger) {
    this.#addresses = addresses;
    this.#logger = logger;
  }

  async publish({ index, term, manifestKey, manifestSha256, digest }: PublishedSnapshot): Promise<'published' | 'stale'> {
    const words = ['HOLDFAST', 'PUBLISH', index, term, manifestKey, manifestSha256, digest];
    let reply = await this.#ask(words);
    let error = errorOf(reply);
    const moved = error === undefined ? null : MOVED.exec(error);
    if (moved !== null) {
      reply = await this.#askElsewhere({ host: moved[1]!, port: Number(moved[2]), password: this.#addresses[0]?.password ?? '' }, words);
      error = errorOf(reply);
    }
    if (error === undefined) return 'published';
    if (/newer snapshot is published/.test(error)) return 'stale';
    throw new OperationalError('PEER', `HOLDFAST PUBLISH was answered with: ${error}`);
  }

  async report(progress: SnapshotterProgress): Promise<SnapshotterOrders> {
    const reply = await this.#ask(['HOLDFAST', 'SNAPSHOTTER', JSON.stringify(progress)]);
    const error = errorOf(reply);
    if (error !== undefined) throw new OperationalError('PEER', `HOLDFAST SNAPSHOTTER was answered with: ${error}`);
    return { snapshotIndexMin: ordersFrom(textOf(reply)).snapshotIndexMin ?? 0 };
  }

  close(): void {
    this.#client?.close();
  }

  async #ask(words: readonly Word[]): Promise<Awaited<ReturnType<RespClient['send']>>> {
    try {
      const client = await this.#connected();
      const reply = await answered(client, words);
      this.#silent = false;
      return reply;
    } catch (thrown) {
      this.#client?.close();
      this.#client = undefined;
      if (!this.#silent) this.#logger.warn({ reason: errorText(thrown) }, 'no node answers the snapshotter; it goes on and asks again');
      this.#silent = true;
      throw thrown;
    }
  }

  async #connected(): Promise<RespClient> {
    if (this.#client !== undefined && !this.#client.closed) return this.#client;
    let last: unknown;
    for (let i = 0; i < this.#addresses.length; i++) {
      const address = this.#addresses[this.#next % this.#addresses.length]!;
      try {
        this.#client = await RespClient.connect(address);
        // After a loss the preferred one is tried first again.
        this.#next = 0;
        return this.#client;
      } catch (thrown) {
        last = thrown;
        this.#next++;
      }
    }
    throw last;
  }

  async #askElsewhere(address: RespAddress, words: readonly Word[]): ReturnType<RespClient['send']> {
    const client = await RespClient.connect(address);
    try {
      return await answered(client, words);
    } finally {
      client.close();
    }
  }
}

function ordersFrom(json: string): Partial<SnapshotterOrders> {
  try {
    return JSON.parse(json) as Partial<SnapshotterOrders>;
  } catch (thrown) {
    throw new OperationalError('PEER', `HOLDFAST SNAPSHOTTER was answered with what is no JSON: ${errorText(thrown)}`);
  }
}

async function answered(client: RespClient, words: readonly Word[]): ReturnType<RespClient['send']> {
  const reply = client.send(words);
  client.flush();
  const timer = setTimeout(() => client.close(), ANSWER_MS_MAX);
  try {
    return await reply;
  } finally {
    clearTimeout(timer);
  }
}
