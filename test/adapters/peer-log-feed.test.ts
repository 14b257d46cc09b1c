// The log feed over real sockets: members are the real peer port and the real serving side, over a log in memory.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { encodeFetch } from '../../src/adapters/feed-messages.ts';
import { NodeClock } from '../../src/adapters/node-clock.ts';
import { NodeEntropy } from '../../src/adapters/node-entropy.ts';
import { OBSERVERS_MAX } from '../../src/adapters/observer-book.ts';
import { BulkEncoder, encodeMessage } from '../../src/adapters/peer-frame.ts';
import { ANY_MEMBER, Handshake } from '../../src/adapters/peer-handshake.ts';
import { PeerLogFeed, type PeerLogFeedOptions } from '../../src/adapters/peer-log-feed.ts';
import { TcpPeers, type TcpPeersOptions } from '../../src/adapters/tcp-peers.ts';
import type { PeerAddress } from '../../src/ports/transport.ts';
import { entryIndex } from '../../src/base/entry.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import type { FeedBatch } from '../../src/ports/log-feed.ts';
import type { Logger } from '../../src/ports/logger.ts';
import { LogFeedServer } from '../../src/replica/log-feed.ts';
import { MemoryFeedLog } from '../replica/feed-log.ts';

const SECRET = 'a long enough secret of the cluster';
const TIMINGS = { handshakeTimeoutMs: 500, idleTimeoutMs: 600, leaderlessMs: 100, backoffMinMs: 5, backoffMaxMs: 20 };

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) expect.fail(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What all members have; each may know less of it. */
class Member {
  commit: number;
  leadership = { leads: false, hasLeader: true };
  port = 0;
  readonly notes: string[] = [];
  readonly log: MemoryFeedLog;
  #transport: TcpPeers | undefined;
  #server: LogFeedServer | undefined;
  readonly #id: number;
  readonly #overrides: Partial<TcpPeersOptions>;

  constructor(log: MemoryFeedLog, id: number, overrides: Partial<TcpPeersOptions> = {}) {
    this.log = log;
    this.commit = log.lastIndex;
    this.#id = id;
    this.#overrides = overrides;
    closers.push(() => this.stop());
  }

  async start(): Promise<this> {
    const note = (fields: object, message: string): void => void this.notes.push(`${message} ${JSON.stringify(fields)}`);
    const logger: Logger = { debug: note, info: note, warn: note, error: note };
    const book = new Map<number, PeerAddress>();
    this.#transport = new TcpPeers({
      nodeId: this.#id, name: `n${this.#id}`, clusterId: 'c1', incarnation: `0${this.#id}`.repeat(16), rejoining: false, clusterSecret: SECRET,
      peers: book, listenPort: this.port, timings: { idleTimeoutMs: 600, handshakeTimeoutMs: 500 }, entropy: new NodeEntropy(), logger,
      ...this.#overrides,
    });
    this.#server = new LogFeedServer({
      log: this.log, observers: this.#transport, clock: new NodeClock(), logger, link: { send: () => undefined, onMessage: () => undefined },
      commit: () => this.commit,
      leadership: () => this.leadership,
      isHalted: () => false,
    });
    this.#server.start();
    this.port = await this.#transport.listen();
    this.#transport.start({
      admit: () => 'no peers here',
      connected: () => expect.fail('an observer counts as a peer'),
      disconnected: () => undefined,
      message: () => expect.fail('an observer speaks as a peer'),
      refused: () => undefined,
    });
    return this;
  }

  stop(): void {
    this.#transport?.close();
    this.#transport = undefined;
  }

  commitTo(index: number): void {
    this.commit = index;
    this.#server?.committed();
  }
}

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

function feedOf(members: readonly { port: number }[], overrides: Partial<PeerLogFeedOptions> = {}): PeerLogFeed {
  const feed = new PeerLogFeed({
    members: () => members.map(({ port }, i) => ({ name: `m${i}`, host: '127.0.0.1', port })),
    clusterSecret: SECRET, clusterId: '', name: 'snapshotter', entropy: new NodeEntropy(), logger: silent, timings: TIMINGS, ...overrides,
  });
  closers.push(() => feed.close());
  return feed;
}

/** Reads on in the background. */
class Reader {
  readonly batches: FeedBatch[] = [];
  error: Error | undefined;
  ended = false;
  #lastIndex: number;

