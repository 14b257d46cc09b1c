// The models of the rate limiter and inventory tests find what is wrong.
import { describe, expect, test } from 'vitest';
import { GOLD, initialFields, itemName, ledgerFaults, PLAYERS, totalsFaults, transferText, type Transfer } from '../e2e/lib/inventory-model.ts';
import { mostInWindow } from '../e2e/lib/sliding-window.ts';

test('the most in any window, both ends included, whatever the order', () => {
  expect(mostInWindow([], 100)).toBe(0);
  expect(mostInWindow([5, 5, 5], 0)).toBe(3);
  expect(mostInWindow([300, 0, 101, 100, 200], 100)).toBe(3);
  expect(mostInWindow([0, 101, 202], 100)).toBe(1);
  expect(mostInWindow([0, 100], 100)).toBe(2);
});

describe('inventories', () => {
  const ITEM = itemName(1, 3);
  const gold: Transfer = { kind: 'gold', from: 2, to: 3, amount: 10 };
  const item: Transfer = { kind: 'item', from: 1, to: 4, item: ITEM };

  interface Game {
    readonly players: Record<string, string>[];
    readonly ledger: Record<string, string>;
  }

  /** After one transfer of each kind; `spoil` breaks it. */
  function game(spoil: (game: Game) => void = () => undefined): Game {
    const players = Array.from({ length: PLAYERS }, (_, player) => initialFields(player));
    const at = (player: number): Record<string, string> => players[player] ?? {};
    at(2)['gold'] = String(GOLD - 10);
    at(3)['gold'] = String(GOLD + 10);
    at(4)[ITEM] = at(1)[ITEM] ?? '';
    delete at(1)[ITEM];
    const made = { players, ledger: { a: transferText(gold), b: transferText(item) } };
    spoil(made);
    return made;
  }

  const faultsOf = ({ players, ledger }: Game, acked = ['a', 'b'], unknown: string[] = []): string[] => [
    ...totalsFaults(players),
    ...ledgerFaults(players, ledger, new Set(acked), new Set(unknown)),
  ];

  test('nothing is wrong with what is right', () => {
    expect(faultsOf(game())).toEqual([]);
    expect(faultsOf(game(), ['a'], ['b', 'c'])).toEqual([]);
  });

  test.each<[string, (game: Game) => void, RegExp]>([
    ['gold lost', ({ players }) => (players[3]!['gold'] = String(GOLD)), /gold instead of/],
    ['gold moved that nobody moved', ({ players }) => ((players[5]!['gold'] = String(GOLD - 1)), (players[6]!['gold'] = String(GOLD + 1))), /player 5 has 999 gold and the ledger says 1000/],
    ['a debt', ({ players }) => (players[5]!['gold'] = '-1'), /player 5 has -1 gold/],
    ['an item lost', ({ players }) => delete players[4]![ITEM], /item:1\.3 is nowhere/],
    ['an item twice', ({ players }) => (players[1]![ITEM] = players[4]![ITEM] ?? ''), /item:1\.3 is with players 1 and 4/],
    ['an item spoiled', ({ players }) => (players[4]![ITEM] = 'rust'), /item:1\.3 of player 4 is rust/],
    ['an acknowledged transfer that is not there', ({ ledger }) => delete ledger['a'], /transfer a was acknowledged/],
    ['a refused transfer that is there', ({ ledger }) => (ledger['c'] = transferText(gold)), /transfer c is in the ledger/],
  ])('%s', (_, spoil, fault) => {
    expect(faultsOf(game(spoil)).join('\n')).toMatch(fault);
  });
});
