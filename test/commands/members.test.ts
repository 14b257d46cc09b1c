// HOLDFAST ADDNODE, REMOVENODE, MEMBERS: what is asked of the node, and what is no question.
import { describe, expect, test } from 'vitest';
import { addressFrom } from '../../src/commands/members.ts';

describe('an address of a node', () => {
  test.each([
    ['10.0.0.4:16379/6379', { host: '10.0.0.4', peerPort: 16_379, clientPort: 6379 }],
    ['n4.example:17000', { host: 'n4.example', peerPort: 17_000, clientPort: 7000 }],
    ['[::1]:16379/7', { host: '::1', peerPort: 16_379, clientPort: 7 }],
  ])('%s', (text, address) => {
    expect(addressFrom(text)).toEqual(address);
  });

  test.each(['', 'host', 'host:', ':1', 'host:0/1', 'host:70000/1', 'host:10000', 'host:9000', 'host:20000/0', 'host:20000/99999', 'host:20000/1/2', '::1:20000'])('not %s', (text) => {
    expect(addressFrom(text)).toBeUndefined();
  });
});
