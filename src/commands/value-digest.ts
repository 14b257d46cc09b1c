// The digest of a value apart from its key: for DEBUG DIGEST-VALUE. It goes by what a client can see of the value (type, elements,
// whether there is a deadline), never by the form it is kept in. 64 bits; tells a difference, not a forgery.
import { Lanes } from '../keyspace/digest.ts';
import type { Handle } from '../keyspace/database.ts';
import type { Keyspace } from '../keyspace/keyspace.ts';
import { ValueType } from '../keyspace/types.ts';

const element = new Lanes();
const scoreBits = new Uint32Array(2);
const scoreValue = new Float64Array(scoreBits.buffer);

function take(bytes: Uint8Array, start: number, end: number): void {
  element.word(end - start);
  for (let i = start; i < end; i++) element.word(bytes[i]!);
}

/** Adds the element that was taken to the sum: elements have no order, as fields and members have none. */
function add(sum: Lanes, type: ValueType): void {
  element.close(type);
  sum.low = (sum.low + element.low) | 0;
  sum.high = (sum.high + element.high) | 0;
  element.seed(0, 0);
}

function addHash(keyspace: Keyspace, key: Handle, sum: Lanes): void {
  const { hashes } = keyspace;
  hashes.walk(key);
  while (hashes.next()) {
    const field = hashes.field();
    take(field.bytes, field.start, field.end);
    const value = hashes.value();
    take(value.bytes, value.start, value.end);
    add(sum, ValueType.hash);
  }
}

function addZset(keyspace: Keyspace, key: Handle, sum: Lanes): void {
  const { view } = keyspace.zsets;
  view.open(key);
  for (view.seek(0); view.valid; view.next()) {
    view.load();
    take(view.memberBytes, view.memberStart, view.memberEnd);
    // A listpack keeps no sign of a zero, a tree does.
    scoreValue[0] = view.score + 0;
    element.word(scoreBits[0]!);
    element.word(scoreBits[1]!);
    add(sum, ValueType.zset);
  }
}

function addString(keyspace: Keyspace, key: Handle, sum: Lanes): void {
  const { bytes, start, end } = keyspace.stringSpan(key);
  take(bytes, start, end);
  add(sum, ValueType.string);
}

/** 40 hexadecimal digits, as Redis's SHA-1 has, the first 24 of them zeros; all zeros where there is no key (`key` is 0). */
export function valueDigest(keyspace: Keyspace, key: Handle): string {
  const sum = new Lanes();
  element.seed(0, 0);
  if (key !== 0) {
    const type = keyspace.type(key);
    if (type === ValueType.hash) addHash(keyspace, key, sum);
    else if (type === ValueType.zset) addZset(keyspace, key, sum);
    else addString(keyspace, key, sum);
    if (keyspace.expiryMs(key) !== -1) sum.word(1);
  }
  const hex = (lane: number): string => (lane >>> 0).toString(16).padStart(8, '0');
  return (hex(sum.high) + hex(sum.low)).padStart(40, '0');
}
