// `holdfast addnode | removenode | members`, and what `holdfast init --join` asks a member: who the members are.
import type { MemberAddress } from '../base/configuration.ts';
import { OperationalError } from '../base/errors.ts';
import type { RespValue } from '../resp/reply-parser.ts';
import { takeOption } from './options.ts';
import { parseAddress, RespClient, textOf, type RespAddress } from './resp-client.ts';
import { tableText } from './terminal.ts';

export interface KnownMember extends MemberAddress {
  readonly role: string;
  /** Of its data directory; empty if it was never met. */
  readonly incarnation: string;
  readonly matchIndex: number;
  readonly connected: boolean;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const wrong = (text: string): OperationalError => new OperationalError('CONFIG', `command line: ${text}`);

/** A map in RESP2: names and values in turn. */
function fieldsOf(reply: RespValue): Map<string, RespValue> {
  const fields = new Map<string, RespValue>();
  if (reply.kind !== 'array') return fields;
  for (let i = 0; i + 1 < reply.items.length; i += 2) fields.set(textOf(reply.items[i]!), reply.items[i + 1]!);
  return fields;
}

function memberFrom(reply: RespValue): KnownMember {
  const fields = fieldsOf(reply);
  const text = (name: string): string => {
    const value = fields.get(name);
    return value === undefined ? '' : textOf(value);
  };
  return {
    id: Number(text('id')),
    name: text('name'),
    host: text('host'),
    peerPort: Number(text('peer-port')),
    clientPort: Number(text('client-port')),
    role: text('role'),
    incarnation: text('directory'),
    matchIndex: Number(text('match-index')),
    connected: text('connected') === '1',
  };
}

async function membersAt(client: RespClient): Promise<KnownMember[]> {
  const reply = await client.ask('HOLDFAST', 'MEMBERS');
  return reply.kind === 'array' ? reply.items.map(memberFrom) : [];
}

/** Of the cluster that this member belongs to: its id, and who the members are. */
export async function askCluster(address: RespAddress): Promise<{ readonly clusterId: string; readonly members: readonly KnownMember[] }> {
  const client = await RespClient.connect(address);
  try {
    const cluster = fieldsOf(await client.ask('HOLDFAST', 'STATUS')).get('cluster');
    return { clusterId: cluster === undefined ? '' : textOf(cluster), members: await membersAt(client) };
  } finally {
    client.close();
  }
}

/** A connection to the leader, whichever member was named. */
async function connectLeader(words: string[], verb: string): Promise<RespClient> {
  const to = takeOption(words, 'to');
  const password = takeOption(words, 'password') ?? '';
  if (to === undefined) throw wrong(`${verb} needs --to host:port, a member of the cluster`);
  const client = await RespClient.connect(parseAddress(to, password));
  const status = fieldsOf(await client.ask('HOLDFAST', 'STATUS'));
  const leader = status.get('leader-address');
  if (leader === undefined || textOf(leader) === '') {
    client.close();
    throw new OperationalError('PEER', `${client.address} knows of no leader; try again when the cluster has one`);
  }
  if (textOf(status.get('state') ?? leader) === 'leader') return client;
  client.close();
  return RespClient.connect(parseAddress(textOf(leader), password));
}

export async function members(args: readonly string[]): Promise<void> {
  const words = [...args];
  const client = await connectLeader(words, 'members');
  try {
    const rows = (await membersAt(client)).map((member) => [
      member.name, member.role, `${member.host}:${member.peerPort}/${member.clientPort}`, String(member.matchIndex),
      member.connected ? 'connected' : 'not connected', member.incarnation,
    ]);
    print(tableText([['name', 'role', 'address', 'match', 'state', 'directory'], ...rows]));
  } finally {
    client.close();
  }
}

export async function addNode(args: readonly string[]): Promise<void> {
  const words = [...args];
  const [name, address] = words.splice(0, 2);
  if (name === undefined || address === undefined || name.startsWith('--') || address.startsWith('--')) {
    throw wrong('addnode needs a name and an address: addnode n4 10.0.0.4:16379/6379 --to host:port');
  }
  const client = await connectLeader(words, 'addnode');
  try {
    await client.ask('HOLDFAST', 'ADDNODE', name, address);
    print(
      `${name} is a member of the cluster, and learns. On its machine: holdfast init FILE --join ${client.address}, then holdfast serve FILE. ` +
        `It votes by itself once it has caught up; holdfast members shows that.`,
    );
  } finally {
    client.close();
  }
}

export async function removeNode(args: readonly string[]): Promise<void> {
  const words = [...args];
  const [name] = words.splice(0, 1);
  if (name === undefined || name.startsWith('--')) throw wrong('removenode needs the name of a member: removenode n2 --to host:port');
  const client = await connectLeader(words, 'removenode');
  try {
    await client.ask('HOLDFAST', 'REMOVENODE', name);
    print(`${name} is no member of the cluster any more; its node stops by itself, and its directory is of no use.`);
  } finally {
    client.close();
  }
}
