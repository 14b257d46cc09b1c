// A cluster of real processes for one test, in a directory of its own, gone when the test ends however it ends.
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { onTestFailed, onTestFinished } from 'vitest';
import { TestNode } from './node-process.ts';
import { ErrorReply, type Reply, type RespClient } from './resp.ts';
import { until } from './until.ts';

/** Below the range that the kernel gives to outgoing connections: such a one could take the port of a node that is down. */
const PORT_FIRST = 7800;
const PORT_LAST = 7899;
const PEER_PORT_OFFSET = 10_000;
let nextPort = PORT_FIRST + (process.pid % 50);

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = nextPort;
    nextPort = nextPort === PORT_LAST ? PORT_FIRST : nextPort + 1;
    if ((await isFree(port)) && (await isFree(port + PEER_PORT_OFFSET))) return port;
  }
  throw new Error(`no free port in ${PORT_FIRST}–${PORT_LAST}`);
}

/** A run of ports, for `holdfast local`. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const first = await freePort();
    let run = 1;
    while (run < count && first + run <= PORT_LAST && (await isFree(first + run)) && (await isFree(first + run + PEER_PORT_OFFSET))) run++;
    if (run === count) {
      nextPort = first + count > PORT_LAST ? PORT_FIRST : first + count;
      return first;
    }
  }
  throw new Error(`no ${count} free ports in a row in ${PORT_FIRST}–${PORT_LAST}`);
}

export function tempDir(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-e2e-'));
}

export interface ClusterOptions {
  readonly nodes?: number;
  /** For every node. */
  readonly directives?: readonly string[];
  /** For one node, by its place. */
  readonly nodeDirectives?: (place: number) => readonly string[];
  /** The data directory of a node, by its place, where it is not to be in the cluster's own directory. */
  readonly nodeDir?: (place: number, dir: string) => string;
  /** Do not wait until it is ready. */
  readonly cold?: boolean;
}

export class Cluster {
  readonly nodes: TestNode[];
  readonly #dir: string;

  constructor(dir: string, nodes: TestNode[]) {
    this.#dir = dir;
    this.nodes = nodes;
  }

  static async make(options: ClusterOptions = {}): Promise<Cluster> {
    const dir = tempDir();
    const count = options.nodes ?? 3;
    const places: { name: string; port: number; peerPort: number }[] = [];
    for (let i = 0; i < count; i++) {
      const port = await freePort();
      places.push({ name: `n${i + 1}`, port, peerPort: port + PEER_PORT_OFFSET });
    }
    const peers = places.map(({ name, port, peerPort }) => `${name}=127.0.0.1:${peerPort}/${port}`).join(',');
    const nodes = places.map(({ name, port, peerPort }, i) => {
      const nodeDir = options.nodeDir?.(i, dir) ?? path.join(dir, name);
      const directives = [
        '--node-id', name, '--port', String(port), '--bind', '127.0.0.1', '--dir', nodeDir,
        ...(count > 1 ? ['--peers', peers] : ['--peer-port', String(peerPort)]),
        ...(options.directives ?? []),
        ...(options.nodeDirectives?.(i) ?? []),
      ];
      return new TestNode({ name, host: '127.0.0.1', port, peerPort, dir: nodeDir, directives });
    });
    return new Cluster(dir, nodes);
  }

