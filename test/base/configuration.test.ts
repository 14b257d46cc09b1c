// What the log, the log store and snapshots hold of the members: there and back, and nothing that is no configuration.
import { describe, expect, test } from 'vitest';
import {
  configurationAtFrom, configurationFrom, configurationsOf, decodeConfiguration, encodeConfiguration, encodeHistory, type Configuration,
} from '../../src/base/configuration.ts';
import { EntryKind } from '../../src/base/entry.ts';

const member = (id: number) => ({ id, name: `n${id}`, host: '10.0.0.1', peerPort: 16_379 + id, clientPort: 6379 + id });

const JOINT: Configuration = { lastId: 9, members: [1, 2, 3, 5].map(member), voters: [2, 3], outgoing: [1, 2, 3], learners: [5] };

describe('a configuration', () => {
  test('comes back from an entry, from the history and from JSON', () => {
    expect(decodeConfiguration(EntryKind.membership, encodeConfiguration(JOINT))).toEqual(JOINT);
    const history = [{ index: 0, configuration: JOINT }, { index: 12, configuration: { ...JOINT, outgoing: [], members: [2, 3, 5].map(member) } }];
    expect(configurationsOf(encodeHistory(history))).toEqual(history);
    expect(configurationAtFrom(JSON.parse(JSON.stringify(history[1])))).toEqual(history[1]);
  });

  test('is not what a commands entry or another membership entry holds', () => {
    expect(decodeConfiguration(EntryKind.commands, encodeConfiguration(JOINT))).toBeUndefined();
    const pin = new Uint8Array([...new Uint8Array(40), ...Buffer.from('{"op":"pin","node":1,"incarnation":"x"}')]);
    expect(decodeConfiguration(EntryKind.membership, pin)).toBeUndefined();
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['no object', 7],
    ['a member who is in no list', { ...JOINT, learners: [] }],
    ['a voter who is no member', { ...JOINT, voters: [2, 4] }],
    ['a voter twice', { ...JOINT, voters: [2, 2, 3] }],
    ['a learner who votes', { ...JOINT, learners: [5, 3] }],
    ['an id beyond the last', { ...JOINT, lastId: 4 }],
    ['an id of no member', { ...JOINT, members: [...JOINT.members, member(0)] }],
    ['two members with one id', { ...JOINT, members: [...JOINT.members, member(5)] }],
    ['a port that is no number', { ...JOINT, members: JOINT.members.map((one) => ({ ...one, peerPort: '1' })) }],
  ])('is not %s', (_what, parsed) => {
    expect(configurationFrom(parsed)).toBeUndefined();
  });
});
