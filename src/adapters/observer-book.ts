// The observers on this node's peer port, by number: how many there are, what they ask, what they are answered. Knows
// nothing of sockets; tcp-peers.ts owns the connections. The promises are in src/ports/observers.ts.
import { assert } from '../base/assert.ts';
import type { FeedAnswer, ObserverEvents } from '../ports/observers.ts';
import type { PieceAnswer, PieceRequest } from '../ports/snapshot-pieces.ts';
import { decodeFetch, encodeAnswer, headFields } from './feed-messages.ts';
import { decodePieceRequest, encodePieceAnswer, PIECE_REQUEST } from './piece-messages.ts';

/** Observers at one time. More are turned away, and may come again. */
export const OBSERVERS_MAX = 8;

/** One observer's connection, as this book needs it. */
export interface ObserverConnection {
  /** One message at a time; `sent` when the kernel has it. */
  send(head: Uint8Array, body: readonly Uint8Array[], sent: () => void): void;
  /** Ends in a call of `closed`. */
  drop(reason: string): void;
}

interface Observer {
  readonly id: number;
  /** idle; asked: its question is not answered; answering: the answer is not wholly with the kernel. */
  state: 'idle' | 'asked' | 'answering';
  /** A question that came while the answer before it was on its way. */
  next: Question | undefined;
}

/** An index of the log to fetch from, or a piece of a snapshot. */
type Question = number | PieceRequest;

export class ObserverBook {
  readonly #nodeName: string;
  readonly #byConnection = new Map<ObserverConnection, Observer>();
  readonly #byId = new Map<number, ObserverConnection>();
  #events: ObserverEvents | undefined;
  #nextId = 1;

  constructor(nodeName: string) {
    this.#nodeName = nodeName;
  }

  observe(events: ObserverEvents): void {
    assert(this.#events === undefined, 'observers are served by one');
    this.#events = events;
  }

  get size(): number {
    return this.#byId.size;
  }

  refusal(): string | undefined {
    if (this.#events === undefined) return `${this.#nodeName} takes no observers`;
    if (this.#byId.size >= OBSERVERS_MAX) return `${this.#nodeName} has ${OBSERVERS_MAX} observers, which is the most: try another member, or later`;
    return this.#events.admit();
  }

  opened(connection: ObserverConnection): void {
    // Several handshakes may have been admitted at once.
    if (this.refusal() !== undefined) return connection.drop('there are too many observers');
    const id = this.#nextId++;
    this.#byConnection.set(connection, { id, state: 'idle', next: undefined });
    this.#byId.set(id, connection);
  }

  message(connection: ObserverConnection, head: Uint8Array, body: readonly Uint8Array[]): void {
    const observer = this.#byConnection.get(connection);
    if (observer === undefined) return;
    const fields = headFields(head);
    const question = fields?.[0] === PIECE_REQUEST ? decodePieceRequest(fields, body) : decodeFetch(fields, body);
    if (typeof question === 'string') return connection.drop(question);
    if (observer.state === 'asked' || observer.next !== undefined) return connection.drop('an observer asked again before it was answered');
    if (observer.state === 'answering') observer.next = question;
    else this.#ask(observer, question);
  }

  #ask(observer: Observer, question: Question): void {
    observer.state = 'asked';
    observer.next = undefined;
    if (typeof question === 'number') this.#events?.fetch(observer.id, question);
    else this.#events?.piece(observer.id, question);
  }

  answer(id: number, answer: FeedAnswer): void {
    this.#answer(id, () => ({ head: encodeAnswer(answer, this.#nodeName), body: answer.entries }));
  }

  answerPiece(id: number, answer: PieceAnswer): void {
    this.#answer(id, () => encodePieceAnswer(answer));
  }

  #answer(id: number, message: () => { readonly head: Uint8Array; readonly body: readonly Uint8Array[] }): void {
    const connection = this.#byId.get(id);
    if (connection === undefined) return;
    const observer = this.#byConnection.get(connection);
    assert(observer?.state === 'asked', () => `observer ${id} has asked for what it is answered`);
    observer.state = 'answering';
    const { head, body } = message();
    connection.send(head, body, () => {
      if (this.#byId.get(id) !== connection) return;
      observer.state = 'idle';
      if (observer.next !== undefined) this.#ask(observer, observer.next);
    });
  }

  drop(id: number, reason: string): void {
    this.#byId.get(id)?.drop(reason);
  }

  closed(connection: ObserverConnection): void {
    const observer = this.#byConnection.get(connection);
    if (observer === undefined) return;
    this.#byConnection.delete(connection);
    this.#byId.delete(observer.id);
    this.#events?.gone(observer.id);
  }

  closeAll(reason: string): void {
    this.#events = undefined;
    for (const connection of [...this.#byConnection.keys()]) connection.drop(reason);
  }
}
