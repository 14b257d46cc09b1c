// The object store that a command is to use: from the configuration, or from --from on the command line.
import fs from 'node:fs';
import path from 'node:path';
import { openObjectStore, parseObjectStoreUrl } from '../adapters/object-store-url.ts';
import { readEncryptionKeys } from '../adapters/encryption-keys.ts';
import { OperationalError } from '../base/errors.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { ConfigValues } from '../server/config-directives.ts';
import { loadConfig } from '../server/config-file.ts';
import { listClusters } from '../snapshot/catalog.ts';
import { nodeConfigFiles } from './config-files.ts';
import { takeOption } from './options.ts';

export async function openConfiguredStore(values: Readonly<ConfigValues>): Promise<ObjectStore> {
  return openStore(values['object-store'], values['object-store-key-file']);
}

async function openStore(url: string, keyFile: string): Promise<ObjectStore> {
  return openObjectStore(parseObjectStoreUrl(url), keyFile === '' ? {} : { keyFile });
}

/** Of the key that is written with; null: what is written is not encrypted. */
export function encryptionKeyId(values: Readonly<ConfigValues>): string | null {
  const file = values['object-store-key-file'];
  return file === '' ? null : readEncryptionKeys(file).newest.id;
}

export interface StoreChoice {
  readonly store: ObjectStore;
  readonly clusterId: string;
}

/** Takes --from, --key-file and --cluster out of the words; without --from they name a configuration. */
export async function chooseStore(words: string[]): Promise<StoreChoice> {
  const from = takeOption(words, 'from');
  const keyFile = takeOption(words, 'key-file');
  const cluster = takeOption(words, 'cluster');
  if (from !== undefined) {
    if (words.length > 0) throw new OperationalError('CONFIG', `command line: '${words.join(' ')}' has no meaning beside --from`);
    const store = await openStore(from, keyFile ?? '');
    return { store, clusterId: cluster ?? (await onlyCluster(store)) };
  }
  const [first, ...rest] = words;
  const file = first === undefined || first.startsWith('--') ? undefined : first;
  const { values } = loadConfig(nodeConfigFiles, file, file === undefined ? words : rest);
  if (values['object-store'] === '') {
    throw new OperationalError('CONFIG', 'command line: no object store is named; give --from URL, or a configuration file with object-store');
  }
  const store = await openStore(values['object-store'], keyFile ?? values['object-store-key-file']);
  return { store, clusterId: cluster ?? clusterIdOf(values) ?? (await onlyCluster(store)) };
}

async function onlyCluster(store: ObjectStore): Promise<string> {
  const clusters = await listClusters(store);
  const [only] = clusters;
  if (only !== undefined && clusters.length === 1) return only;
  const what = clusters.length === 0 ? 'nothing of any cluster' : `several clusters (${clusters.join(', ')}); name one with --cluster`;
  throw new OperationalError('CONFIG', `${store.location} has ${what}`);
}

/** The cluster of the configured node: configured too, or as its data directory says. */
export function clusterIdOf(values: Readonly<ConfigValues>): string | undefined {
  if (values['cluster-id'] !== '') return values['cluster-id'];
  try {
    const { identity } = JSON.parse(fs.readFileSync(path.join(values.dir, 'identity.json'), 'utf8')) as { identity: { clusterId: string } };
    return identity.clusterId;
  } catch {
    return undefined;
  }
}
