// The pace at which pieces of snapshots are given out, on manual time.
import { expect, test } from 'vitest';
import type { ConsensusMessage } from '../../src/ports/link.ts';
import type { PieceAnswer, PieceRequest } from '../../src/ports/snapshot-pieces.ts';
import { PIECE_BYTES_MAX } from '../../src/ports/snapshot-pieces.ts';
import { PIECE_BYTES_PER_SECOND_MAX, PieceServer } from '../../src/replica/piece-server.ts';
import { StepClock } from './step-clock.ts';

const request: PieceRequest = { manifestKey: 'k', manifestSha256: 'ab'.repeat(32), part: 'data', from: 0, bytesMax: PIECE_BYTES_MAX };

function make() {
  const clock = new StepClock();
  const asked: number[] = [];
  const answered: [number, PieceAnswer][] = [];
  const state = { halted: false };
  const unreachable = (): void => expect.unreachable();
  const server: PieceServer = new PieceServer({
    clock,
    link: {
      onMessage: unreachable,
      send: (message: ConsensusMessage) => {
        if (message.type === 'piece-asked') asked.push(message.id);
      },
    },
    observers: { observe: unreachable, answer: unreachable, dropObserver: unreachable, answerPiece: (id, answer) => void answered.push([id, answer]) },
    isHalted: () => state.halted,
  });
  return { clock, asked, answered, server, state };
}

test('all who ask together get no more than the pace allows, in turn', () => {
  const { clock, asked, server } = make();
  let given = 0;
  for (const observer of [1, 2, 3]) server.ask(observer, request);
  for (let ms = 0; ms < 1000; ms++) {
    clock.pass(1);
    for (const observer of asked.splice(0)) {
      given += PIECE_BYTES_MAX;
      server.answered(observer, { bytes: new Uint8Array(1), totalBytes: 10 });
      server.ask(observer, request);
    }
  }
  expect(given / PIECE_BYTES_PER_SECOND_MAX).toBeGreaterThan(0.9);
  expect(given / PIECE_BYTES_PER_SECOND_MAX).toBeLessThan(1.1);
});

test('an idle server answers at once; an observer that is gone is not answered, nor one of a node that stops asked for', () => {
  const { clock, asked, answered, server, state } = make();
  server.ask(1, request);
  clock.pass(1);
  expect(asked).toEqual([1]);
  server.gone(1);
  server.answered(1, { absent: 'late' });
  expect(answered).toEqual([]);
  server.ask(2, request);
  server.gone(2);
  clock.pass(1000);
  expect(asked).toEqual([1]);
  state.halted = true;
  server.ask(3, request);
  clock.pass(1000);
  expect(asked).toEqual([1]);
});
