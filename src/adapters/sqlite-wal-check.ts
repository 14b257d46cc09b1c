// Reads an SQLite write-ahead log before SQLite does and tells a torn tail from damage. Owns nothing; reads one file.
//
// Why: SQLite recovers a WAL up to the first frame that does not verify and drops the rest without a word. After a
// crash that is right. After a flipped bit it silently forgets synced, acknowledged commits, and a Raft voter that
// forgets is worse than one that is gone.
//
// Format (sqlite.org/fileformat2.html, section 4), numbers big-endian:
//   header, 32 bytes: magic 0x377f0682 or …83, version 3007000, page size, checkpoint number, salt 1, salt 2, checksum of bytes [0, 24)
//   frame, 24 bytes + page: page number, database size in pages (commit frames only, else 0), salt 1, salt 2, checksum
//   A checksum runs on from the one before it, over the frame's first 8 bytes and its page; words are little-endian
//   under magic …82, big-endian under …83. It does not cover the salts, which must equal the header's.
//   A restart of the WAL keeps the file and changes the salts, so frames of other salts behind the end are stale: normal.
//
// Terms: `broken` is the first frame that does not verify; `followers` are the frames behind it that bear the current
// salts. Followers cannot verify from the start, for the checksum is cumulative; each is verified instead from the
// checksum stored in the frame before it, which proves that the two were written one after the other.
//
// The rule. With synchronous=FULL a transaction is written, then synced, and only then does the next one begin. So
// - no followers: a tear of the last transaction, or damage to its last frame; nothing can tell the two apart;
// - followers that belong to the broken frame's own transaction: sectors may reach the disk in any order before the
//   sync, so this too may be a tear. Both are `torn-tail`: a commit that was never acknowledged, unless the disk lied
//   or lost it afterwards (docs/consistency.md says so);
// - proof that the broken frame's transaction had ended and another began behind it: `damaged`. Proof is a commit
//   frame that has followers (the broken frame itself, read with any one bit of its commit field restored, or a later
//   one), or the same page twice (a transaction writes a page once; only its commit frame may repeat one, after a
//   cache spill).
// - a header that does not verify before frames that do: `damaged`. The header is synced before the first frame is
//   written, and its 32 bytes stand in one sector, so a crash does not leave such a file.
// Not seen: damage that wipes the header of the last commit frame but one, when both of the last two transactions are
// of one page each. SQLite then loses two commits and not one.
//
// Relies on the log store: after a crash it truncates the WAL before it writes again, and it writes nothing after a
// failed transaction; so no frames of a given-up transaction stand behind newer ones of the same salts.
// Hot over the whole file: indexes typed arrays directly.
import * as fs from 'node:fs';

export type WalState = 'absent' | 'empty' | 'intact' | 'torn-tail' | 'damaged';

export interface WalCheck {
  readonly state: WalState;
  /** Frames that verify from the start of the file. */
  readonly validFrames: number;
  /** Frames up to and with the last commit among those: what SQLite will recover. */
  readonly commitFrames: number;
  /** For the operator: what was found. */
  readonly detail: string;
  /** Where the first frame or header that does not verify starts; the file's length if all verify. */
  readonly offset: number;
}

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** The smallest that a disk writes whole. */
const SECTOR_BYTES = 512;
/** Page number, commit field and salts of a frame's header. */
const SALTS_END_BYTES = 16;
const FRAME_HEADER_WORDS = FRAME_HEADER_BYTES / 4;
const MAGIC_LITTLE = 0x377f0682;
const MAGIC_BIG = 0x377f0683;
const FORMAT_VERSION = 3007000;
const CHUNK_BYTES = 1024 * 1024;
const HOST_IS_BIG_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 0;

interface Checksum {
  s0: number;
  s1: number;
}

const swap32 = (x: number): number => ((x & 0xff) << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24);

/** Runs `sum` on over words[from, to). */
function accumulate(sum: Checksum, words: Int32Array, from: number, to: number, swap: boolean): void {
  let s0 = sum.s0;
  let s1 = sum.s1;
  if (swap) {
    for (let i = from; i < to; i += 2) {
      s0 = (s0 + swap32(words[i]!) + s1) | 0;
      s1 = (s1 + swap32(words[i + 1]!) + s0) | 0;
    }
  } else {
    for (let i = from; i < to; i += 2) {
      s0 = (s0 + words[i]! + s1) | 0;
      s1 = (s1 + words[i + 1]! + s0) | 0;
    }
  }
  sum.s0 = s0;
  sum.s1 = s1;
}

