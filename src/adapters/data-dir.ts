// A node's data directory: who it belongs to, the lock against a second process, and setting a damaged log aside.
// Owns every file in it but those in log/, which wal-log.ts owns:
//   identity.json   below                          lock.db    empty SQLite file, locked while a process has the directory
//   log/            the log, in segments                LOCK       pid of that process, for the message only
//   restore/        the snapshot that the node starts from, if holdfast restore made it (src/snapshot/restore-files.ts)
//   damaged-TIME/   logs that were set aside, kept until an operator removes them
//
// identity.json, format 1: {"format": 1, "crc32c": hex of JSON.stringify(identity), "identity": {…}}. Replaced whole:
// write beside, fsync, rename, fsync the directory. Valid: format known, checksum matches, fields of the right type.
//
// What must hold:
// - identity.json is written last at init, so a directory that has one has a log; a log that is missing later is lost,
//   and never silently made anew, for the node may have voted and acknowledged with it.
// - A new log never comes under an old incarnation. Setting aside first gives the directory a new incarnation and
//   names the target (`settingAside`), in one write; then it moves the files and makes an empty log, which nobody
//   uses before `settingAside` is cleared. A crash in between is finished by the next open.
// - The lock is the kernel's, on lock.db through SQLite (Node has no flock), and ends with the process. POSIX locks
//   are lost when the process closes any descriptor of the file, so nothing else here ever opens lock.db.
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { isRecord } from '../base/checks.ts';
import { crc32c } from '../base/crc32c.ts';
import { OperationalError, errorText } from '../base/errors.ts';
import type { LogBase } from '../base/log-base.ts';
import { replaceSynced, syncPath } from './fsync.ts';
import { createWalLog } from './wal-log.ts';

const FORMAT_VERSION = 1;
const LOG = 'log';
/** The log of a Holdfast before the first release, in SQLite. */
const OLD_LOG = 'log.db';

export interface DataDirMember {
  readonly id: number;
  readonly name: string;
  readonly host?: string;
  readonly port?: number;
  readonly clientPort?: number;
}

export interface DataDirIdentity {
  readonly clusterId: string;
  /** Such as "n1". */
  readonly nodeName: string;
  /** Raft id, ≥ 1. */
  readonly nodeId: number;
  /** 32 hex digits; new with every log that this directory starts. */
  readonly incarnation: string;
  /** As of bootstrap, or of when this node joined; the log has the truth from there on. */
  readonly members: readonly DataDirMember[];
  /** It came later: the members vote as the log says, not all of them from the beginning. */
  readonly joined?: boolean;
  /** Set while this node must not vote: its log was set aside. Cleared once the cluster took it in under its new incarnation. */
  readonly rejoining: { readonly since: string; readonly reason: string } | null;
  /** What the bootstrap entry was or will be made of: hash key, settings. Opaque here. */
  readonly bootstrap: Readonly<Record<string, unknown>>;
  /** Directory that the log is being moved to; null when that is done. */
  readonly settingAside: string | null;
}

/** What the caller of init decides; the rest starts as an incarnation drawn at random (if none is given) and nulls. */
export type DataDirInit = Pick<DataDirIdentity, 'clusterId' | 'nodeName' | 'nodeId' | 'members' | 'bootstrap' | 'joined'> & {
  readonly incarnation?: string;
  /** The log begins behind this entry, of the snapshot in restore/. */
  readonly logBase?: LogBase;
};

export type DataDirPatch = Partial<Pick<DataDirIdentity, 'members' | 'joined' | 'rejoining' | 'bootstrap'>>;

/** Called before the named step; a test throws there to act a crash. */
export type DataDirStep = 'identity' | 'move' | 'create' | 'done';

const refuse = (text: string, cause?: unknown): OperationalError => new OperationalError('DATA_DIR', text, { cause });

const makeIncarnation = (): string => crypto.randomBytes(16).toString('hex');

const identityPath = (dir: string): string => join(dir, 'identity.json');

const checksum = (identity: unknown): string =>
  crc32c(Buffer.from(JSON.stringify(identity))).toString(16).padStart(8, '0');

function writeIdentity(dir: string, identity: DataDirIdentity): void {
  const path = identityPath(dir);
  const text = JSON.stringify({ format: FORMAT_VERSION, crc32c: checksum(identity), identity }, null, 2);
  try {
    replaceSynced(path, `${path}.new`, `${text}\n`);
  } catch (thrown) {
    throw refuse(`${path} cannot be written: ${errorText(thrown)}`, thrown);
  }
}

function isMember(x: unknown): x is DataDirMember {
  if (!isRecord(x) || !Number.isSafeInteger(x['id']) || typeof x['name'] !== 'string') return false;
  return ['string', 'undefined'].includes(typeof x['host']) && [x['port'], x['clientPort']].every((port) => ['number', 'undefined'].includes(typeof port));
}

