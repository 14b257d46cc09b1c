// Frames between nodes: what stands on a peer connection once its handshake (peer-handshake.ts) is done. This file owns
// the bytes; tcp-peers.ts owns the sockets. Version 1 (agreed in the handshake), little-endian:
//
//   offset size
//    0     4   CRC-32C of bytes [4, 16 + meta bytes)
//    4     1   kind
//    5     3   zero
//    8     4   meta bytes
//   12     4   data bytes
//   16     …   meta, then data
//
//   kind            meta                                                            data
//   1 message       the head                                                        none
//   2 bulk first    u32 head length, u32 part count, u32 length of each part, head  the first bytes of the parts, end to end
//   3 bulk more     none                                                            the next bytes of the parts
//   4 ping, 5 pong  none                                                            none
//
// A bulk message is one `bulk first` and as many `bulk more` as its parts need; between them only whole frames of the
// other kinds may stand. That is how a heartbeat passes a big entry. Data has no check here: every part is a log entry
// or snapshot piece with a check of its own.
//
// Valid: zeros are zero, the CRC matches, and no length is over its limit: meta and data of a frame together
// PEER_CHUNK_BYTES_MAX, a head PEER_HEAD_BYTES_MAX, parts PEER_PARTS_MAX, a message PEER_MESSAGE_BYTES_MAX. Bytes that
// break a rule end the connection they came on: there is no way to find the next frame after them.
//
// Hot: indexes typed arrays directly.
import { assert } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { KiB, PEER_CHUNK_BYTES_MAX, PEER_MESSAGE_BYTES_MAX } from '../base/limits.ts';
import { readUint32, writeUint32 } from '../base/uint.ts';

export const FRAME_HEADER_BYTES = 16;
/** The largest head of a message. */
export const PEER_HEAD_BYTES_MAX = 64 * KiB;
/** The most body parts of a message. */
export const PEER_PARTS_MAX = 65_536;

/** Body pieces that are smaller on average are copied together: one buffer is cheaper to write than many. */
const GATHER_BELOW_BYTES = 4 * KiB;
/** What is allocated on a peer's word alone; beyond it a message's buffer grows with the bytes that have come. */
const ASSEMBLY_START_BYTES = 1024 * KiB;
const BULK_META_BYTES_MAX = 8 + 4 * PEER_PARTS_MAX + PEER_HEAD_BYTES_MAX;

assert(BULK_META_BYTES_MAX < PEER_CHUNK_BYTES_MAX, 'the first frame of a bulk message has room for data');

const KIND_MESSAGE = 1;
const KIND_BULK_FIRST = 2;
const KIND_BULK_MORE = 3;
const KIND_PING = 4;
const KIND_PONG = 5;

const NO_BODY: readonly Uint8Array[] = [];

/** Closes a frame whose meta already stands behind the header. */
function sealFrame(frame: Uint8Array, kind: number, metaBytes: number, dataBytes: number): void {
  writeUint32(frame, 4, kind);
  writeUint32(frame, 8, metaBytes);
  writeUint32(frame, 12, dataBytes);
  writeUint32(frame, 0, crc32c(frame, 4, FRAME_HEADER_BYTES + metaBytes));
}

function emptyFrame(kind: number): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES);
  sealFrame(frame, kind, 0, 0);
  return frame;
}

export const PING_FRAME: Uint8Array = emptyFrame(KIND_PING);
export const PONG_FRAME: Uint8Array = emptyFrame(KIND_PONG);

/** Why this message cannot be sent, or undefined. */
export function peerMessageFault(head: Uint8Array, body: readonly Uint8Array[]): string | undefined {
  if (head.length > PEER_HEAD_BYTES_MAX) return `a head of ${head.length} bytes is over ${PEER_HEAD_BYTES_MAX}`;
  if (body.length > PEER_PARTS_MAX) return `${body.length} body parts are over ${PEER_PARTS_MAX}`;
  let bytes = head.length;
  for (const part of body) bytes += part.length;
  if (bytes > PEER_MESSAGE_BYTES_MAX) return `a message of ${bytes} bytes is over ${PEER_MESSAGE_BYTES_MAX}`;
  return undefined;
}