/** One frame at a time from the file; `words` and `view` start at the frame's first byte. Signed words throughout. */
class FrameReader {
  readonly frameBytes: number;
  readonly frames: number;
  /** Bytes of a last frame that is cut short. */
  readonly restBytes: number;
  readonly #fd: number;
  readonly #buffer: ArrayBuffer;
  readonly #perChunk: number;
  #chunkFirst = 0;
  #chunkFrames = 0;
  view: DataView;
  words: Int32Array;

  constructor(fd: number, fileBytes: number, pageBytes: number) {
    this.#fd = fd;
    this.frameBytes = FRAME_HEADER_BYTES + pageBytes;
    const bytes = Math.max(0, fileBytes - HEADER_BYTES);
    this.frames = Math.floor(bytes / this.frameBytes);
    this.restBytes = bytes % this.frameBytes;
    this.#perChunk = Math.max(1, Math.floor(CHUNK_BYTES / this.frameBytes));
    this.#buffer = new ArrayBuffer(this.#perChunk * this.frameBytes);
    this.view = new DataView(this.#buffer);
    this.words = new Int32Array(this.#buffer);
  }

  load(frame: number): void {
    if (frame < this.#chunkFirst || frame >= this.#chunkFirst + this.#chunkFrames) {
      this.#chunkFirst = frame;
      this.#chunkFrames = Math.min(this.#perChunk, this.frames - frame);
      const bytes = this.#chunkFrames * this.frameBytes;
      readFully(this.#fd, new Uint8Array(this.#buffer, 0, bytes), this.offset(frame));
    }
    const at = (frame - this.#chunkFirst) * this.frameBytes;
    this.view = new DataView(this.#buffer, at, this.frameBytes);
    this.words = new Int32Array(this.#buffer, at, this.frameBytes / 4);
  }

  offset(frame: number): number {
    return HEADER_BYTES + frame * this.frameBytes;
  }

  get page(): number {
    return this.view.getUint32(0);
  }
  get commit(): number {
    return this.view.getUint32(4);
  }
  get salt1(): number {
    return this.view.getInt32(8);
  }
  get salt2(): number {
    return this.view.getInt32(12);
  }
  get stored(): Checksum {
    return { s0: this.view.getInt32(16), s1: this.view.getInt32(20) };
  }

  verifies(seed: Checksum, swap: boolean): boolean {
    const sum = { s0: seed.s0, s1: seed.s1 };
    accumulate(sum, this.words, 0, 2, swap);
    accumulate(sum, this.words, FRAME_HEADER_WORDS, this.words.length, swap);
    return sum.s0 === this.view.getInt32(16) && sum.s1 === this.view.getInt32(20);
  }

  /** Whether the frame verifies once one bit of its commit field is set again: it was a commit frame. */
  verifiesAsCommit(seed: Checksum, swap: boolean): boolean {
    const found = this.words[1]!;
    let verified = false;
    for (let bit = 0; bit < 32 && !verified; bit++) {
      this.words[1] = found ^ (1 << bit);
      verified = this.verifies(seed, swap);
    }
    this.words[1] = found;
    return verified;
  }
}

function readFully(fd: number, into: Uint8Array, offset: number): void {
  let done = 0;
  while (done < into.length) {
    const n = fs.readSync(fd, into, done, into.length - done, offset + done);
    if (n === 0) throw new Error('the file became shorter while it was read');
    done += n;
  }
}

interface Header {
  readonly swap: boolean;
  readonly pageBytes: number;
  readonly salt1: number;
  readonly salt2: number;
  readonly sum: Checksum;
}

const pageBytesPlausible = (n: number): boolean => n >= 512 && n <= 65536 && (n & (n - 1)) === 0;

/** The header, or what is wrong with it. */
function readHeader(bytes: Uint8Array<ArrayBuffer>): Header | string {
  const view = new DataView(bytes.buffer);
  const magic = view.getUint32(0);
  if (magic !== MAGIC_LITTLE && magic !== MAGIC_BIG) return `its magic number is 0x${magic.toString(16)}`;
  const swap = (magic === MAGIC_BIG) !== HOST_IS_BIG_ENDIAN;
  const sum = { s0: 0, s1: 0 };
  accumulate(sum, new Int32Array(bytes.buffer), 0, 6, swap);
  if (sum.s0 !== view.getInt32(24) || sum.s1 !== view.getInt32(28)) return 'its checksum does not match';
  const version = view.getUint32(4);
  if (version !== FORMAT_VERSION) return `its version is ${version}`;
  const pageBytes = view.getUint32(8);
  if (!pageBytesPlausible(pageBytes)) return `its page size is ${pageBytes}`;
  return { swap, pageBytes, salt1: view.getInt32(16), salt2: view.getInt32(20), sum };
}

/** Frames behind a header that does not verify, proved by their own chain of checksums or by their common salts. */
function framesBehindBadHeader(fd: number, fileBytes: number, header: Uint8Array<ArrayBuffer>, pageBytesExpected: number): number {
  const view = new DataView(header.buffer);
  const sizes = new Set([view.getUint32(8), pageBytesExpected].filter(pageBytesPlausible));
  for (const pageBytes of sizes) {
    for (const swap of [HOST_IS_BIG_ENDIAN, !HOST_IS_BIG_ENDIAN]) {
      const reader = new FrameReader(fd, fileBytes, pageBytes);
      const computed = { s0: 0, s1: 0 };
      accumulate(computed, new Int32Array(header.buffer), 0, 6, swap);
      let previous: Checksum = { s0: view.getInt32(24), s1: view.getInt32(28) };
      let salts = '';
      let proved = 0;
      for (let f = 0; f < reader.frames; f++) {
        reader.load(f);
        const nonzero = reader.page !== 0 && (reader.salt1 !== 0 || reader.salt2 !== 0);
        const saltsHere = `${reader.salt1} ${reader.salt2}`;
        const verified = reader.verifies(previous, swap) || (f === 0 && reader.verifies(computed, swap));
        if (nonzero && (verified || saltsHere === salts)) proved++;
        salts = saltsHere;
        previous = reader.stored;
      }
      if (proved > 0) return proved;
    }
  }
  return 0;
}

/** What stands behind the first frame that does not verify. */
interface Behind {
  readonly followers: number;
  /** Followers that verify from the checksum stored before them. */
  readonly chained: number;
  /** Why the broken frame's transaction had ended before the last follower was written; undefined if nothing says so. */
  readonly proof: string | undefined;
}

/**
 * False where a sector ends between the frame's page number and commit field and its salts: in a tear the two may be of
 * different generations of the file, so the former prove nothing.
 */
function headInOneSector(reader: FrameReader, frame: number): boolean {
  const at = (HEADER_BYTES + frame * reader.frameBytes) % SECTOR_BYTES;
  return at + SALTS_END_BYTES <= SECTOR_BYTES;
}

function readBehind(reader: FrameReader, header: Header, broken: number, seed: Checksum, pagesOpen: Set<number>): Behind {
  reader.load(broken);
  const saltsCurrent = reader.salt1 === header.salt1 && reader.salt2 === header.salt2;
  const brokenCommits = saltsCurrent
    ? (reader.commit !== 0 && headInOneSector(reader, broken)) || reader.verifiesAsCommit(seed, header.swap)
    : reader.commit !== 0 && reader.verifies(seed, header.swap);
  const pages = new Set(pagesOpen);
  let repeated = 0;
  let lastFollowerRepeats = 0;
  if (saltsCurrent && reader.page !== 0 && headInOneSector(reader, broken)) pages.add(reader.page);
  let previous = reader.stored;
  let followers = 0;
  let chained = 0;
  let commitAt = -1;
  let commitWithFollowers = -1;
  for (let f = broken + 1; f < reader.frames; f++) {
    reader.load(f);
    if (reader.salt1 === header.salt1 && reader.salt2 === header.salt2 && reader.page !== 0) {
      followers++;
      const verified = reader.verifies(previous, header.swap);
      if (verified) chained++;
      if (commitAt >= 0 && commitWithFollowers < 0) commitWithFollowers = commitAt;
      if (lastFollowerRepeats !== 0) repeated = lastFollowerRepeats;
      lastFollowerRepeats = 0;
      if (!verified && !headInOneSector(reader, f)) {
        previous = reader.stored;
        continue;
      }
      if (pages.has(reader.page)) {
        if (reader.commit === 0) repeated = reader.page;
        else lastFollowerRepeats = reader.page; // counts only if something follows it
      }
      pages.add(reader.page);
      if (reader.commit !== 0) commitAt = f;
    }
    previous = reader.stored;
  }
  let proof: string | undefined;
  if (followers > 0 && brokenCommits) proof = 'it is a commit frame itself';
  else if (commitWithFollowers >= 0) proof = `frame ${commitWithFollowers + 1} behind it is a commit with more frames behind`;
  else if (repeated !== 0) proof = `page ${repeated} stands before and after the end of a transaction`;
  return { followers, chained, proof };
}

function checkFrames(reader: FrameReader, header: Header, fileBytes: number): WalCheck {
  let seed = header.sum;
  let valid = 0;
  let commits = 0;
  const pagesOpen = new Set<number>();
  for (; valid < reader.frames; valid++) {
    reader.load(valid);
    if (reader.salt1 !== header.salt1 || reader.salt2 !== header.salt2 || reader.page === 0) break;
    if (!reader.verifies(seed, header.swap)) break;
    seed = reader.stored;
    pagesOpen.add(reader.page);
    if (reader.commit !== 0) {
      commits = valid + 1;
      pagesOpen.clear();
    }
  }
  const offset = valid < reader.frames || reader.restBytes > 0 ? reader.offset(valid) : fileBytes;
  const found = { validFrames: valid, commitFrames: commits, offset };
  const kept = `${commits} frames up to the last commit verify`;
  if (valid === reader.frames) {
    if (reader.restBytes > 0) {
      return { state: 'torn-tail', ...found, detail: `${kept}; a frame at offset ${offset} is cut short` };
    }
    if (valid > commits) return { state: 'torn-tail', ...found, detail: `${kept}; ${valid - commits} behind have no commit` };
    return { state: 'intact', ...found, detail: kept };
  }
  const behind = readBehind(reader, header, valid, seed, pagesOpen);
  const where = `frame ${valid + 1} at offset ${offset} does not verify`;
  if (behind.proof !== undefined) {
    const detail = `${where}, yet ${behind.followers} later frames bear the current salts (${behind.chained} verify in chain) and ${behind.proof}; ${kept}`;
    return { state: 'damaged', ...found, detail };
  }
  if (behind.followers > 0) {
    const detail = `${kept}; ${where}, and the ${behind.followers} frames behind are of the same last transaction`;
    return { state: 'torn-tail', ...found, detail };
  }
  reader.load(valid);
  const ours = (reader.salt1 === header.salt1 && reader.salt2 === header.salt2) || reader.verifies(seed, header.swap);
  if (ours) {
    const detail = `${kept}; the last ${where}: a torn write, or damage to the last commit, which looks the same`;
    return { state: 'torn-tail', ...found, detail };
  }
  if (valid > commits) return { state: 'torn-tail', ...found, detail: `${kept}; ${valid - commits} behind have no commit` };
  return { state: 'intact', ...found, detail: `${kept}; stale frames of an earlier round behind` };
}

function checkOpen(fd: number, pageBytesExpected: number): WalCheck {
  const fileBytes = fs.fstatSync(fd).size;
  const none = { validFrames: 0, commitFrames: 0, offset: 0 };
  if (fileBytes === 0) return { state: 'empty', ...none, detail: 'empty' };
  if (fileBytes < HEADER_BYTES) return { state: 'torn-tail', ...none, detail: `header cut short at ${fileBytes} bytes` };
  const bytes = new Uint8Array(HEADER_BYTES);
  readFully(fd, bytes, 0);
  const header = readHeader(bytes);
  if (typeof header !== 'string') return checkFrames(new FrameReader(fd, fileBytes, header.pageBytes), header, fileBytes);
  const frames = framesBehindBadHeader(fd, fileBytes, bytes, pageBytesExpected);
  if (frames === 0) return { state: 'torn-tail', ...none, detail: `header does not verify (${header}), no frames behind it` };
  const detail = `header at offset 0 does not verify (${header}), yet ${frames} frames stand behind it`;
  return { state: 'damaged', ...none, detail };
}

/** Checks the WAL at `path`. Never throws for what is in the file, only where it cannot be read. */
export function checkWal(path: string, pageBytesExpected = 4096): WalCheck {
  let fd: number;
  try {
    fd = fs.openSync(path, 'r');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    return { state: 'absent', validFrames: 0, commitFrames: 0, detail: 'no file', offset: 0 };
  }
  try {
    return checkOpen(fd, pageBytesExpected);
  } finally {
    fs.closeSync(fd);
  }
}
