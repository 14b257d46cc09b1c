import { describe, expect, test } from 'vitest';
import { HANDSHAKE_BYTES_MAX, Handshake, type HandshakeOptions, type HandshakeOutcome } from '../../src/adapters/peer-handshake.ts';
import { Prng } from '../../src/base/prng.ts';
import type { PeerIdentity } from '../../src/ports/transport.ts';

const SECRET = 'a long enough secret of the cluster';

class Side {
  outcome: HandshakeOutcome = { kind: 'pending' };
  sent: Buffer = Buffer.alloc(0);
  readonly asked: PeerIdentity[] = [];
  readonly handshake: Handshake;
  #taken = 0;

  constructor(nodeId: number, meantId: number, overrides: Partial<HandshakeOptions['self']> & { secret?: string; refusal?: string } = {}) {
    const { secret, refusal, ...self } = overrides;
    const options: HandshakeOptions = {
      self: { nodeId, name: `n${nodeId}`, clusterId: 'c1', incarnation: `0${nodeId}`.repeat(16), rejoining: false, ...self },
      secret: secret ?? SECRET,
      admit: (peer) => {
        this.asked.push(peer);
        return refusal;
      },
    };
    this.handshake = new Handshake(options, meantId, (bytes) => (this.sent = Buffer.concat([this.sent, bytes])));
  }

