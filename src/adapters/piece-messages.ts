// What is said of pieces of snapshots between an observer and a member, as heads of peer messages (peer-frame.ts); beside
// feed-messages.ts. Both sides' bytes are checked here, before anything is done with them.
//
//   observer → member   [8, manifest key, its SHA-256, part, from, bytes at most]   no body; part: 0 manifest, 1 state, 2 data
//   member → observer   [9, bytes of the whole part, CRC-32C, '']                   body: one part, the piece, unless it is empty
//   member → observer   [9, 0, 0, why it does not have it]                          no body
import { Packr } from 'msgpackr';
import { isCount } from '../base/checks.ts';
import { crc32c } from '../base/crc32c.ts';
import { objectKeyFault } from '../ports/object-store.ts';
import { PIECE_BYTES_MAX, PIECE_PARTS, type PieceAnswer, type PieceRequest } from '../ports/snapshot-pieces.ts';
import { headFields } from './feed-messages.ts';

export const PIECE_REQUEST = 8;
const PIECE_ANSWER = 9;
const REASON_CHARS_MAX = 500;

const packr = new Packr({ useRecords: false, int64AsType: 'number' });
const NO_BODY: readonly Uint8Array[] = [];

export function encodePieceRequest({ manifestKey, manifestSha256, part, from, bytesMax }: PieceRequest): Uint8Array {
  return packr.pack([PIECE_REQUEST, manifestKey, manifestSha256, PIECE_PARTS.indexOf(part), from, bytesMax]);
}

/** The request, or a text that says what is wrong. Never throws. */
export function decodePieceRequest(fields: readonly unknown[], body: readonly Uint8Array[]): PieceRequest | string {
  const malformed = 'an observer asked for a piece in a way that is malformed';
  const [, manifestKey, manifestSha256, partNumber, from, bytesMax] = fields;
  if (fields.length !== 6 || body.length > 0 || !isCount(partNumber) || !isCount(from) || !isCount(bytesMax)) return malformed;
  if (typeof manifestKey !== 'string' || objectKeyFault(manifestKey) !== undefined) return malformed;
  if (typeof manifestSha256 !== 'string' || !/^[0-9a-f]{64}$/.test(manifestSha256)) return malformed;
  const part = PIECE_PARTS[partNumber];
  if (part === undefined || bytesMax < 1 || bytesMax > PIECE_BYTES_MAX) return malformed;
  return { manifestKey, manifestSha256, part, from, bytesMax };
}

export function encodePieceAnswer(answer: PieceAnswer): { readonly head: Uint8Array; readonly body: readonly Uint8Array[] } {
  if ('absent' in answer) return { head: packr.pack([PIECE_ANSWER, 0, 0, answer.absent.slice(0, REASON_CHARS_MAX) || 'it is not here']), body: NO_BODY };
  const { bytes, totalBytes } = answer;
  return { head: packr.pack([PIECE_ANSWER, totalBytes, crc32c(bytes), '']), body: bytes.length === 0 ? NO_BODY : [bytes] };
}

/** The answer to `request`, or a text that says what is wrong with it. Never throws. */
export function decodePieceAnswer(head: Uint8Array, body: readonly Uint8Array[], { from, bytesMax }: PieceRequest): PieceAnswer | string {
  const fields = headFields(head);
  if (fields?.[0] !== PIECE_ANSWER) return 'it sent what is no answer to a request for a piece';
  const [, totalBytes, crc, absent] = fields;
  if (!isCount(totalBytes) || !isCount(crc) || typeof absent !== 'string' || body.length > 1) return 'it sent an answer that is malformed';
  if (absent !== '') return { absent: absent.replace(/[^\x20-\x7e]/g, '?').slice(0, REASON_CHARS_MAX) };
  const bytes = body[0] ?? new Uint8Array(0);
  if (bytes.length > bytesMax || from + bytes.length > totalBytes || (bytes.length === 0 && from < totalBytes)) {
    return `it sent ${bytes.length} bytes from ${from} of ${totalBytes}, where at most ${bytesMax} were asked for`;
  }
  if (crc32c(bytes) !== crc) return 'it sent a piece whose CRC-32C does not match';
  return { bytes, totalBytes };
}
