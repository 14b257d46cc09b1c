import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { NodeEntropy } from '../../src/adapters/node-entropy.ts';
import { PENDING_MAX, TcpPeers, clusterSecretWarning, type TcpPeersOptions } from '../../src/adapters/tcp-peers.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { INFLIGHT_BYTES_MAX, MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Logger } from '../../src/ports/logger.ts';
import type { PeerAddress, PeerIdentity, TransportEvents } from '../../src/ports/transport.ts';

const SECRET = 'a long enough secret of the cluster';
const TIMINGS = { idleTimeoutMs: 600, handshakeTimeoutMs: 500, backoffMinMs: 10, backoffMaxMs: 80 };

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) expect.fail(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function listen(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const incarnationOf = (nodeId: number, life = 0): string => `${life}${nodeId}`.repeat(16);

class Node implements TransportEvents {
  readonly transport: TcpPeers;
  readonly asked: PeerIdentity[] = [];
  readonly up = new Map<number, PeerIdentity>();
  readonly received: { from: number; head: string; body: readonly Uint8Array[] }[] = [];
  readonly refusals: [number, string][] = [];
  readonly log: string[] = [];
  admission: (peer: PeerIdentity) => string | undefined = () => undefined;

  constructor(nodeId: number, book: ReadonlyMap<number, PeerAddress>, overrides: Partial<TcpPeersOptions> = {}) {
    const write = (fields: object, message: string): void => void this.log.push(`${message} ${JSON.stringify(fields)}`);
    const logger: Logger = { debug: write, info: write, warn: write, error: write };
    this.transport = new TcpPeers({
      nodeId,
      name: `n${nodeId}`,
      clusterId: 'c1',
      incarnation: incarnationOf(nodeId),
      rejoining: false,
      clusterSecret: SECRET,
      peers: book,
      listenPort: book.get(nodeId)?.port ?? 0,
      timings: TIMINGS,
      entropy: new NodeEntropy(),
      logger,
      ...overrides,
    });
    closers.push(() => this.transport.close());
  }

  async start(): Promise<this> {
    await this.transport.listen();
    this.transport.start(this);
    return this;
  }

  admit(peer: PeerIdentity): string | undefined {
    this.asked.push(peer);
    return this.admission(peer);
  }

  connected(peer: PeerIdentity): void {
    this.up.set(peer.nodeId, peer);
  }

  disconnected(nodeId: number): void {
    expect(this.up.delete(nodeId), 'connected before disconnected').toBe(true);
  }

  message(from: number, head: Uint8Array, body: readonly Uint8Array[]): void {
    this.received.push({ from, head: Buffer.from(head).toString('latin1'), body });
  }

  refused(nodeId: number, reason: string): void {
    this.refusals.push([nodeId, reason]);
  }

  send(to: number, head: string, body: readonly Uint8Array[] = []): void {
    this.transport.send(to, Buffer.from(head, 'latin1'), body);
  }

  heads(): string[] {
    return this.received.map(({ head }) => head);
  }
}

async function addressBook(size: number): Promise<Map<number, PeerAddress>> {
  const book = new Map<number, PeerAddress>();
  for (let id = 1; id <= size; id++) book.set(id, { name: `n${id}`, host: '127.0.0.1', port: await freePort() });
  return book;
}

async function pair(first: Partial<TcpPeersOptions> = {}, second: Partial<TcpPeersOptions> = {}): Promise<[Node, Node, Map<number, PeerAddress>]> {
  const book = await addressBook(2);
  return [await new Node(1, book, first).start(), await new Node(2, book, second).start(), book];
}

const bothUp = (a: Node, b: Node): Promise<void> => until(() => a.up.has(2) && b.up.has(1), 'both connect');

/** Sends until one arrives: connections that are just changing may lose a few. */
async function getsThrough(from: Node, to: Node, toId: number, head: string): Promise<void> {
  await until(() => {
    from.send(toId, head);
    return to.heads().includes(head);
  }, `${head} arrives`);
}

function rawClient(port: number): { socket: Socket; bytes: () => Buffer; closed: () => boolean } {
  const socket = connect(port, '127.0.0.1');
  closers.push(() => socket.destroy());
  let bytes = Buffer.alloc(0);
  let closed = false;
  socket.on('data', (chunk) => (bytes = Buffer.concat([bytes, chunk])));
  socket.on('error', () => {});
  socket.on('close', () => (closed = true));
  return { socket, bytes: () => bytes, closed: () => closed };
}

/** A way to `port` that can be made to swallow everything, as a cable that was pulled. */
async function proxy(port: number): Promise<{ port: number; recorded: Buffer[]; freeze(): void; thaw(): void }> {
  const recorded: Buffer[] = [];
  const sockets = new Set<Socket>();
  let frozen = false;
  const server = createServer((front) => {
    const back = connect(port, '127.0.0.1');
    for (const [one, other] of [[front, back], [back, front]] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('data', (chunk) => {
        if (one === front) recorded.push(chunk);
        other.write(chunk);
      });
      one.on('close', () => {
        sockets.delete(one);
        if (!frozen) other.destroy();
      });
      if (frozen) one.pause();
    }
  });
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: await listen(server),
    recorded,
    freeze: () => {
      frozen = true;
      for (const socket of sockets) socket.pause();
    },
    thaw: () => {
      frozen = false;
      for (const socket of sockets) socket.destroy();
    },
  };
}

describe('two nodes', () => {
  test('connect and exchange messages, with and without body', async () => {
    const [a, b] = await pair();
    await bothUp(a, b);
    const parts = [Buffer.from('entry one'), Buffer.alloc(300_000, 'e'), new Uint8Array(0)];
    a.send(2, 'append', parts);
    a.send(2, 'beat');
    b.send(1, 'answer');
    await until(() => b.received.length === 2 && a.received.length === 1, 'all arrive');
    const append = b.received.find(({ head }) => head === 'append');
    expect(append?.from).toBe(1);
    expect(append?.body.map((part) => Buffer.from(part).toString('latin1'))).toEqual(parts.map((part) => Buffer.from(part).toString('latin1')));
    expect(a.received).toEqual([{ from: 2, head: 'answer', body: [] }]);
    expect(a.up.get(2)).toEqual({ nodeId: 2, incarnation: incarnationOf(2), rejoining: false });
    await until(() => a.transport.queuedBytes(2) === 0, 'the queue is empty');
    a.send(3, 'to nobody');
    a.send(1, 'to itself');
  });

  test('a message without body overtakes 64 MiB on their way', async () => {
    const [a, b] = await pair();
    await bothUp(a, b);
    const part = Buffer.alloc(64 * MiB, 'x');
    part.write('end', part.length - 3);
    a.send(2, 'bulk', [part]);
    expect(a.transport.queuedBytes(2)).toBeGreaterThan(32 * MiB);
    a.send(2, 'beat 1');
    await new Promise((resolve) => setTimeout(resolve, 1));
    a.send(2, 'beat 2');
    await until(() => b.received.length === 3, 'all arrive');
    expect(b.heads()).toEqual(['beat 1', 'beat 2', 'bulk']);
    expect(Buffer.compare(b.received[2]?.body[0] ?? Buffer.alloc(0), part)).toBe(0);
    expect(a.transport.queuedBytes(2)).toBe(0);
  });

  test('messages with bodies keep their order among themselves', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const [a, b] = await pair();
    await bothUp(a, b);
    const sizes = Array.from({ length: 200 }, () => prng.below(prng.pick([100, 10_000, 300_000])));
    for (const [i, size] of sizes.entries()) {
      if (a.transport.queuedBytes(2) > INFLIGHT_BYTES_MAX) await until(() => a.transport.queuedBytes(2) === 0, 'the queue drains');
      const head = Buffer.from(`${i}`);
      a.transport.send(2, head, [Buffer.alloc(size, i)]);
      head.fill('!');
    }
    await until(() => b.received.length === sizes.length, `all arrive (seed ${seed})`);
    expect(b.heads()).toEqual(sizes.map((_, i) => `${i}`));
    for (const [i, { body }] of b.received.entries()) {
      expect(body[0]?.length, `seed ${seed}`).toBe(sizes[i]);
      expect(body[0]?.every((byte) => byte === i % 256), `seed ${seed}, message ${i}`).toBe(true);
    }
  });

  test('connect again after one of them restarts, as the same or another incarnation', async () => {
    const [a, b, book] = await pair();
    await bothUp(a, b);
    b.transport.close();
    await until(() => !a.up.has(2), 'the loss is noticed');
    const again = await new Node(2, book).start();
    await bothUp(a, again);
    await getsThrough(a, again, 2, 'hello again');
    again.transport.close();
    const other = await new Node(2, book, { incarnation: incarnationOf(2, 9), rejoining: true }).start();
    await until(() => a.up.get(2)?.incarnation === incarnationOf(2, 9) && other.up.has(1), 'the new incarnation is up');
    expect(a.up.get(2)?.rejoining).toBe(true);
    await getsThrough(other, a, 1, 'from the new one');
  });

  test('learn of a changed rejoining flag', async () => {
    const [a, b] = await pair({}, { rejoining: true });
    await bothUp(a, b);
    expect(a.up.get(2)?.rejoining).toBe(true);
    b.transport.setRejoining(false);
    await until(() => a.up.get(2)?.rejoining === false && b.up.has(1), 'the flag arrives');
    expect(a.asked.at(-1)?.rejoining).toBe(false);
    await getsThrough(b, a, 1, 'after');
  });

  test('a peer that has gone silent is taken for gone, and found again', async () => {
    const book = await addressBook(2);
    const b = await new Node(2, book).start();
    const way = await proxy((book.get(2) as PeerAddress).port);
    const a = await new Node(1, new Map(book).set(2, { name: 'n2', host: '127.0.0.1', port: way.port })).start();
    await until(() => a.up.has(2), 'it connects');
    await new Promise((resolve) => setTimeout(resolve, 2 * TIMINGS.idleTimeoutMs));
    expect(a.up.has(2), 'an idle connection stays').toBe(true);
    expect(a.log.join('\n')).not.toMatch('not heard of');
    way.freeze();
    const frozenMs = performance.now();
    await until(() => !a.up.has(2), 'the silence is noticed');
    expect(performance.now() - frozenMs).toBeLessThan(TIMINGS.idleTimeoutMs + 500);
    way.thaw();
    await until(() => a.up.has(2), 'it connects again');
    await getsThrough(a, b, 2, 'found');
  });

  test('a queue that does not drain is bounded, and heartbeats still go beside it', async () => {
    const book = await addressBook(2);
    const b = await new Node(2, book).start();
    const way = await proxy((book.get(2) as PeerAddress).port);
    const timings = { ...TIMINGS, idleTimeoutMs: 60_000 };
    const a = await new Node(1, new Map(book).set(2, { name: 'n2', host: '127.0.0.1', port: way.port }), { timings }).start();
    await until(() => a.up.has(2), 'it connects');
    way.freeze();
    const part = Buffer.alloc(1 * MiB);
    for (let i = 0; i < 500; i++) a.send(2, 'bulk', [part]);
    const queued = a.transport.queuedBytes(2);
    expect(queued).toBeGreaterThan(INFLIGHT_BYTES_MAX);
    expect(queued).toBeLessThan(2 * INFLIGHT_BYTES_MAX + 4 * MiB);
    a.send(2, 'beat');
    expect(a.transport.queuedBytes(2)).toBeGreaterThan(queued);
    for (let i = 0; i < 2000; i++) a.send(2, 'h'.repeat(60_000));
    expect(a.transport.queuedBytes(2)).toBeLessThan(4 * INFLIGHT_BYTES_MAX + 8 * MiB);
    way.thaw();
    await until(() => !a.up.has(2) || a.transport.queuedBytes(2) === 0, 'the old queue goes');
    await until(() => a.up.has(2), 'it connects again');
    await getsThrough(a, b, 2, 'on');
  });

  test('a message over the limits is dropped with a log line', async () => {
    const [a, b] = await pair();
    await bothUp(a, b);
    a.send(2, 'h'.repeat(65_537));
    a.send(2, 'next');
    await until(() => b.received.length === 1, 'the next arrives');
    expect(b.heads()).toEqual(['next']);
    expect(a.log.join('\n')).toMatch(/message to peer dropped .*65537/);
  });
});