/** The one frame of a message without a body. */
export function encodeMessage(head: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + head.length);
  frame.set(head, FRAME_HEADER_BYTES);
  sealFrame(frame, KIND_MESSAGE, head.length, 0);
  return frame;
}

/** Cuts one message with a body into frames. The body is referred to, not copied, where its parts are of any size. */
export class BulkEncoder {
  #head: Uint8Array;
  readonly #body: readonly Uint8Array[];
  #started = false;
  /** The next byte to send is #body[#part][#offset]. */
  #part = 0;
  #offset = 0;
  #bodyBytesLeft = 0;

  constructor(head: Uint8Array, body: readonly Uint8Array[]) {
    this.#head = head;
    this.#body = body;
    for (const part of body) this.#bodyBytesLeft += part.length;
  }

  get done(): boolean {
    return this.#started && this.#bodyBytesLeft === 0;
  }

  /** Bytes that next() has not given out yet, frame headers apart. */
  get bytesLeft(): number {
    return this.#started ? this.#bodyBytesLeft : this.#metaBytes + this.#bodyBytesLeft;
  }

  get #metaBytes(): number {
    return 8 + 4 * this.#body.length + this.#head.length;
  }

  /** The caller may write to its head again: keeps a copy, if it has not been sent yet. */
  ownHead(): void {
    if (!this.#started) this.#head = Buffer.from(this.#head);
  }

  /** The next frame, as buffers to be written one after another. */
  next(): Uint8Array[] {
    assert(!this.done, 'a bulk message has frames left');
    const first = !this.#started;
    const metaBytes = first ? this.#metaBytes : 0;
    const dataBytes = Math.min(this.#bodyBytesLeft, PEER_CHUNK_BYTES_MAX - metaBytes);
    const pieces = this.#take(dataBytes);
    const gather = dataBytes < pieces.length * GATHER_BELOW_BYTES;
    const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + metaBytes + (gather ? dataBytes : 0));
    if (first) this.#writeMeta(frame);
    sealFrame(frame, first ? KIND_BULK_FIRST : KIND_BULK_MORE, metaBytes, dataBytes);
    this.#started = true;
    if (!gather) {
      pieces.unshift(frame);
      return pieces;
    }
    let at = FRAME_HEADER_BYTES + metaBytes;
    for (const piece of pieces) {
      frame.set(piece, at);
      at += piece.length;
    }
    return [frame];
  }

  #writeMeta(frame: Uint8Array): void {
    let at = FRAME_HEADER_BYTES;
    writeUint32(frame, at, this.#head.length);
    writeUint32(frame, at + 4, this.#body.length);
    at += 8;
    for (const part of this.#body) {
      writeUint32(frame, at, part.length);
      at += 4;
    }
    frame.set(this.#head, at);
  }

  #take(dataBytes: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let left = dataBytes;
    while (left > 0) {
      const part = this.#body[this.#part]!;
      const end = Math.min(part.length, this.#offset + left);
      if (end > this.#offset) {
        pieces.push(this.#offset === 0 && end === part.length ? part : part.subarray(this.#offset, end));
      }
      left -= end - this.#offset;
      this.#offset = end;
      if (end === part.length) {
        this.#part++;
        this.#offset = 0;
      }
    }
    this.#bodyBytesLeft -= dataBytes;
    return pieces;
  }
}

export interface FrameSink {
  /** The bytes are the receiver's from here on. */
  message(head: Uint8Array, body: readonly Uint8Array[]): void;
  ping(): void;
  pong(): void;
}

/**
 * Takes the bytes of one connection as they come. What lies whole in one chunk is handed on in place, so a chunk
 * belongs to the decoder once pushed and must not be written to again.
 */
export class FrameDecoder {
  readonly #sink: FrameSink;
  /** Largest bulk message that is taken. */
  bulkBytesMax = PEER_MESSAGE_BYTES_MAX;
  readonly #scratch = new Uint8Array(FRAME_HEADER_BYTES);
  #stopped = false;

  // The frame being read. In order: header, meta, data; #metaFill and #dataLeft say how far it has come.
  #headerFill = 0;
  #kind = 0;
  #metaBytes = 0;
  #dataLeft = 0;
  #crc = 0;
  #crcOfHeader = 0;
  #meta: Uint8Array | undefined;
  #metaFill = 0;
  #inData = false;

  // The bulk message being assembled; #bulkMeta is undefined when there is none.
  #bulkMeta: Uint8Array | undefined;
  #bulkBytes = 0;
  #bulkFill = 0;
  /** Holds #bulkFill bytes, undefined until a byte has to be copied. */
  #bulk: Uint8Array | undefined;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Delivers nothing more, also not of the chunk that is being read. */
  stop(): void {
    this.#stopped = true;
    this.#bulk = undefined;
    this.#bulkMeta = undefined;
  }

  /** What is wrong with the bytes, or undefined. After a fault the decoder takes no more. */
  push(chunk: Uint8Array): string | undefined {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#inData) {
        at = this.#pushData(chunk, at);
        continue;
      }
      if (this.#headerFill < FRAME_HEADER_BYTES) {
        at = this.#pushHeader(chunk, at);
        if (this.#headerFill < FRAME_HEADER_BYTES) break;
        const fault = this.#readHeader();
        if (fault !== undefined) return this.#fail(fault);
        if (this.#metaBytes > 0) continue;
      } else {
        at = this.#pushMeta(chunk, at);
        if (this.#metaFill < this.#metaBytes) break;
      }
      const fault = this.#metaDone();
      if (fault !== undefined) return this.#fail(fault);
    }
    return undefined;
  }

  #fail(fault: string): string {
    this.stop();
    return fault;
  }

  #pushHeader(chunk: Uint8Array, at: number): number {
    const scratch = this.#scratch;
    while (this.#headerFill < FRAME_HEADER_BYTES && at < chunk.length) scratch[this.#headerFill++] = chunk[at++]!;
    return at;
  }

  #readHeader(): string | undefined {
    const header = this.#scratch;
    const kind = readUint32(header, 4);
    const metaBytes = readUint32(header, 8);
    const dataBytes = readUint32(header, 12);
    let metaBytesMax = 0;
    if (kind === KIND_MESSAGE) metaBytesMax = PEER_HEAD_BYTES_MAX;
    else if (kind === KIND_BULK_FIRST) metaBytesMax = BULK_META_BYTES_MAX;
    else if (kind < KIND_MESSAGE || kind > KIND_PONG) return `frame of unknown kind ${kind}`;
    const hasData = kind === KIND_BULK_FIRST || kind === KIND_BULK_MORE;
    if (metaBytes > metaBytesMax) return `frame of kind ${kind} claims ${metaBytes} bytes of meta`;
    if (dataBytes > (hasData ? PEER_CHUNK_BYTES_MAX - metaBytes : 0)) {
      return `frame of kind ${kind} claims ${dataBytes} bytes of data`;
    }
    this.#kind = kind;
    this.#metaBytes = metaBytes;
    this.#dataLeft = dataBytes;
    this.#crc = readUint32(header, 0);
    this.#crcOfHeader = crc32c(header, 4, FRAME_HEADER_BYTES);
    this.#metaFill = 0;
    this.#meta = undefined;
    return undefined;
  }

  #pushMeta(chunk: Uint8Array, at: number): number {
    const available = Math.min(this.#metaBytes - this.#metaFill, chunk.length - at);
    if (available === this.#metaBytes) {
      this.#meta = chunk.subarray(at, at + available);
    } else {
      this.#meta ??= Buffer.allocUnsafeSlow(this.#metaBytes);
      this.#meta.set(chunk.subarray(at, at + available), this.#metaFill);
    }
    this.#metaFill += available;
    return at + available;
  }

  /** Header and meta are whole: checks them, and does what the frame says. */
  #metaDone(): string | undefined {
    const meta = this.#meta;
    this.#meta = undefined;
    const crc = meta === undefined ? this.#crcOfHeader : crc32c(meta, 0, meta.length, this.#crcOfHeader);
    if (crc !== this.#crc) return `frame CRC is 0x${this.#crc.toString(16)}, its bytes give 0x${crc.toString(16)}`;
    this.#headerFill = 0;
    switch (this.#kind) {
      case KIND_MESSAGE:
        this.#sink.message(meta ?? new Uint8Array(0), NO_BODY);
        return undefined;
      case KIND_PING:
        this.#sink.ping();
        return undefined;
      case KIND_PONG:
        this.#sink.pong();
        return undefined;
      case KIND_BULK_FIRST:
        return this.#beginBulk(meta);
      default:
        return this.#continueBulk();
    }
  }

  #beginBulk(meta: Uint8Array | undefined): string | undefined {
    if (this.#bulkMeta !== undefined) return 'a bulk message begins inside another';
    if (meta === undefined || meta.length < 8) return 'a bulk message is too short for its lengths';
    const headBytes = readUint32(meta, 0);
    const partCount = readUint32(meta, 4);
    if (partCount < 1 || partCount > PEER_PARTS_MAX) return `a bulk message claims ${partCount} parts`;
    if (headBytes > PEER_HEAD_BYTES_MAX) return `a bulk message claims a head of ${headBytes} bytes`;
    if (meta.length !== 8 + 4 * partCount + headBytes) return 'lengths of a bulk message do not agree';
    let bytes = 0;
    for (let i = 0; i < partCount; i++) bytes += readUint32(meta, 8 + 4 * i);
    if (bytes + headBytes > this.bulkBytesMax) return `a bulk message claims ${bytes} bytes`;
    if (this.#dataLeft > bytes) return 'a bulk message brings more bytes than it claims';
    if (this.#dataLeft === 0 && bytes > 0) return 'a bulk message begins without data';
    this.#bulkMeta = meta;
    this.#bulkBytes = bytes;
    this.#bulkFill = 0;
    if (bytes === 0) this.#deliverBulk(new Uint8Array(0), 0);
    else this.#inData = true;
    return undefined;
  }

  #continueBulk(): string | undefined {
    if (this.#bulkMeta === undefined) return 'a bulk message goes on that never began';
    if (this.#dataLeft === 0) return 'a bulk message goes on without data';
    if (this.#dataLeft > this.#bulkBytes - this.#bulkFill) return 'a bulk message brings more bytes than it claims';
    this.#inData = true;
    return undefined;
  }

  #pushData(chunk: Uint8Array, at: number): number {
    const available = Math.min(this.#dataLeft, chunk.length - at);
    const end = at + available;
    this.#dataLeft -= available;
    if (this.#dataLeft === 0) this.#inData = false;
    if (available === this.#bulkBytes) {
      this.#deliverBulk(chunk, at);
      return end;
    }
    const bulk = this.#room(this.#bulkFill + available);
    bulk.set(chunk.subarray(at, end), this.#bulkFill);
    this.#bulkFill += available;
    if (this.#bulkFill === this.#bulkBytes) this.#deliverBulk(bulk, 0);
    return end;
  }

  /** The assembly buffer, with room for `bytes`; never more than twice what has come, but for a first MiB. */
  #room(bytes: number): Uint8Array {
    const old = this.#bulk;
    if (old !== undefined && old.length >= bytes) return old;
    const grown = Math.max(ASSEMBLY_START_BYTES, bytes, old === undefined ? 0 : old.length * 2);
    const bulk = Buffer.allocUnsafeSlow(Math.min(this.#bulkBytes, grown));
    if (old !== undefined) bulk.set(old.subarray(0, this.#bulkFill));
    this.#bulk = bulk;
    return bulk;
  }

  #deliverBulk(bytes: Uint8Array, from: number): void {
    const meta = this.#bulkMeta!;
    this.#bulkMeta = undefined;
    this.#bulk = undefined;
    const partCount = readUint32(meta, 4);
    const body: Uint8Array[] = [];
    let at = from;
    for (let i = 0; i < partCount; i++) {
      const end = at + readUint32(meta, 8 + 4 * i);
      body.push(bytes.subarray(at, end));
      at = end;
    }
    this.#sink.message(meta.subarray(8 + 4 * partCount), body);
  }
}