function isIdentity(x: unknown): x is DataDirIdentity {
  if (!isRecord(x)) return false;
  const { clusterId, nodeName, nodeId, incarnation, members, joined, rejoining, bootstrap, settingAside } = x;
  return (
    [clusterId, nodeName].every((s) => typeof s === 'string' && s !== '') &&
    typeof nodeId === 'number' && Number.isSafeInteger(nodeId) && nodeId >= 1 &&
    ['boolean', 'undefined'].includes(typeof joined) &&
    typeof incarnation === 'string' && /^[0-9a-f]{32}$/.test(incarnation) &&
    Array.isArray(members) && members.every(isMember) &&
    (rejoining === null || (isRecord(rejoining) && typeof rejoining['since'] === 'string' && typeof rejoining['reason'] === 'string')) &&
    isRecord(bootstrap) &&
    (settingAside === null || (typeof settingAside === 'string' && /^damaged-[\w.-]+$/.test(settingAside)))
  );
}

function readIdentity(dir: string): DataDirIdentity {
  const path = identityPath(dir);
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw refuse(`${path} cannot be read: ${errorText(thrown)}`, thrown);
    throw refuse(`${dir} holds no node (no identity.json); check the path, or make one with holdfast init`);
  }
  const restore = 'restore it from a copy, or replace this node';
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (thrown) {
    throw refuse(`${path} is damaged (${errorText(thrown)}); ${restore}`, thrown);
  }
  if (!isRecord(file)) throw refuse(`${path} is damaged; ${restore}`);
  if (file['format'] !== FORMAT_VERSION) {
    throw refuse(`${path} has format ${JSON.stringify(file['format'])}, this release reads format ${FORMAT_VERSION}; use the release that wrote it`);
  }
  const identity = file['identity'];
  if (!isRecord(identity) || file['crc32c'] !== checksum(identity)) throw refuse(`${path} is damaged (its checksum does not match); ${restore}`);
  if (!isIdentity(identity)) throw refuse(`${path} has fields of the wrong type; ${restore}`);
  return identity;
}

/** Keeps the connections from the garbage collector, which would close them and so give up their locks. */
const locksHeld = new Set<Database.Database>();

/** Takes the kernel's lock on the directory, or says who has it. The result ends it. */
function lock(dir: string): () => void {
  const path = join(dir, 'lock.db');
  const pidPath = join(dir, 'LOCK');
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { timeout: 0 });
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN EXCLUSIVE');
    fs.writeFileSync(pidPath, `${process.pid}\n`);
  } catch (thrown) {
    db?.close();
    const code = thrown instanceof Database.SqliteError ? thrown.code : '';
    if (!code.startsWith('SQLITE_BUSY')) throw refuse(`${dir} cannot be locked (${path}): ${errorText(thrown)}`, thrown);
    let holder = 'another process';
    try {
      holder = `process ${fs.readFileSync(pidPath, 'utf8').trim()}`;
    } catch {
      // The holder has not written it yet.
    }
    throw refuse(`${dir} is in use by ${holder}; stop it first, or give this node a directory of its own`, thrown);
  }
  const held = db;
  locksHeld.add(held);
  return () => {
    fs.rmSync(pidPath, { force: true });
    locksHeld.delete(held);
    held.close();
  };
}

/** Makes `path` and its parents, and their directory entries durable. */
function makeDirectory(path: string): void {
  const made = fs.mkdirSync(path, { recursive: true, mode: 0o700 });
  if (made === undefined) return;
  for (let at = resolve(path); ; at = dirname(at)) {
    syncPath(dirname(at));
    if (at === resolve(made)) return;
  }
}

/** Makes the data directory of a new node, with an empty log, and leaves it closed. Refuses one that has a node or a log. */
export function initDataDir(dir: string, init: DataDirInit): DataDirIdentity {
  const identity: DataDirIdentity = {
    clusterId: init.clusterId,
    nodeName: init.nodeName,
    nodeId: init.nodeId,
    incarnation: init.incarnation ?? makeIncarnation(),
    members: init.members,
    ...(init.joined === true ? { joined: true } : {}),
    rejoining: null,
    bootstrap: init.bootstrap,
    settingAside: null,
  };
  if (!isIdentity(identity)) throw refuse(`${dir}: this is no identity of a node: ${JSON.stringify(identity)}`);
  try {
    makeDirectory(dir);
  } catch (thrown) {
    throw refuse(`${dir} cannot be made: ${errorText(thrown)}`, thrown);
  }
  const unlock = lock(dir);
  try {
    if (fs.existsSync(identityPath(dir))) throw refuse(`${dir} holds a node already; a directory is initialised once in its life`);
    if (fs.existsSync(join(dir, LOG))) {
      throw refuse(`${dir} holds a log without identity.json: either init did not finish (then empty the directory and repeat it) or the identity was lost (then restore it from a copy)`);
    }
    createWalLog(join(dir, LOG), identity, init.logBase);
    writeIdentity(dir, identity);
  } finally {
    unlock();
  }
  return identity;
}