  constructor(feed: PeerLogFeed, from: number) {
    this.#lastIndex = from - 1;
    void this.#run(feed, from);
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  async #run(feed: PeerLogFeed, from: number): Promise<void> {
    try {
      for await (const batch of feed.entries(from)) {
        this.batches.push(batch);
        for (const entry of batch.entries) {
          if (entryIndex(entry) !== this.#lastIndex + 1) throw new Error(`${entryIndex(entry)} after ${this.#lastIndex}`);
          this.#lastIndex++;
        }
        if (this.#lastIndex > batch.commitIndex) throw new Error('not committed');
      }
    } catch (thrown) {
      this.error = thrown instanceof Error ? thrown : new Error(String(thrown));
    }
    this.ended = true;
  }

  async reaches(index: number): Promise<void> {
    await until(() => this.#lastIndex >= index || this.ended, `entry ${index}`);
    if (this.error !== undefined) throw this.error;
    expect(this.#lastIndex).toBeGreaterThanOrEqual(index);
  }

  async fails(): Promise<OperationalError> {
    await until(() => this.ended, 'an error');
    expect(this.error).toBeInstanceOf(OperationalError);
    return this.error as OperationalError;
  }
}

async function portOf(listener: (socket: Socket) => void): Promise<{ port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    listener(socket);
  });
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port };
}

describe('a log feed over the peer port', () => {
  test('gives what is committed, byte for byte, then what comes, and knows the cluster and the member', async () => {
    const log = new MemoryFeedLog().grow(300).grow(3, 700_000).grow(1, 3 * MiB).grow(50);
    const member = await new Member(log, 1).start();
    member.leadership = { leads: true, hasLeader: true };
    const feed = feedOf([member]);
    expect([feed.clusterId, feed.status()]).toEqual(['', undefined]);
    const reader = new Reader(feed, 7);
    await reader.reaches(354);
    expect(feed.clusterId).toBe('c1');
    expect(feed.status()).toEqual({ nodeName: 'n1', leader: true, firstIndex: 1, commitIndex: 354 });
    for (const entry of reader.batches.flatMap(({ entries }) => entries)) expect(Buffer.compare(entry, log.bytes(entryIndex(entry)))).toBe(0);
    log.grow(10);
    member.commitTo(360);
    await reader.reaches(360);
    member.commitTo(364);
    await reader.reaches(364);
    feed.close();
    await until(() => reader.ended, 'the end');
    expect(reader.error).toBeUndefined();
  });

  test('goes on with another member when one goes, comes back, or is behind', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Prng(seed);
    const log = new MemoryFeedLog();
    const members = await Promise.all([1, 2, 3].map((id) => new Member(log, id).start()));
    const reader = new Reader(feedOf(members), 1);
    for (let round = 0; round < 25; round++) {
      const down = random.pick(members);
      down.stop();
      log.grow(random.between(1, 200), random.between(1, 5000));
      for (const member of members) if (member !== down) member.commitTo(log.lastIndex - random.between(0, 1));
      await reader.reaches(log.lastIndex - 1).catch((thrown: unknown) => expect.fail(`seed ${seed}: ${String(thrown)}`));
      await down.start();
      for (const member of members) member.commitTo(log.lastIndex);
      await reader.reaches(log.lastIndex).catch((thrown: unknown) => expect.fail(`seed ${seed}: ${String(thrown)}`));
    }
  });

  test('goes to members that came later, and leaves one that is none any more', async () => {
    const log = new MemoryFeedLog().grow(20);
    const [first, later] = [await new Member(log, 1).start(), await new Member(log, 2).start()];
    let members: Member[] = [first];
    const feed = feedOf([], { members: () => members.map(({ port }) => ({ name: `m${port}`, host: '127.0.0.1', port })) });
    const reader = new Reader(feed, 1);
    await reader.reaches(20);
    expect(feed.status()?.nodeName).toBe('n1');
    members = [first, later];
    log.grow(1);
    for (const member of members) member.commitTo(21);
    await reader.reaches(21);
    expect(feed.status()?.nodeName).toBe('n1');
    // Alive and in touch, and removed: it will not hear of what comes.
    members = [later];
    log.grow(1);
    later.commitTo(22);
    await reader.reaches(22);
    expect(feed.status()?.nodeName).toBe('n2');
  });

  test('leaves a member that has lost its cluster', async () => {
    const log = new MemoryFeedLog().grow(20);
    const [alone, other] = [await new Member(log, 1).start(), await new Member(log, 2).start()];
    alone.commit = 10;
    alone.leadership = { leads: false, hasLeader: false };
    const reader = new Reader(feedOf([alone, other]), 1);
    await reader.reaches(20);
  });

  test('waits while nobody is there, and for as long as it takes', async () => {
    const port = await freePort();
    const reader = new Reader(feedOf([{ port }]), 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(reader.ended).toBe(false);
    const member = new Member(new MemoryFeedLog().grow(3), 1);
    member.port = port;
    await member.start();
    await reader.reaches(3);
  });

  test('a log that is cut everywhere is LOG_CUT, with where it begins; elsewhere it is found', async () => {
    const cut = new MemoryFeedLog().grow(20);
    cut.firstIndex = 11;
    const whole = new MemoryFeedLog().grow(20);
    const [short, long] = [await new Member(cut, 1).start(), await new Member(whole, 2).start()];
    await new Reader(feedOf([short, long]), 5).reaches(20);
    const feed = feedOf([short, { port: await freePort() }]);
    const error = await new Reader(feed, 5).fails();
    expect([error.code, error.message]).toEqual(['LOG_CUT', 'entry 5 is no longer in the log of n1, which begins at 11: start from a newer snapshot']);
    expect(feed.status()?.firstIndex).toBe(11);
    // The same feed serves the reader that starts again further on.
    await new Reader(feed, 11).reaches(20);
  });

  test('what a member said that is none any more ends nothing', async () => {
    const cut = new MemoryFeedLog().grow(20);
    cut.firstIndex = 11;
    const gone = await new Member(cut, 1).start();
    const port = await freePort();
    let members: { port: number }[] = [gone, { port }];
    const failures: string[] = [];
    const logger: Logger = {
      ...silent,
      warn: (fields) => {
        failures.push(JSON.stringify(fields));
        members = [{ port }];
      },
    };
    const lost: string[] = [];
    logger.debug = (fields) => void lost.push(JSON.stringify(fields));
    const reader = new Reader(feedOf([], { logger, members: () => members.map((one) => ({ name: `m${one.port}`, host: '127.0.0.1', port: one.port })) }), 5);
    await until(() => lost.length >= 3 || reader.ended, 'the other member being tried again and again');
    expect(reader.error).toBeUndefined();
    expect(failures).toHaveLength(1);
    expect(failures[0]).toContain('no longer in the log of n1');
    const late = new Member(new MemoryFeedLog().grow(20), 2);
    late.port = port;
    await late.start();
    await reader.reaches(20);
  });

  test('a wrong secret and another cluster are refused, by both sides, without an entry', async () => {
    const member = await new Member(new MemoryFeedLog().grow(5), 1).start();
    const wrong = await new Reader(feedOf([member], { clusterSecret: 'another long secret altogether' }), 1).fails();
    expect([wrong.code, wrong.message]).toEqual(['PEER', expect.stringContaining('cluster-secret differs')]);
    const foreign = await new Reader(feedOf([member], { clusterId: 'c2' }), 1).fails();
    expect([foreign.code, foreign.message]).toEqual(['PEER', expect.stringMatching(/cluster ids differ: .*the observer.* cluster c2/)]);
    expect(member.notes.filter((note) => note.startsWith('connection refused on the peer port'))).toHaveLength(2);
    expect(member.log.reads).toBe(0);
    await new Reader(feedOf([member], { clusterId: 'c1' }), 1).reaches(5);
  });

  test.each([
    ['nothing, ever', () => undefined],
    ['garbage', (socket: Socket) => socket.write(Buffer.alloc(3000, 'HTTP/1.1 400 '))],
    ['an end', (socket: Socket) => socket.destroy()],
  ])('a port that answers with %s is passed over', async (_name, listener) => {
    const odd = await portOf(listener);
    const member = await new Member(new MemoryFeedLog().grow(5), 1).start();
    await new Reader(feedOf([odd, member]), 1).reaches(5);
  });

  test.each<[string, (log: MemoryFeedLog) => void]>([
    ['a flipped bit', (log) => void (log.bytes(4)[45]! ^= 4)],
    ['another entry in its place', (log) => void (log.entries = (from, to, bytesMax) => MemoryFeedLog.prototype.entries.call(log, from + 1, to, bytesMax))],
  ])('entries that are not the log’s (%s) are not handed out', async (_name, damage) => {
    const bad = new MemoryFeedLog().grow(9);
    damage(bad);
    const [hostile, honest] = [await new Member(bad, 1).start(), await new Member(new MemoryFeedLog().grow(9), 2).start()];
    const alone = new Reader(feedOf([hostile]), 4);
    const error = await alone.fails();
    expect([error.code, alone.lastIndex]).toEqual(['PEER', 3]);
    expect(error.message).toMatch(/n1 sends what is not its log/);
    await new Reader(feedOf([hostile, honest]), 4).reaches(9);
  });

  test('a slow reader holds one batch, and the member one answer', async () => {
    const log = new MemoryFeedLog().grow(40, 600_000);
    const member = await new Member(log, 1).start();
    const iterator = feedOf([member]).entries(1)[Symbol.asyncIterator]();
    await iterator.next();
    await until(() => log.reads >= 2, 'one is fetched ahead');
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(log.reads).toBe(2);
    await iterator.return();
  });
});

/** An observer's connection in the hands of a test. */
async function rawObserver(port: number, secret = SECRET, nodeId = 0): Promise<{ socket: Socket; bytes: () => number; closed: () => boolean }> {
  const socket = connect(port, '127.0.0.1');
  closers.push(() => socket.destroy());
  let closed = false;
  let bytes = 0;
  let open = false;
  socket.on('error', () => undefined);
  socket.on('close', () => (closed = true));
  const handshake = new Handshake(
    {
      self: { nodeId, name: 'raw', clusterId: '', incarnation: '0'.repeat(32), rejoining: false, observer: true },
      secret,
      admit: () => undefined,
    },
    ANY_MEMBER,
    (out) => void socket.write(out),
  );
  socket.on('data', (chunk) => {
    bytes += chunk.length;
    if (!open) open = handshake.push(chunk).kind === 'open';
  });
  await until(() => open || closed, 'the handshake');
  return { socket, bytes: () => bytes, closed: () => closed };
}

describe('a member’s peer port', () => {
  test.each<[string, Uint8Array]>([
    ['no frame', Buffer.alloc(64, 'x')],
    ['a head that is no fetch', encodeMessage(Buffer.from([0x93, 1, 2, 3]))],
    ['a head that is no msgpack', encodeMessage(Buffer.from([0xc1]))],
    ['a fetch from 0', encodeMessage(encodeFetch(0))],
    ['a fetch from below 0', encodeMessage(encodeFetch(-1))],
    ['a fetch from 2^53', encodeMessage(encodeFetch(2 ** 53))],
    ['the beginning of a long message', Buffer.concat(new BulkEncoder(encodeFetch(1), [new Uint8Array(64 * MiB)]).next())],
    ['a fetch from a half', encodeMessage(encodeFetch(1.5))],
    ['two fetches at once', Buffer.concat([encodeMessage(encodeFetch(7)), encodeMessage(encodeFetch(7))])],
    ['a Raft message', encodeMessage(Buffer.from([0x9b, 1, 3, 9, 9, 9, 9, 0xc2, 0, 0, 0xc2, 0]))],
  ])('ends the connection of an observer that sends %s, and no other', async (_name, bytes) => {
    const member = await new Member(new MemoryFeedLog().grow(6), 1).start();
    const reader = new Reader(feedOf([member]), 1);
    await reader.reaches(6);
    const odd = await rawObserver(member.port);
    expect(odd.closed()).toBe(false);
    odd.socket.write(bytes);
    await until(odd.closed, 'the end');
    expect(member.notes.join('\n')).not.toMatch(/not heard of/);
    member.log.grow(1);
    member.commitTo(7);
    await reader.reaches(7);
    expect(reader.batches.length).toBe(2);
  });

  test('an observer with a node id is none', async () => {
    const member = await new Member(new MemoryFeedLog().grow(6), 1).start();
    const odd = await rawObserver(member.port, SECRET, 2);
    expect(odd.closed()).toBe(true);
    expect(member.notes.join('\n')).toMatch(/an observer has no node id, and this one says 2/);
  });

  test(`takes ${OBSERVERS_MAX} observers; another goes to the next member, and gets in when one leaves`, async () => {
    const log = new MemoryFeedLog().grow(5);
    const [full, other] = [await new Member(log, 1).start(), await new Member(log, 2).start()];
    const held: Awaited<ReturnType<typeof rawObserver>>[] = [];
    // A fetch ahead of the log keeps each in place.
    for (let i = 0; i < OBSERVERS_MAX; i++) held.push(await rawObserver(full.port));
    const keepAlive = setInterval(() => {
      for (const { socket } of held) socket.write(encodeMessage(encodeFetch(900)));
    }, 2000);
    closers.push(() => clearInterval(keepAlive));
    const elsewhere = feedOf([full, other]);
    await new Reader(elsewhere, 1).reaches(5);
    expect(elsewhere.status()?.nodeName).toBe('n2');
    const waiting = new Reader(feedOf([full]), 1);
    await until(() => full.notes.some((note) => note.includes('which is the most')), 'a refusal');
    expect(waiting.ended).toBe(false);
    held[3]!.socket.destroy();
    await waiting.reaches(5);
  });

  test('an observer that does not read costs one answer, is let go, and holds nobody up', async () => {
    const log = new MemoryFeedLog().grow(30, 900_000).grow(1, 60 * MiB);
    const member = await new Member(log, 1).start();
    const stuck = await rawObserver(member.port);
    stuck.socket.pause();
    stuck.socket.write(encodeMessage(encodeFetch(31)));
    await until(() => log.reads === 1, 'its answer is read');
    await new Reader(feedOf([member]), 1).reaches(30);
    await until(() => member.notes.some((note) => note.includes('connection from peer closed') && note.includes('observer')), 'it is let go');
  });
});
