// Players' inventories as the tests keep them, one hash a player, and what must hold of them at any moment: no I/O here.
//
// A hash has `gold`, one field a unique item (`item:…`, its value is what it is), and `xp:W` that only writer W adds to. Each
// transfer also writes itself into the hash `ledger` in the same transaction: so an outcome that the client never heard is
// found there in the end, and the ledger adds up to what every player holds.

export const PLAYERS = 12;
/** One player holds a vault: more than the packed form of a hash takes. */
export const VAULT_ITEMS = 650;
export const OTHER_ITEMS = 25;
export const GOLD = 1000;
export const LEDGER = 'ledger';

export type Fields = Readonly<Record<string, string>>;

export const playerKey = (player: number): string => `player:${player}`;
export const itemsOf = (player: number): number => (player === 0 ? VAULT_ITEMS : OTHER_ITEMS);
export const itemName = (player: number, i: number): string => `item:${player}.${i}`;
/** Some are too long for the packed form. */
export const itemValue = (item: string): string => (item.endsWith('.7') ? `${item} ${'of legend '.repeat(12)}` : `sword ${item}`);

export function initialFields(player: number): Record<string, string> {
  const items = Array.from({ length: itemsOf(player) }, (_, i) => itemName(player, i)).filter((item) => player === 0 || !item.endsWith('.7'));
  return { gold: String(GOLD), ...Object.fromEntries(items.map((item) => [item, itemValue(item)])) };
}

export type Transfer =
  | { readonly kind: 'gold'; readonly from: number; readonly to: number; readonly amount: number }
  | { readonly kind: 'item'; readonly from: number; readonly to: number; readonly item: string };

export const transferText = (transfer: Transfer): string => JSON.stringify(transfer);

/** Of all hashes at one moment: gold that was made or lost, debts, items that are nowhere or in two places. */
export function totalsFaults(players: readonly Fields[]): string[] {
  const faults: string[] = [];
  const gold = players.map((fields) => Number(fields['gold']));
  const sum = gold.reduce((a, b) => a + b, 0);
  if (sum !== players.length * GOLD) faults.push(`${sum} gold instead of ${players.length * GOLD}: ${gold.join(' ')}`);
  gold.forEach((own, player) => {
    if (!(own >= 0)) faults.push(`player ${player} has ${own} gold`);
  });
  const holders = new Map<string, number[]>();
  players.forEach((fields, player) => {
    for (const [field, value] of Object.entries(fields)) {
      if (!field.startsWith('item:')) continue;
      holders.set(field, [...(holders.get(field) ?? []), player]);
      if (value !== itemValue(field)) faults.push(`${field} of player ${player} is ${value.slice(0, 40)}`);
    }
  });
  for (const [player] of players.entries()) {
    for (const item of Object.keys(initialFields(player)).filter((field) => field !== 'gold')) if (!holders.has(item)) faults.push(`${item} is nowhere`);
  }
  for (const [item, of] of holders) if (of.length > 1) faults.push(`${item} is with players ${of.join(' and ')}`);
  return faults;
}

/** Of the ledger and the hashes at one moment, and what the clients were told. */
export function ledgerFaults(players: readonly Fields[], ledger: Fields, acked: ReadonlySet<string>, unknown: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  for (const id of acked) if (ledger[id] === undefined) faults.push(`transfer ${id} was acknowledged and is not in the ledger`);
  for (const id of Object.keys(ledger)) if (!acked.has(id) && !unknown.has(id)) faults.push(`transfer ${id} is in the ledger and was refused, conflicted or never made`);
  const gold = players.map(() => GOLD);
  const moved = new Map<string, number[]>();
  for (const text of Object.values(ledger)) {
    const transfer = JSON.parse(text) as Transfer;
    if (transfer.kind === 'gold') {
      gold[transfer.from] = (gold[transfer.from] ?? 0) - transfer.amount;
      gold[transfer.to] = (gold[transfer.to] ?? 0) + transfer.amount;
    } else {
      const balance = moved.get(transfer.item) ?? players.map(() => 0);
      balance[transfer.from] = (balance[transfer.from] ?? 0) - 1;
      balance[transfer.to] = (balance[transfer.to] ?? 0) + 1;
      moved.set(transfer.item, balance);
    }
  }
  players.forEach((fields, player) => {
    if (Number(fields['gold']) !== gold[player]) faults.push(`player ${player} has ${fields['gold']} gold and the ledger says ${gold[player]}`);
  });
  for (const [item, balance] of moved) {
    const first = Number(item.slice('item:'.length).split('.')[0]);
    players.forEach((fields, player) => {
      const count = (player === first ? 1 : 0) + (balance[player] ?? 0);
      if (count !== Number(fields[item] !== undefined)) faults.push(`${item} is ${fields[item] === undefined ? 'not ' : ''}with player ${player} and the ledger says ${count}`);
    });
  }
  return faults;
}
