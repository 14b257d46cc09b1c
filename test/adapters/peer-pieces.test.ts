// Pieces of snapshots over the real peer port: who is asked, what is believed of the answers, and what a member takes as a request.
import { connect } from 'node:net';
import { Packr } from 'msgpackr';
import { afterEach, describe, expect, test } from 'vitest';
import { NodeEntropy } from '../../src/adapters/node-entropy.ts';
import { encodeMessage } from '../../src/adapters/peer-frame.ts';
import { ANY_MEMBER, Handshake } from '../../src/adapters/peer-handshake.ts';
import { PeerPieces } from '../../src/adapters/peer-pieces.ts';
import { decodePieceAnswer, encodePieceAnswer, encodePieceRequest } from '../../src/adapters/piece-messages.ts';
import { TcpPeers } from '../../src/adapters/tcp-peers.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Logger } from '../../src/ports/logger.ts';
import { PIECE_BYTES_MAX, type PieceAnswer, type PieceRequest } from '../../src/ports/snapshot-pieces.ts';

const SECRET = 'a long enough secret of the cluster';
const packr = new Packr({ useRecords: false, int64AsType: 'number' });
const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const request: PieceRequest = { manifestKey: 'cluster-c/snapshots/1/manifest.json', manifestSha256: 'ab'.repeat(32), part: 'data', from: 0, bytesMax: PIECE_BYTES_MAX };

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

class Member {
  readonly name: string;
  readonly host = '127.0.0.1';
  port = 0;
  readonly asked: PieceRequest[] = [];
  /** undefined: it never answers. */
  answer: (asked: PieceRequest) => PieceAnswer | undefined;
  transport!: TcpPeers;

  constructor(name: string, answer: (asked: PieceRequest) => PieceAnswer | undefined) {
    this.name = name;
    this.answer = answer;
  }

  async start(): Promise<this> {
    this.transport = new TcpPeers({
      nodeId: 1, name: this.name, clusterId: 'c', incarnation: '01'.repeat(16), rejoining: false, clusterSecret: SECRET,
      peers: new Map(), listenPort: 0, timings: { idleTimeoutMs: 600, handshakeTimeoutMs: 500 }, entropy: new NodeEntropy(), logger: silent,
    });
    closers.push(() => this.transport.close());
    this.transport.observe({
      admit: () => undefined,
      fetch: () => expect.unreachable(),
      piece: (observer, asked) => {
        this.asked.push(asked);
        const answer = this.answer(asked);
        if (answer !== undefined) this.transport.answerPiece(observer, answer);
      },
      gone: () => undefined,
    });
    this.port = await this.transport.listen();
    this.transport.start({ admit: () => 'no peers', connected: () => undefined, disconnected: () => undefined, message: () => undefined, refused: () => undefined });
    return this;
  }
}

const started = (name: string, answer: Member['answer']): Promise<Member> => new Member(name, answer).start();
const nowhere = { name: 'gone', host: '127.0.0.1', port: 1 };
const from = (content: Uint8Array) => ({ from: at, bytesMax }: PieceRequest): PieceAnswer => ({ bytes: content.slice(at, at + bytesMax), totalBytes: content.length });

function reader(members: readonly { name: string; host: string; port: number }[]): PeerPieces {
  const pieces = new PeerPieces({ members: () => members, clusterSecret: SECRET, clusterId: 'c', name: 'node n9', logger: silent, timings: { handshakeTimeoutMs: 500, idleTimeoutMs: 400, answerTimeoutMs: 300 } });
  closers.push(() => pieces.close());
  return pieces;
}

const failure = async (reading: Promise<unknown>): Promise<OperationalError> => {
  const thrown: unknown = await reading.then(() => expect.unreachable(), (error: unknown) => error);
  expect(thrown).toBeInstanceOf(OperationalError);
  return thrown as OperationalError;
};

