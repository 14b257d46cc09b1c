// The link between the two threads over a MessagePort (src/ports/link.ts). Owns nothing but the port.
//
// postMessage clones the whole buffer behind a view, so every Uint8Array here is first brought into a buffer that holds
// nothing else, and that buffer is moved, not cloned. Entries that go to the engine stay in consensus's cache: those are
// packed, once copied, into one buffer for the whole message.
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { arbitraryBytes, copyBytes } from '../base/bytes.ts';
import type { CommittedEntry, ConsensusLink, ConsensusMessage, EngineLink, EngineMessage } from '../ports/link.ts';

export class PortEngineLink implements EngineLink {
  readonly #port: MessagePort;
  #handler: ((message: ConsensusMessage) => void) | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  send(message: EngineMessage): void {
    switch (message.type) {
      case 'propose': {
        const entry = whole(message.entry);
        this.#port.postMessage({ ...message, entry }, [entry.buffer]);
        return;
      }
      case 'forward': {
        const records = whole(message.records);
        this.#port.postMessage({ ...message, records }, [records.buffer]);
        return;
      }
      case 'piece': {
        const { answer } = message;
        if ('absent' in answer) return this.#port.postMessage(message);
        const bytes = whole(answer.bytes);
        this.#port.postMessage({ ...message, answer: { ...answer, bytes } }, [bytes.buffer]);
        return;
      }
      default:
        this.#port.postMessage(message);
    }
  }

  onMessage(handler: (message: ConsensusMessage) => void): void {
    this.#handler = handler;
    this.#port.on('message', handler);
  }

  poll(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: ConsensusMessage } | undefined;
      if (received === undefined) return;
      this.#handler?.(received.message);
    }
  }

  close(): void {
    this.#port.close();
  }
}

export class PortConsensusLink implements ConsensusLink {
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  send(message: ConsensusMessage): void {
    switch (message.type) {
      case 'committed': {
        const { entries, buffer } = packed(message.entries);
        if (buffer === undefined) this.#port.postMessage(message);
        else this.#port.postMessage({ type: 'committed', entries }, [buffer]);
        return;
      }
      case 'forwarded': {
        const records = copyBytes(message.records);
        this.#port.postMessage({ ...message, records }, [records.buffer]);
        return;
      }
      default:
        this.#port.postMessage(message);
    }
  }

  onMessage(handler: (message: EngineMessage) => void): void {
    this.#port.on('message', handler);
  }
}

/** The bytes in a buffer of their own that may be moved; copied only if they are a view of more. */
function whole(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength
    ? (bytes as Uint8Array<ArrayBuffer>)
    : copyBytes(bytes);
}

function packed(entries: readonly CommittedEntry[]): { entries: readonly CommittedEntry[]; buffer: ArrayBuffer | undefined } {
  let total = 0;
  for (const entry of entries) total += entry.bytes.length;
  if (total === 0) return { entries, buffer: undefined };
  const all = arbitraryBytes(total);
  let at = 0;
  const moved = entries.map((entry) => {
    if (entry.bytes.length === 0) return entry;
    all.set(entry.bytes, at);
    const bytes = all.subarray(at, at + entry.bytes.length);
    at += entry.bytes.length;
    return { ...entry, bytes };
  });
  return { entries: moved, buffer: all.buffer };
}