  /** One more node, with a configuration of its own that names no peers; it is neither made nor started. */
  async another(name: string, directives: readonly string[] = []): Promise<TestNode> {
    const port = await freePort();
    const peerPort = port + PEER_PORT_OFFSET;
    const dir = path.join(this.#dir, name);
    const node = new TestNode({
      name, host: '127.0.0.1', port, peerPort, dir,
      directives: ['--node-id', name, '--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--peer-port', String(peerPort), ...directives],
    });
    this.nodes.push(node);
    return node;
  }

  get dir(): string {
    return this.#dir;
  }

  node(place: number): TestNode {
    const node = this.nodes[place];
    if (node === undefined) throw new Error(`there is no node at place ${place}`);
    return node;
  }

  get alive(): TestNode[] {
    return this.nodes.filter((node) => node.alive);
  }

  async initAndStart(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.init()));
    for (const node of this.nodes) node.start();
    await this.waitReady();
  }

  async waitReady(timeoutMs = 30_000): Promise<void> {
    await Promise.all(this.alive.map((node) => node.waitReady(timeoutMs)));
  }

  /** The node that leads and knows that the others follow it. */
  async leader(timeoutMs = 10_000): Promise<TestNode> {
    return until(
      'a leader',
      async () => {
        const states = await Promise.all(this.alive.map(async (node) => ({ node, info: await node.info() })));
        const leading = states.filter(({ info }) => info.get('raft_state') === 'leader');
        leading.sort((a, b) => Number(b.info.get('raft_term')) - Number(a.info.get('raft_term')));
        return leading[0]?.node;
      },
      { timeoutMs },
    );
  }

  /** Hands the leadership to this node. */
  async lead(node: TestNode): Promise<void> {
    await until(
      `${node.name} to lead`,
      async () => {
        const leader = await this.leader();
        if (leader === node) return true;
        await leader.ask('HOLDFAST', 'TRANSFER', node.name);
        return undefined;
      },
      { timeoutMs: 15_000 },
    );
    await Promise.all(this.alive.map((one) => one.waitReady()));
  }

  async followers(): Promise<TestNode[]> {
    const leader = await this.leader();
    return this.alive.filter((node) => node !== leader);
  }

  /** Kills every process and removes the files. */
  async dispose(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill9()));
    fs.rmSync(this.#dir, { recursive: true, force: true });
  }

  logs(charsEach = 6000): string {
    return this.nodes.map((node) => `--- log of ${node.name}, its end:\n${node.output.slice(-charsEach)}`).join('\n');
  }

  /** Waits until these nodes have applied the same index, then demands that they hold the same keyspace; returns it. */
  async agree(alive: readonly TestNode[] = this.alive, timeoutMs = 60_000): Promise<{ index: number; dump: Map<string, string> }> {
    const { index, dumps } = await until(
      'all nodes to have applied the same index before and after they were dumped',
      async () => {
        const before = await Promise.all(alive.map((node) => node.appliedIndex()));
        const index = before[0] ?? -1;
        if (before.some((applied) => applied !== index)) throw new Error(`applied: ${before.join(', ')}`);
        const dumps = await Promise.all(alive.map((node) => dumpOf(node)));
        const after = await Promise.all(alive.map((node) => node.appliedIndex()));
        return after.every((applied) => applied === index) && { index, dumps };
      },
      { timeoutMs, everyMs: 50 },
    );
    const [first, ...others] = dumps;
    if (first === undefined) throw new Error('no node is alive');
    for (const [i, other] of others.entries()) {
      demandEqualDumps(first, other, `${alive[0]?.name} and ${alive[i + 1]?.name} at index ${index}`);
    }
    return { index, dump: first };
  }
}

function demandEqualDumps(a: Map<string, string>, b: Map<string, string>, who: string): void {
  const differences: string[] = [];
  for (const [key, value] of a) if (b.get(key) !== value) differences.push(`${key}: ${value.slice(0, 60)} / ${b.get(key)?.slice(0, 60)}`);
  for (const key of b.keys()) if (!a.has(key)) differences.push(`${key}: only in the second`);
  if (differences.length > 0) throw new Error(`the keyspaces of ${who} differ in ${differences.length} keys: ${differences.slice(0, 5).join('; ')}`);
}

/** Everything that a node holds, as it sees it: "db/key" → "deadline value". */
export async function dumpOf(node: TestNode): Promise<Map<string, string>> {
  return node.withClient(async (client) => {
    const dump = new Map<string, string>();
    await client.ask('READONLY');
    const keyspace = textOf(await client.ask('INFO', 'keyspace'));
    const databases = [...keyspace.matchAll(/^db(\d+):/gm)].map((match) => Number(match[1]));
    for (const db of databases) {
      await client.ask('SELECT', db);
      await dumpDatabase(client, db, dump);
    }
    return dump;
  });
}

/** The command that gives all of a value of this type, in an order that is the same on every node. */
const WHOLE: Readonly<Record<string, (key: string) => readonly (string | number)[]>> = {
  zset: (key) => ['ZRANGE', key, 0, -1, 'WITHSCORES'],
  hash: (key) => ['HGETALL', key],
};

async function dumpDatabase(client: RespClient, db: number, dump: Map<string, string>): Promise<void> {
  let cursor = '0';
  do {
    const page = (await client.ask('SCAN', cursor, 'COUNT', 1000)) as readonly [string, readonly string[]];
    cursor = page[0];
    const types = await client.pipeline(page[1].map((key) => ['TYPE', key]));
    const replies = await client.pipeline(page[1].flatMap((key, i) => [WHOLE[textOf(types[i])]?.(key) ?? ['GET', key], ['PEXPIRETIME', key]]));
    page[1].forEach((key, i) => dump.set(`${db}/${key}`, `${textOf(replies[2 * i + 1])} ${textOf(replies[2 * i])}`));
  } while (cursor !== '0');
}

const textOf = (reply: Reply | undefined): string => (reply instanceof ErrorReply ? reply.text : typeof reply === 'object' ? JSON.stringify(reply) : String(reply));

/** A cluster for the running test: ready, and gone with it; its logs are printed if the test fails. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await Cluster.make(options);
  onTestFailed(() => console.error(cluster.logs()));
  onTestFinished(() => cluster.dispose());
  if (options.cold !== true) await cluster.initAndStart();
  return cluster;
}