  /** What was sent since the last call. */
  take(): Buffer {
    const bytes = this.sent.subarray(this.#taken);
    this.#taken = this.sent.length;
    return bytes;
  }

  push(bytes: Uint8Array): void {
    if (this.outcome.kind === 'pending' && bytes.length > 0) this.outcome = this.handshake.push(bytes);
  }
}

/** Carries bytes to and fro until neither side has more to say. */
function converse(dialer: Side, acceptor: Side, carry = (to: Side, bytes: Buffer): void => to.push(bytes)): void {
  for (let quiet = 0; quiet < 2; ) {
    const out = dialer.take();
    carry(acceptor, out);
    const back = acceptor.take();
    carry(dialer, back);
    quiet = out.length + back.length === 0 ? quiet + 1 : 0;
  }
}

describe('a handshake', () => {
  test('opens, and tells each side who the other is', () => {
    const dialer = new Side(1, 2, { rejoining: true });
    const acceptor = new Side(2, 0);
    converse(dialer, acceptor);
    expect(dialer.outcome).toMatchObject({ kind: 'open', peer: { nodeId: 2, incarnation: '02'.repeat(16), rejoining: false } });
    expect(acceptor.outcome).toMatchObject({ kind: 'open', peer: { nodeId: 1, incarnation: '01'.repeat(16), rejoining: true } });
    expect(dialer.asked).toHaveLength(1);
    expect(acceptor.asked).toHaveLength(1);
    expect(dialer.sent.length).toBeLessThan(HANDSHAKE_BYTES_MAX);
  });

  test('opens byte by byte', () => {
    const dialer = new Side(1, 2);
    const acceptor = new Side(2, 0);
    converse(dialer, acceptor, (to, bytes) => {
      for (const byte of bytes) to.push(Uint8Array.of(byte));
    });
    expect([dialer.outcome.kind, acceptor.outcome.kind]).toEqual(['open', 'open']);
  });

  test.each([0, 1, 5000])('hands on the %i bytes that follow it in the same chunk', (length) => {
    const dialer = new Side(1, 2);
    const acceptor = new Side(2, 0);
    const following = Buffer.alloc(length, 'f');
    converse(dialer, acceptor, (to, bytes) => to.push(dialer.outcome.kind === 'open' ? Buffer.concat([bytes, following]) : bytes));
    if (acceptor.outcome.kind !== 'open') expect.fail(acceptor.outcome.kind);
    expect(Buffer.compare(acceptor.outcome.rest, following)).toBe(0);
  });

  test('fails on both sides when secrets differ, before either is asked to admit', () => {
    const dialer = new Side(1, 2, { secret: 'another secret' });
    const acceptor = new Side(2, 0);
    converse(dialer, acceptor);
    for (const side of [dialer, acceptor]) {
      expect(side.outcome).toMatchObject({ kind: 'failed', fault: 'secret', text: expect.stringContaining('cluster-secret differs') as string });
      expect(side.asked).toEqual([]);
    }
  });

  test('does not open for an acceptor that skips the proof, or sends the dialer’s own back', () => {
    for (const proofOf of [() => Buffer.alloc(32), (proof: Buffer) => proof]) {
      const dialer = new Side(1, 2);
      const acceptor = new Side(2, 0, { secret: 'unknown' });
      acceptor.push(dialer.take());
      dialer.push(acceptor.take());
      const proof = dialer.take().subarray(4);
      dialer.push(Buffer.concat([Buffer.from([33, 0, 4, 0]), proofOf(proof), Buffer.from([0])]));
      expect(dialer.outcome).toMatchObject({ kind: 'failed', fault: 'secret' });
      expect(dialer.asked).toEqual([]);
    }
  });

  test('cannot be replayed', () => {
    const dialer = new Side(1, 2);
    converse(dialer, new Side(2, 0));
    const again = new Side(2, 0);
    again.push(Buffer.from(dialer.sent));
    expect(again.outcome).toMatchObject({ kind: 'failed', fault: 'secret' });
    expect(again.asked).toEqual([]);
  });

  test('fails if any byte of hello or challenge is altered on the way', () => {
    const helloBytes = new Side(1, 2).sent.length;
    for (let at = 0; at < helloBytes; at++) {
      for (const toAcceptor of [true, false]) {
        const dialer = new Side(1, 2);
        const acceptor = new Side(2, 0);
        let altered = false;
        converse(dialer, acceptor, (to, bytes) => {
          if (!altered && bytes.length > at && (to === acceptor) === toAcceptor) {
            altered = true;
            bytes[at] = (bytes[at] as number) ^ 1;
          }
          to.push(bytes);
        });
        expect([altered, dialer.outcome.kind === 'open', acceptor.outcome.kind === 'open'], `byte ${at}`).toEqual([true, false, false]);
      }
    }
  });

  test.each<[string, Side, Side, RegExp]>([
    ['cluster ids differ', new Side(1, 2, { clusterId: 'c2' }), new Side(2, 0), /cluster ids differ: node 2 \(n2\) belongs to cluster c1, node 1 to cluster c2/],
    ['the address is another node’s', new Side(1, 3), new Side(2, 0), /node 1 meant to reach node 3, but this is node 2/],
    ['both have one id', new Side(2, 3), new Side(2, 0), /both sides are node 2/],
    ['the acceptor does not admit', new Side(1, 2), new Side(2, 0, { refusal: 'other incarnation' }), /^other incarnation$/],
  ])('is refused with a text for both when %s', (_name, dialer, acceptor, text) => {
    converse(dialer, acceptor);
    expect(acceptor.outcome).toMatchObject({ kind: 'failed', fault: 'refused-by-us', text: expect.stringMatching(text) as string });
    expect(dialer.outcome).toMatchObject({ kind: 'failed', fault: 'refused-by-peer', text: expect.stringMatching(text) as string });
  });

  test('is refused when the dialer does not admit, and the acceptor hears it', () => {
    const dialer = new Side(1, 2, { refusal: 'no\nthanks\x1b' });
    const acceptor = new Side(2, 0);
    converse(dialer, acceptor);
    expect(dialer.outcome).toMatchObject({ fault: 'refused-by-us' });
    expect(acceptor.outcome).toMatchObject({ fault: 'refused-by-peer', nodeId: 1, text: 'no?thanks?' });
  });

  test('does not compare the id of a cluster that is not known yet', () => {
    const dialer = new Side(1, 2, { clusterId: '' });
    const acceptor = new Side(2, 0);
    converse(dialer, acceptor);
    expect([dialer.outcome.kind, acceptor.outcome.kind]).toEqual(['open', 'open']);
  });

  test('says so when releases cannot talk with each other', () => {
    const dialer = new Side(1, 2);
    const acceptor = new Side(2, 0);
    const hello = Buffer.from(dialer.take());
    hello.writeUInt16LE(9, 4 + 8);
    acceptor.push(hello);
    dialer.push(acceptor.take());
    expect(acceptor.outcome).toMatchObject({ fault: 'version', text: expect.stringContaining('version 9') as string });
    expect(dialer.outcome).toMatchObject({ fault: 'version' });
  });

  test('fails on random bytes, with little said in return', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    for (let round = 0; round < 500; round++) {
      const acceptor = new Side(2, 0);
      for (let i = 0; i < 20 && acceptor.outcome.kind === 'pending'; i++) {
        const bytes = Buffer.alloc(1 + prng.below(200));
        for (let at = 0; at < bytes.length; at++) bytes[at] = prng.uint32();
        acceptor.push(bytes);
      }
      expect(acceptor.outcome, `seed ${seed}`).toMatchObject({ kind: 'failed', fault: 'malformed' });
      expect(acceptor.sent.length).toBe(0);
    }
  });

  test('ends at its limit even if no message is ever complete', () => {
    const acceptor = new Side(2, 0);
    acceptor.push(Buffer.from([0xfc, 0x03, 1, 0]));
    for (let i = 0; i < HANDSHAKE_BYTES_MAX - 5; i++) acceptor.push(Buffer.of(0));
    expect(acceptor.outcome.kind).toBe('pending');
    acceptor.push(Buffer.of(0));
    expect(acceptor.outcome).toMatchObject({ kind: 'failed', fault: 'malformed' });
  });
});
