// Gives the memory of a buffer back at once. The garbage collector does so when it finds the object dead, which may be tens of
// MiB later: V8 marks an old heap by how much it has grown, and looks at a young one when that is full of objects, which
// buffers hardly add to (docs/decisions/0011).
import { MessageChannel, type MessagePort } from 'node:worker_threads';

/** What is moved to a port that is closed goes with the message, which nobody can receive. */
const sink = closedPort();

function closedPort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}

/** Nobody may be reading or writing the bytes: whoever still has them finds nothing. A view of a part of a buffer is left alone. */
export function discard(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) sink.postMessage(undefined, [buffer]);
}