describe('who does not belong', () => {
  test('a wrong secret is refused in the log of both, rarely, and nobody is asked', async () => {
    const [a, b] = await pair({}, { clusterSecret: 'some other secret of a cluster' });
    const complaints = (node: Node): string[] => node.log.filter((line) => line.includes('cluster-secret differs'));
    await until(() => complaints(a).length > 0 && complaints(b).length > 0, 'both complain');
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const node of [a, b]) {
      expect(complaints(node).length).toBeLessThanOrEqual(2);
      expect(node.asked).toEqual([]);
      expect(node.up.size).toBe(0);
    }
  });

  test('another cluster’s node is refused with a text that names both', async () => {
    const [a, b] = await pair({}, { clusterId: 'c2' });
    await until(() => a.refusals.length > 0 && b.refusals.length > 0, 'both are told');
    expect(a.refusals[0]).toEqual([2, expect.stringMatching(/node 2 \(n2\) belongs to cluster c2, node 1 to cluster c1/)]);
    expect(b.refusals[0]).toEqual([1, expect.stringMatching(/node 1 \(n1\) belongs to cluster c1, node 2 to cluster c2/)]);
    expect(a.asked).toEqual([]);
  });

  test('a node that is not in the book is heard, if the receiver admits it, and answered once its address is known', async () => {
    const book = await addressBook(3);
    const a = await new Node(1, new Map([...book].filter(([id]) => id !== 3))).start();
    a.admission = (peer) => (peer.nodeId === 3 ? 'unknown here' : undefined);
    const c = await new Node(3, book).start();
    await until(() => c.refusals.length > 0, 'it is told');
    expect(c.refusals[0]).toEqual([1, 'unknown here']);
    expect(a.received).toEqual([]);
    a.admission = () => undefined;
    await getsThrough(c, a, 1, 'hello');
    expect(a.up.has(3)).toBe(false);
    a.transport.setPeers(book);
    await getsThrough(a, c, 3, 'and back');
  });

  test('a peer that is no longer in the book is left, one whose address changes is met there', async () => {
    const [a, b, book] = await pair();
    await bothUp(a, b);
    const port = await freePort();
    a.transport.setPeers(new Map([[1, book.get(1) as PeerAddress]]));
    expect(a.up.has(2)).toBe(false);
    a.send(2, 'nowhere');
    const other = await new Node(2, new Map(book).set(2, { name: 'n2', host: '127.0.0.1', port })).start();
    a.transport.setPeers(new Map(book).set(2, { name: 'n2', host: '127.0.0.1', port }));
    await getsThrough(a, other, 2, 'there');
    expect(b.heads()).toEqual([]);
  });

  test('an address that leads to another node is named', async () => {
    const book = await addressBook(3);
    await new Node(2, book).start();
    const a = await new Node(1, new Map(book).set(3, { ...(book.get(2) as PeerAddress), name: 'n3' })).start();
    await until(() => a.refusals.length > 0, 'it is told');
    expect(a.refusals[0]).toEqual([3, expect.stringMatching(/meant to reach node 3, but this is node 2 \(n2\)/)]);
    await until(() => a.up.has(2), 'the right address still connects');
  });

  test('an incarnation that one side does not admit: neither direction opens, the other is told', async () => {
    const book = await addressBook(2);
    const a = new Node(1, book);
    a.admission = (peer) => (peer.incarnation === incarnationOf(2) ? undefined : 'node 2 has another data directory');
    await a.start();
    const b = await new Node(2, book, { incarnation: incarnationOf(2, 9) }).start();
    // Once as the dialing side (b dialed a), once as the accepting side (a dialed b): the second comes from a's own admit.
    await until(() => b.refusals.length >= 2, 'b is told on both ways');
    expect(b.refusals.every(([from, text]) => from === 1 && text === 'node 2 has another data directory')).toBe(true);
    expect(a.log.filter((line) => line.startsWith('peer refused')).length).toBeGreaterThan(0);
    expect(a.log.filter((line) => line.startsWith('connection refused on the peer port')).length).toBeGreaterThan(0);
    b.send(1, 'x');
    a.send(2, 'x');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([a.up.size, b.up.size, a.received.length, b.received.length]).toEqual([0, 0, 0, 0]);
  });
});

