// Entry point of the thread behind ThreadSums (sums-thread.ts): adds up what stands in the shared ring, and says so.
import { parentPort, workerData } from 'node:worker_threads';
import { must } from '../base/assert.ts';
import { LocalSums } from './byte-sums.ts';
import type { SumsAnswer, SumsRequest, SumsThreadData } from './sums-thread.ts';

const port = must(parentPort, 'the thread has a parent');
const ring = new Uint8Array((workerData as SumsThreadData).ring);
const sums = new LocalSums();
const answer = (message: SumsAnswer): void => port.postMessage(message);

port.on('message', (request: SumsRequest) => {
  if (request === undefined) {
    answer({ type: 'sums', sums: sums.finishNow() });
    return;
  }
  sums.addNow(ring.subarray(request.from, request.to));
  answer({ type: 'free' });
});