describe('a node that asks its peers', () => {
  test('gets all of a part, a piece at a time, on one connection', async () => {
    const content = Buffer.alloc(3 * PIECE_BYTES_MAX + 17);
    for (let at = 0; at < content.length; at += 4) content.writeUInt32LE(at % 2 ** 32, Math.min(at, content.length - 4));
    const member = await started('n1', from(content));
    const pieces = reader([member]);
    expect(pieces.hasPeers).toBe(true);
    const got: Uint8Array[] = [];
    for (let at = 0; at < content.length; at += got.at(-1)!.length) got.push((await pieces.read({ ...request, from: at })).bytes);
    expect(Buffer.concat(got).equals(content)).toBe(true);
    expect(member.asked.map(({ from: at }) => at)).toEqual([0, 1, 2, 3].map((n) => n * PIECE_BYTES_MAX));
    expect((await pieces.read({ ...request, from: 5, bytesMax: 7 })).bytes).toEqual(content.subarray(5, 12));
  });

  test('goes on with the one that has it, past those that are gone, silent, or do not have it', async () => {
    const content = Buffer.from('0123456789');
    const [without, mute, has] = [await started('n1', () => ({ absent: 'it has not found this snapshot' })), await started('n2', () => undefined), await started('n3', from(content))];
    const pieces = reader([nowhere, without, mute, has]);
    expect(Buffer.from((await pieces.read(request)).bytes).toString()).toBe('0123456789');
    await pieces.read({ ...request, from: 5 });
    expect([without.asked.length, mute.asked.length, has.asked.length]).toEqual([1, 1, 2]);
    // Where it breaks off, whoever else has it goes on.
    has.transport.close();
    without.answer = from(content);
    expect(Buffer.from((await pieces.read({ ...request, from: 8 })).bytes).toString()).toBe('89');
  });

  test('hears that nobody has it, or that not all could be asked', async () => {
    const [a, b] = [await started('n1', () => ({ absent: 'no' })), await started('n2', () => ({ absent: 'nor here' }))];
    const nobody = await failure(reader([a, b]).read(request));
    expect([nobody.code, nobody.message]).toEqual(['OBJECT_NOT_FOUND', expect.stringMatching(/n1: no; n2: nor here/)]);
    expect((await failure(reader([a, nowhere]).read(request))).code).toBe('PEER');
    const alone = reader([]);
    expect(alone.hasPeers).toBe(false);
    expect((await failure(alone.read(request))).message).toMatch(/there is none to ask/);
  });

  test('does not ask again whom it distrusts, until it begins anew', async () => {
    const [bad, good] = [await started('n1', from(Buffer.from('bad'))), await started('n2', from(Buffer.from('yes')))];
    const pieces = reader([bad, good]);
    const text = async (): Promise<string> => Buffer.from((await pieces.read(request)).bytes).toString();
    expect(await text()).toBe('bad');
    pieces.distrust();
    expect([await text(), await text()]).toEqual(['yes', 'yes']);
    pieces.distrust();
    expect((await failure(pieces.read(request))).code).toBe('PEER');
    pieces.close();
    expect(await text()).toBe('bad');
  });

  test('another secret or cluster gives nothing', async () => {
    const member = await started('n1', from(Buffer.from('secret')));
    for (const wrong of [{ clusterSecret: 'another long secret altogether' }, { clusterId: 'other' }]) {
      const pieces = new PeerPieces({ members: () => [member], clusterSecret: SECRET, clusterId: 'c', name: 'x', logger: silent, ...wrong });
      expect((await failure(pieces.read(request))).code).toBe('PEER');
    }
    expect(member.asked).toEqual([]);
  });
});

