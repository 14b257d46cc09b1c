// Listpacks against a plain array, and their bytes against redis-server's: DUMP of a packed hash is an RDB type byte, a string
// length, the listpack, and 10 bytes of version and checksum.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { isListpack, Listpack, LISTPACK_EMPTY_BYTES, writeEmptyListpack } from '../../src/memory/listpack.ts';
import { Oracle, oracleMissing } from '../commands/oracle.ts';

const fresh = Math.floor(Math.random() * 2 ** 32);
/** So that offsets matter. */
const AT = 13;

function emptyList(room: number): Listpack {
  const list = new Listpack();
  const bytes = new Uint8Array(AT + room + 4).fill(0xee);
  writeEmptyListpack(bytes, AT);
  list.open(bytes, AT, room);
  return list;
}

const bytesOf = (list: Listpack): Buffer => Buffer.from(list.bytes.subarray(list.start, list.start + list.totalBytes));

function textAt(list: Listpack, p: number): string {
  list.read(p);
  expect(list.textBytes(p)).toBe(list.valueEnd - list.valueStart);
  return Buffer.from(list.valueBytes.subarray(list.valueStart, list.valueEnd)).toString('latin1');
}

function contents(list: Listpack): string[] {
  const texts: string[] = [];
  for (let p = list.first(); p !== 0; p = list.next(p)) texts.push(textAt(list, p));
  return texts;
}

const EDGES = [0n, 127n, 128n, 4095n, 4096n, 32767n, 32768n, 8388607n, 8388608n, 2147483647n, 2147483648n, 2n ** 53n, 2n ** 63n - 1n];
const LENGTHS = [0, 1, 20, 21, 62, 63, 64, 65, 126, 127, 4094, 4095, 4096, 16378, 16379, 16383, 16384, 70_000];

function randomText(random: Prng): string {
  switch (random.below(8)) {
    case 0: {
      const edge = random.pick(EDGES);
      return String(random.pick([edge, -edge, -edge - 1n]));
    }
    case 1:
      return String(random.below(300) - 100);
    case 2:
      return random.pick(['', '-', '-0', '00', '+1', '01', ' 1', '1 ', '9223372036854775808', '-9223372036854775809', '99999999999999999999', '1.5']);
    case 3:
      return random.chance(0.05) ? 'x'.repeat(random.pick(LENGTHS)) : 'y'.repeat(random.below(70));
    case 4:
      return String(BigInt.asIntN(64, (BigInt(random.uint32()) << 32n) | BigInt(random.uint32())) >> BigInt(random.below(64)));
    default:
      return Array.from({ length: random.below(12) }, () => String.fromCharCode(random.below(256))).join('');
  }
}