describe('the peer port', () => {
  test('outlives garbage of every sort, and good peers do not notice', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const [a, b, book] = await pair();
    await bothUp(a, b);
    const { port } = book.get(1) as PeerAddress;
    const clients: ReturnType<typeof rawClient>[] = [];
    for (let i = 0; i < 150; i++) {
      const client = rawClient(port);
      clients.push(client);
      const bytes = Buffer.alloc(1 + prng.below(prng.pick([8, 300, 5000])));
      for (let at = 0; at < bytes.length; at++) bytes[at] = prng.uint32();
      // Garbage; a hello of impossible length; the beginning of one that never comes; nothing but the end.
      if (i % 5 === 1) bytes.fill(0xff, 0, Math.min(4, bytes.length));
      if (i % 5 === 2) client.socket.write(Buffer.from('54000100484f4c4450454552', 'hex'));
      else if (i % 5 === 3) client.socket.end();
      else client.socket.write(bytes);
      if (i % 5 === 4) client.socket.on('connect', () => client.socket.resetAndDestroy());
      a.send(2, `a${i}`);
      b.send(1, `b${i}`);
    }
    await until(() => clients.every((client) => client.closed()), `all are closed (seed ${seed})`);
    expect(clients.reduce((sum, client) => sum + client.bytes().length, 0), 'nothing is said to them').toBe(0);
    await until(() => a.received.length === 150 && b.received.length === 150, 'every message arrives');
    expect(a.transport.pendingConnections).toBe(0);
    expect([a.up.has(2), b.up.has(1)]).toEqual([true, true]);
  });

  test('ends a handshake that is fed a byte now and then', async () => {
    const [a, b, book] = await pair();
    await bothUp(a, b);
    const client = rawClient((book.get(1) as PeerAddress).port);
    const startMs = performance.now();
    const feed = setInterval(() => client.socket.write(Buffer.of(1)), 200);
    client.socket.write(Buffer.from('54000100', 'hex'));
    await until(() => client.closed(), 'it is closed');
    clearInterval(feed);
    expect(performance.now() - startMs).toBeGreaterThan(TIMINGS.handshakeTimeoutMs - 50);
    expect(performance.now() - startMs).toBeLessThan(TIMINGS.handshakeTimeoutMs + 1000);
  });

  test('holds no more than its number of unknown connections, and lets peers in beside them', async () => {
    const timings = { ...TIMINGS, handshakeTimeoutMs: 20_000 };
    const book = await addressBook(2);
    const a = await new Node(1, book, { timings }).start();
    const clients: ReturnType<typeof rawClient>[] = [];
    let most = 0;
    for (let i = 0; i < 500; i++) {
      clients.push(rawClient((book.get(1) as PeerAddress).port));
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, a.transport.pendingConnections);
    }
    await until(() => clients.filter((client) => client.closed()).length === 500 - PENDING_MAX, 'the oldest are dropped');
    expect(most).toBeLessThanOrEqual(PENDING_MAX);
    expect(a.transport.pendingConnections).toBe(PENDING_MAX);
    const b = await new Node(2, book).start();
    await bothUp(a, b);
    for (const client of clients) client.socket.destroy();
    await until(() => a.transport.pendingConnections === 0, 'the dropped are forgotten');
    expect(a.log.length).toBeLessThan(50);
  });

  test('a recorded conversation played again gets nowhere', async () => {
    const book = await addressBook(2);
    const b = await new Node(2, book).start();
    const way = await proxy((book.get(2) as PeerAddress).port);
    const a = await new Node(1, new Map(book).set(2, { name: 'n2', host: '127.0.0.1', port: way.port })).start();
    await until(() => a.up.has(2), 'it connects');
    a.send(2, 'secret order');
    await until(() => b.received.length > 0, 'the order arrives');
    const messages = b.received.length;
    const asked = b.asked.length;
    const client = rawClient((book.get(2) as PeerAddress).port);
    client.socket.write(Buffer.concat(way.recorded));
    await until(() => client.closed(), 'it is closed');
    expect(b.received.length).toBe(messages);
    expect(b.asked.length).toBe(asked);
    expect(a.up.has(2)).toBe(true);
  });

  test('invalid bytes from an admitted peer end that connection only, with a line that names peer and fault', async () => {
    const book = await addressBook(3);
    const b = await new Node(2, book).start();
    const c = await new Node(3, book).start();
    let spoil: Socket | undefined;
    const server = createServer((front) => {
      const back = connect((book.get(2) as PeerAddress).port, '127.0.0.1');
      spoil = back;
      front.on('error', () => {}).on('close', () => back.destroy()).on('data', (chunk) => back.write(chunk));
      back.on('error', () => {}).on('close', () => front.destroy()).on('data', (chunk) => front.write(chunk));
      closers.push(() => front.destroy());
    });
    closers.push(() => server.close());
    const a = await new Node(1, new Map(book).set(2, { name: 'n2', host: '127.0.0.1', port: await listen(server) })).start();
    await until(() => a.up.has(2) && c.up.has(2) && b.up.has(3), 'all connect');
    await getsThrough(a, b, 2, 'before');
    const losses = c.log.length;
    spoil?.write(Buffer.alloc(100, 0xee));
    await until(() => b.log.some((line) => /peer sent invalid bytes.*"nodeId":1,"fault":"frame/.test(line)), 'it is logged');
    await getsThrough(a, b, 2, 'after');
    expect(c.log.length).toBe(losses);
    expect(c.up.has(2)).toBe(true);
  });

  test('that is taken is an error with a code', async () => {
    const book = await addressBook(2);
    await new Node(1, book).start();
    await expect(new Node(1, book).transport.listen()).rejects.toMatchObject({ name: 'OperationalError', code: 'LISTEN' });
  });

  test('is not opened to others without a secret', async () => {
    expect(clusterSecretWarning('', '127.0.0.1')).toMatch('no cluster-secret');
    expect(clusterSecretWarning('', '::1')).toMatch('no cluster-secret');
    expect(() => clusterSecretWarning('', '0.0.0.0')).toThrow(OperationalError);
    expect(() => clusterSecretWarning('', '127.0.0.1.example.org')).toThrow(OperationalError);
    expect(clusterSecretWarning('short', '0.0.0.0')).toMatch('shorter');
    expect(clusterSecretWarning(SECRET, '0.0.0.0')).toBeUndefined();
    const [a, b] = await pair({ clusterSecret: '' }, { clusterSecret: '' });
    expect(a.transport.warning).toMatch('no cluster-secret');
    await bothUp(a, b);
  });
});

test('close ends everything and calls nobody any more', async () => {
  const [a, b] = await pair();
  await bothUp(a, b);
  b.send(1, 'last words');
  b.transport.close();
  await until(() => a.heads().includes('last words') && !a.up.has(2), 'the last words arrive');
  a.send(2, 'into the void');
  a.transport.close();
  const asked = a.asked.length;
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(a.asked.length).toBe(asked);
  expect(b.up.has(1)).toBe(true);
});
