// The transport of a cluster of one: nobody to talk to, and no port that is open for nothing.
import type { Transport } from '../ports/transport.ts';

export const noPeers: Transport = {
  start: () => undefined,
  setPeers: () => undefined,
  send: () => undefined,
  queuedBytes: () => 0,
  close: () => undefined,
};