describe('listpack', () => {
  test.each([1, 2, 3, fresh])('agrees with an array (seed %i)', (seed) => {
    const random = new Prng(seed);
    const list = emptyList(4_000_000);
    const model: string[] = [];
    const positionOf = (index: number): number => {
      const p = list.seek(random.chance(0.5) ? index : index - model.length);
      if (textAt(list, p) !== model[index]) expect.fail(`seed ${seed}: entry ${index} of ${model.length} is ${textAt(list, p)}, not ${model[index]}`);
      return p;
    };
    for (let step = 0; step < 6000; step++) {
      const text = randomText(random);
      const source = Buffer.concat([Buffer.from('12'), Buffer.from(text, 'latin1'), Buffer.from('34')]);
      const total = list.totalBytes;
      const grows = list.entryBytes(source, 2, source.length - 2);
      const kind = random.below(10);
      if (kind < 4 || model.length === 0) {
        const index = random.below(model.length + 1);
        const p = index === model.length ? list.end : positionOf(index);
        list.insert(p, source, 2, source.length - 2);
        model.splice(index, 0, text);
        expect(list.totalBytes, `seed ${seed}`).toBe(total + grows);
      } else if (kind < 6) {
        const index = random.below(model.length);
        list.replace(positionOf(index), source, 2, source.length - 2);
        model[index] = text;
      } else if (kind < 9) {
        const index = random.below(model.length);
        const count = random.chance(0.9) ? 1 : random.below(20);
        list.remove(positionOf(index), count);
        model.splice(index, count);
      } else {
        const skip = random.below(3);
        const wanted = random.chance(0.7) ? random.pick(model) : text;
        const bytes = Buffer.from(wanted, 'latin1');
        const found = list.find(list.first(), bytes, 0, bytes.length, skip);
        const index = model.findIndex((each, i) => i % (skip + 1) === 0 && each === wanted);
        expect(found, `seed ${seed}: ${wanted}`).toBe(index < 0 ? 0 : list.seek(index));
      }
      if (list.count !== model.length) expect.fail(`seed ${seed}, step ${step}: ${list.count} entries, not ${model.length}`);
      if (step % 200 !== 0) continue;
      expect(contents(list), `seed ${seed}`).toEqual(model);
      expect(isListpack(list.bytes, list.start, list.start + list.totalBytes)).toBe(true);
      const backwards: string[] = [];
      for (let p = list.last(); p !== 0; p = list.previous(p)) backwards.unshift(textAt(list, p));
      expect(backwards, `seed ${seed}`).toEqual(model);
      expect(list.seek(model.length)).toBe(0);
      expect(list.seek(-model.length - 1)).toBe(0);
    }
    list.remove(list.first() === 0 ? list.end : list.first(), Infinity);
    expect(list.totalBytes).toBe(LISTPACK_EMPTY_BYTES);
    expect([list.bytes[AT - 1], list.first(), list.last(), list.count]).toEqual([0xee, 0, 0, 0]);
  });

  test('every length of entry, at its edges, is read both ways', () => {
    for (const length of [...LENGTHS, 2_097_140, 2_097_146, 2_097_147, 2_097_160]) {
      const list = emptyList(length + 40);
      const text = Buffer.alloc(length, 'a');
      list.append(text, 0, length);
      list.append(Buffer.from('-5'), 0, 2);
      expect(list.previous(list.last())).toBe(list.first());
      expect(list.textBytes(list.first())).toBe(length);
      expect(isListpack(list.bytes, AT, AT + list.totalBytes)).toBe(true);
    }
  });

  test('beyond 65534 entries the header stops counting, and counting goes on', () => {
    const list = emptyList(400_000);
    for (let i = 0; i < 65_600; i++) list.append(Buffer.from('7'), 0, 1);
    expect([list.bytes[AT + 4], list.bytes[AT + 5]]).toEqual([255, 255]);
    expect(list.count).toBe(65_600);
    expect(isListpack(list.bytes, AT, AT + list.totalBytes)).toBe(true);
    list.remove(list.first(), 200);
    expect(list.count).toBe(65_400);
    expect(list.seek(65_399)).toBe(list.last());
    expect(list.seek(65_400)).toBe(0);
    expect(list.seek(-65_400)).toBe(list.first());
  });

  test('a change for which there is no room is refused before anything is written', () => {
    const list = emptyList(LISTPACK_EMPTY_BYTES + 3);
    list.append(Buffer.from('a'), 0, 1);
    const before = bytesOf(list);
    expect(() => list.append(Buffer.from('b'), 0, 1)).toThrow('has room');
    expect(bytesOf(list)).toEqual(before);
  });

  test.each([fresh, 5])('damage is seen, or leaves a whole listpack; nothing outside is read (seed %i)', (seed) => {
    const random = new Prng(seed);
    const list = emptyList(10_000);
    for (let i = 0; i < 40; i++) {
      const text = Buffer.from(randomText(random).slice(0, 100), 'latin1');
      list.append(text, 0, text.length);
    }
    const whole = bytesOf(list);
    expect(isListpack(whole, 0, whole.length)).toBe(true);
    for (let length = 0; length < whole.length; length++) expect(isListpack(whole, 0, length)).toBe(false);
    for (let i = 0; i < 2000; i++) {
      const damaged = Buffer.from(whole);
      damaged[random.below(damaged.length)] = random.below(256);
      if (!isListpack(damaged, 0, damaged.length)) continue;
      const other = new Listpack();
      other.open(damaged, 0, damaged.length);
      const texts = contents(other);
      expect(other.count, `seed ${seed}`).toBe(texts.length);
    }
  });
});

describe.skipIf(oracleMissing !== undefined)('the bytes of redis-server', () => {
  let redis: Oracle;
  beforeAll(async () => {
    redis = await Oracle.start('--hash-max-listpack-entries', '100000', '--hash-max-listpack-value', '1000000', '--rdbcompression', 'no');
  });
  afterAll(() => redis.stop());

  async function dumped(): Promise<Buffer> {
    const wire = Buffer.from(await redis.one('DUMP', 'h'), 'latin1');
    const reply = wire.subarray(wire.indexOf('\r\n') + 2, -2);
    // Type, then the length: 6 bits, 14 bits, or a byte 0x80 and 32 bits, big-endian.
    const first = reply[1]!;
    const skip = first < 0x40 ? 2 : first < 0x80 ? 3 : 6;
    return reply.subarray(skip, -10);
  }

  test.each([1, fresh])('of hashes (seed %i)', async (seed) => {
    const random = new Prng(seed);
    await redis.one('DEL', 'h');
    const list = emptyList(8_000_000);
    for (let round = 0; round < 60; round++) {
      const commands: string[][] = [];
      for (let i = 0; i < 30; i++) {
        const field = random.chance(0.3) && list.count > 2 ? textAt(list, list.seek(random.below(list.count / 2) * 2)) : randomText(random);
        const key = Buffer.from(field, 'latin1');
        const p = list.find(list.first(), key, 0, key.length, 1);
        if (random.chance(0.25)) {
          commands.push(['HDEL', 'h', field]);
          if (p !== 0) list.remove(p, 2);
          continue;
        }
        const value = randomText(random);
        const bytes = Buffer.from(value, 'latin1');
        commands.push(['HSET', 'h', field, value]);
        if (p !== 0) list.replace(list.next(p), bytes, 0, bytes.length);
        else {
          list.append(key, 0, key.length);
          list.append(bytes, 0, bytes.length);
        }
      }
      await redis.wire(commands);
      if (list.count === 0) continue;
      expect((await dumped()).equals(bytesOf(list)), `seed ${seed}, round ${round}`).toBe(true);
    }
  });
});
