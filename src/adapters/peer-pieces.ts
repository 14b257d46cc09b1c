// Pieces of snapshots from the peers of this node: one connection at a time, as an observer, to the first member that has what is
// asked for.
//
// What must hold: what is handed out has the CRC and lengths that its sender said, and no more. One read at a time.
import { assert } from '../base/assert.ts';
import { OperationalError } from '../base/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Piece, PieceReader, PieceRequest } from '../ports/snapshot-pieces.ts';
import { ObserverConnection, type FeedMember, type ObserverTimings } from './observer-connection.ts';
import { decodePieceAnswer, encodePieceRequest } from './piece-messages.ts';

export interface PieceTimings extends ObserverTimings {
  /** A member that is there and gives no piece for so long (its store does not answer) is left for another. */
  readonly answerTimeoutMs: number;
}

const TIMINGS_DEFAULT: PieceTimings = { handshakeTimeoutMs: 5000, idleTimeoutMs: 15_000, answerTimeoutMs: 20_000 };

export interface PeerPiecesOptions {
  /** Those that may be asked now, in the order in which they are. */
  readonly members: () => readonly FeedMember[];
  readonly clusterSecret: string;
  readonly clusterId: string;
  /** Of this node, for members' messages. */
  readonly name: string;
  readonly logger: Logger;
  readonly timings?: PieceTimings;
}

export class PeerPieces implements PieceReader {
  readonly #options: PeerPiecesOptions;
  #connection: ObserverConnection | undefined;
  /** Names of members whose pieces did not hold. */
  readonly #distrusted = new Set<string>();
  #reading = false;

  constructor(options: PeerPiecesOptions) {
    this.#options = options;
  }

  async read(request: PieceRequest): Promise<Piece> {
    assert(!this.#reading, 'one read at a time');
    this.#reading = true;
    try {
      return await this.#read(request);
    } finally {
      this.#reading = false;
    }
  }

  get hasPeers(): boolean {
    return this.#options.members().length > 0;
  }

  distrust(): void {
    if (this.#connection !== undefined) this.#distrusted.add(this.#connection.member.name);
    this.#drop();
  }

  close(): void {
    this.#distrusted.clear();
    this.#drop();
  }

  #drop(): void {
    this.#connection?.end({ kind: 'lost', text: 'nothing more is read' });
    this.#connection = undefined;
  }

  async #read(request: PieceRequest): Promise<Piece> {
    const all = this.#options.members();
    const members = all.filter(({ name }) => !this.#distrusted.has(name));
    const reasons: string[] = [];
    let absent = 0;
    const now = this.#connection;
    // Whoever gave the last piece goes on.
    const order = now === undefined ? members : [now.member, ...members.filter(({ name }) => name !== now.member.name)];
    for (const member of order) {
      const answer = await this.#ask(member, request);
      if (typeof answer === 'object' && 'bytes' in answer) return answer;
      if (typeof answer === 'object') absent++;
      reasons.push(`${member.name}: ${typeof answer === 'object' ? answer.absent : answer}`);
    }
    const text = `no peer gives the snapshot ${request.manifestKey}: ${reasons.join('; ') || 'there is none to ask'}`;
    throw new OperationalError(absent === all.length ? 'OBJECT_NOT_FOUND' : 'PEER', text);
  }

  /** The piece, that this member does not have it, or what went wrong. */
  async #ask(member: FeedMember, request: PieceRequest): Promise<Piece | { readonly absent: string } | string> {
    const connection = await this.#connected(member);
    if (typeof connection === 'string') return connection;
    const { answerTimeoutMs } = this.#options.timings ?? TIMINGS_DEFAULT;
    const timer = setTimeout(() => connection.end({ kind: 'lost', text: `no answer within ${answerTimeoutMs} ms` }), answerTimeoutMs);
    const outcome = await connection.ask(encodePieceRequest(request));
    clearTimeout(timer);
    const answer = 'failure' in outcome ? outcome.failure.text : decodePieceAnswer(outcome.head, outcome.body, request);
    if (typeof answer === 'object' && 'bytes' in answer) return answer;
    this.#drop();
    return answer;
  }

  async #connected(member: FeedMember): Promise<ObserverConnection | string> {
    const { clusterSecret, clusterId, name, logger, timings = TIMINGS_DEFAULT } = this.#options;
    if (this.#connection?.member.name === member.name) return this.#connection;
    this.#drop();
    const connection = new ObserverConnection(member, { name, clusterSecret, clusterId, timings });
    this.#connection = connection;
    const failure = await connection.opened;
    if (failure === undefined) {
      logger.info({ member: member.name, address: `${member.host}:${member.port}` }, 'asking this member for a snapshot');
      return connection;
    }
    this.#drop();
    return failure.text;
  }
}