/** A data directory that this process has locked. */
export class DataDir {
  readonly path: string;
  readonly logPath: string;
  #identity: DataDirIdentity;
  #unlock: (() => void) | undefined;

  constructor(path: string, identity: DataDirIdentity, unlock: () => void) {
    this.path = path;
    this.logPath = join(path, LOG);
    this.#identity = identity;
    this.#unlock = unlock;
  }

  get identity(): DataDirIdentity {
    return this.#identity;
  }

  updateIdentity(patch: DataDirPatch): void {
    this.replaceIdentity({ ...this.#identity, ...patch });
  }

  /** For this file; others patch. */
  replaceIdentity(identity: DataDirIdentity): void {
    if (this.#unlock === undefined) throw refuse(`${this.path} was released; it cannot be written`);
    if (!isIdentity(identity)) throw refuse(`${this.path}: this is no identity of a node: ${JSON.stringify(identity)}`);
    writeIdentity(this.path, identity);
    this.#identity = identity;
  }

  release(): void {
    this.#unlock?.();
    this.#unlock = undefined;
  }
}

/** Opens and locks the directory of an existing node, and finishes a setting aside that a crash cut short. */
export function openDataDir(dir: string, expected?: { readonly nodeName?: string; readonly clusterId?: string }): DataDir {
  if (!fs.existsSync(dir)) throw refuse(`${dir} does not exist; check the path, or make a node with holdfast init`);
  readIdentity(dir); // before lock(), which would leave its file in a directory that is not ours
  const unlock = lock(dir);
  try {
    const identity = readIdentity(dir);
    if (expected?.nodeName !== undefined && expected.nodeName !== identity.nodeName) {
      throw refuse(`${dir} belongs to node ${identity.nodeName}, not ${expected.nodeName}; check the path in the configuration`);
    }
    if (expected?.clusterId !== undefined && expected.clusterId !== identity.clusterId) {
      throw refuse(`${dir} belongs to cluster ${identity.clusterId}, not ${expected.clusterId}; check the path in the configuration`);
    }
    if (fs.existsSync(join(dir, OLD_LOG)) && !fs.existsSync(join(dir, LOG))) {
      throw refuse(`${join(dir, OLD_LOG)} is a log in SQLite, as before the first release, and is not read any more; make a new cluster and copy the keys over from the old program`);
    }
    const dataDir = new DataDir(dir, identity, unlock);
    if (identity.settingAside !== null) finishSettingAside(dataDir);
    return dataDir;
  } catch (thrown) {
    unlock();
    throw thrown;
  }
}

/**
 * Moves a damaged (or lost) log into damaged-TIME/ and starts an empty one under a new incarnation, with `rejoining`
 * set: the node may come back as a replaced member, and never votes from what it forgot. The log must be closed.
 */
export function setDamagedLogAside(dataDir: DataDir, reason: string, before: (step: DataDirStep) => void = () => {}): void {
  const since = new Date().toISOString();
  const base = `damaged-${since.replaceAll(':', '')}`;
  let settingAside = base;
  for (let n = 2; fs.existsSync(join(dataDir.path, settingAside)); n++) settingAside = `${base}-${n}`;
  before('identity');
  dataDir.replaceIdentity({ ...dataDir.identity, incarnation: makeIncarnation(), rejoining: { since, reason }, settingAside });
  finishSettingAside(dataDir, before);
}

/**
 * May run again from any point. A log in place whose name is taken in the target is the empty one of an earlier run,
 * for the old files are all moved before a new one is made, and nobody has used it.
 */
function finishSettingAside(dataDir: DataDir, before: (step: DataDirStep) => void = () => {}): void {
  const { path, identity } = dataDir;
  const target = join(path, identity.settingAside ?? '');
  try {
    makeDirectory(target);
    before('move');
    const from = join(path, LOG);
    if (fs.existsSync(from)) {
      if (fs.existsSync(join(target, LOG))) fs.rmSync(from, { recursive: true });
      else fs.renameSync(from, join(target, LOG));
    }
    syncPath(target);
    syncPath(path);
  } catch (thrown) {
    if (thrown instanceof OperationalError) throw thrown;
    throw refuse(`the log in ${path} cannot be moved to ${target}: ${errorText(thrown)}`, thrown);
  }
  before('create');
  createWalLog(dataDir.logPath, identity);
  before('done');
  dataDir.replaceIdentity({ ...identity, settingAside: null });
}