describe('answers that are not believed', () => {
  const answered = (answer: PieceAnswer, asked: Partial<PieceRequest> = {}): PieceAnswer | string => {
    const { head, body } = encodePieceAnswer(answer);
    return decodePieceAnswer(head, body, { ...request, ...asked });
  };

  test('more than was asked for, beyond the end, nothing where there is something', () => {
    expect(answered({ bytes: new Uint8Array(11), totalBytes: 100 }, { bytesMax: 10 })).toMatch(/it sent 11 bytes/);
    expect(answered({ bytes: new Uint8Array(11), totalBytes: 100 }, { from: 90 })).toMatch(/from 90 of 100/);
    expect(answered({ bytes: new Uint8Array(0), totalBytes: 100 })).toMatch(/it sent 0 bytes/);
    expect(answered({ bytes: new Uint8Array(0), totalBytes: 0 })).toEqual({ bytes: new Uint8Array(0), totalBytes: 0 });
    expect(answered({ bytes: new Uint8Array(10), totalBytes: 100 }, { from: 90 })).toEqual({ bytes: new Uint8Array(10), totalBytes: 100 });
  });

  test('a flipped bit, and what is no answer', () => {
    const { head, body } = encodePieceAnswer({ bytes: Uint8Array.of(1, 2, 3), totalBytes: 3 });
    expect(decodePieceAnswer(head, [Uint8Array.of(1, 2, 2)], request)).toMatch(/CRC-32C/);
    expect(decodePieceAnswer(head, [], request)).toMatch(/0 bytes/);
    for (const fields of [[9], [6, 1, 1, ''], [9, -1, 0, ''], [9, 1.5, 0, ''], [9, 3, 'x', ''], [9, 3, 0, 7], 'text']) {
      expect(typeof decodePieceAnswer(packr.pack(fields), body, request)).toBe('string');
    }
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    for (let i = 0; i < 500; i++) {
      const bytes = Uint8Array.from({ length: prng.below(30) }, () => prng.below(256));
      const answer = decodePieceAnswer(bytes, [bytes], request);
      expect(typeof answer === 'string' || 'absent' in answer, `seed ${seed}`).toBe(true);
    }
  });
});

/** An observer in the hands of the test; resolves when it is through the handshake. */
async function observer(port: number): Promise<{ send: (head: Uint8Array) => void; closed: Promise<void> }> {
  const socket = connect(port, '127.0.0.1');
  closers.push(() => socket.destroy());
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => void socket.on('close', () => resolve()));
  const self = { nodeId: 0, name: 'raw', clusterId: '', incarnation: '0'.repeat(32), rejoining: false, observer: true };
  const handshake = new Handshake({ self, secret: SECRET, admit: () => undefined }, ANY_MEMBER, (out) => void socket.write(out));
  await new Promise<void>((resolve) => {
    let open = false;
    socket.on('data', (chunk) => {
      if (open || handshake.push(chunk).kind !== 'open') return;
      open = true;
      resolve();
    });
  });
  return { send: (head) => void socket.write(encodeMessage(head)), closed };
}

describe('a member ends the connection of whoever asks', () => {
  const SHA = 'ab'.repeat(32);
  const heads: [string, unknown[]][] = [
    ['for a path', [8, '../../identity.json', SHA, 2, 0, 10]],
    ['for an absolute path', [8, '/etc/passwd', SHA, 2, 0, 10]],
    ['with no checksum', [8, 'k', 'ab', 2, 0, 10]],
    ['for a part that there is not', [8, 'k', SHA, 3, 0, 10]],
    ['from below 0', [8, 'k', SHA, 2, -1, 10]],
    ['from 2^53', [8, 'k', SHA, 2, 2 ** 53, 10]],
    ['for nothing', [8, 'k', SHA, 2, 0, 0]],
    ['for too much', [8, 'k', SHA, 2, 0, PIECE_BYTES_MAX + 1]],
    ['for a fraction', [8, 'k', SHA, 2, 0.5, 10]],
    ['with more fields', [8, 'k', SHA, 2, 0, 10, 1]],
    ['with a long key', [8, 'k'.repeat(600), SHA, 2, 0, 10]],
  ];
  test.each(heads)('%s', async (_what, fields) => {
    const member = await started('n1', () => expect.unreachable());
    const { send, closed } = await observer(member.port);
    send(packr.pack(fields));
    await closed;
    expect(member.asked).toEqual([]);
  });

  test('a second time before the answer', async () => {
    const member = await started('n1', () => undefined);
    const { send, closed } = await observer(member.port);
    send(encodePieceRequest(request));
    send(encodePieceRequest(request));
    await closed;
    expect(member.asked).toHaveLength(1);
  });
});
