// The file with the operator's keys for src/adapters/encrypted-store.ts: one key a line, the newest last.
//
//   # ID      32 bytes, as 64 hex digits or in base64 (openssl rand -hex 32)
//   2026-01   8f0c…
//   2026-11   3b77…
//   plain
//
// The last one encrypts, all decrypt. To rotate, append a line; a line may go when no object names its id any more. The word `plain`
// alone: objects that are not encrypted are read too, for as long as there are some from before there was a key. Without it they
// are refused, or whoever can write to the store could put forged ones in the place of ours.
import * as fs from 'node:fs';
import { OperationalError, errorText } from '../base/errors.ts';

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const KEY_BYTES = 32;

export class EncryptionKeys {
  /** Where they come from, for messages. */
  readonly path: string;
  /** Oldest first. */
  readonly ids: readonly string[];
  readonly newest: { readonly id: string; readonly key: Uint8Array };
  readonly plain: 'refused' | 'readable';
  readonly #keys: ReadonlyMap<string, Uint8Array>;

  /** `text` is the content of the file at `path`. */
  constructor(text: string, path: string) {
    const keys = new Map<string, Uint8Array>();
    let newest: { id: string; key: Uint8Array } | undefined;
    let plain: EncryptionKeys['plain'] = 'refused';
    text.split(/\r?\n/).forEach((line, at) => {
      const words = line.replace(/#.*/, '').trim().split(/\s+/);
      if (words[0] === '') return;
      if (words.length === 1 && words[0] === 'plain') {
        plain = 'readable';
        return;
      }
      const where = `${path}, line ${at + 1}`;
      const [id = '', encoded = ''] = words;
      // The key itself never stands in a message.
      if (words.length !== 2) throw refuse(`${where}: a line is an id and a key, not ${words.length} words`);
      if (!ID.test(id)) throw refuse(`${where}: an id has 1 to 63 letters, digits and . _ -, the first a letter or a digit`);
      if (keys.has(id)) throw refuse(`${where}: key ${id} is there twice; a new key needs an id of its own`);
      newest = { id, key: decodeKey(encoded, `${where}: key ${id}`) };
      keys.set(id, newest.key);
    });
    if (newest === undefined) throw refuse(`${path} has no key; write a line with an id and 32 random bytes in hex (openssl rand -hex 32)`);
    this.path = path;
    this.plain = plain;
    this.ids = [...keys.keys()];
    this.newest = newest;
    this.#keys = keys;
  }

  byId(id: string): Uint8Array | undefined {
    return this.#keys.get(id);
  }
}

export function readEncryptionKeys(path: string): EncryptionKeys {
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (thrown) {
    throw refuse(`the key file ${path} cannot be read: ${errorText(thrown)}; check the path and who may read it`, thrown);
  }
  return new EncryptionKeys(text, path);
}

function decodeKey(encoded: string, what: string): Uint8Array {
  const isHex = /^[0-9a-f]{64}$/i.test(encoded);
  const key = isHex ? Buffer.from(encoded, 'hex') : Buffer.from(encoded, 'base64');
  const isBase64 = /^[A-Za-z0-9+/]{43}=$/.test(encoded);
  if ((!isHex && !isBase64) || key.length !== KEY_BYTES) throw refuse(`${what}: a key is 32 bytes, as 64 hex digits or as 44 characters of base64`);
  return key;
}

function refuse(text: string, cause?: unknown): OperationalError {
  return new OperationalError('CONFIG', text, cause === undefined ? undefined : { cause });
}
