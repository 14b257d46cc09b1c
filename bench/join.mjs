// What clients of a leader feel of a member that is added: three nodes that hold many keys and have cut their logs behind a
// published snapshot, one load on the leader, half of what saturates them, in windows: alone, from HOLDFAST ADDNODE until the
// new member votes, with it, and beside a process that burns as much CPU as it did.
import { stringOf, loadStrings } from './lib/datasets.mjs';
import { nowMs, saturationOf } from './lib/load.mjs';
import { ONLY_ASKED_FOR, pause, until, Workplace } from './lib/lone.mjs';
import { PacedLoad } from './lib/paced.mjs';
import { cpuSeconds, kill, sessionNice } from './lib/processes.mjs';
import { fixed, printTable, record } from './lib/results.mjs';
import { burn, windowOf, Windows, windowTable } from './lib/windows.mjs';

const MEMBERS = ['n1', 'n2', 'n3'];
const CLIENTS = 50;
const WARM_UP_MS = 3000;
/** Of the windows without a change of members. */
const WINDOW_SECONDS = 15;
/** So often the bench looks how far the new member is: each look is work for one of the nodes. */
const LOOK_MS = 250;
const JOIN_MS_MAX = 300_000;
const P99_OF_ALONE_MAX = 1.2;
const ORDER = ['alone', 'beside a burner', 'a member joins', 'with the new member'];

/** Log, snapshot, archive of three nodes, and what the new one has. */
const bytesNeeded = (keys) => keys * 4000 + 8e9;
const commandFor = (keys) => (random) => stringOf(random.below(keys));

export async function benchJoin(options) {
  const place = new Workplace(options, bytesNeeded(options.keys), { tellWhose: true });
  try {
    const directives = [...ONLY_ASKED_FOR, '--log-keep-bytes', '0'];
    const nodes = place.cluster(MEMBERS, directives);
    const leader = await startWithSnapshot(nodes, options.keys);
    const measured = await measure(place, { leader, directives, snapshotterPid: nodes[0].snapshotterPid, ...options });
    report(options, measured);
  } finally {
    await place.close();
  }
}

/** Loaded, a snapshot published, and no log without it. Resolves to the leader. */
async function startWithSnapshot(nodes, keys) {
  await Promise.all(nodes.map((node, i) => node.start({ snapshotter: i === 0 })));
  const leader = await until('a leader', 10_000, () => leaderOf(nodes));
  process.stderr.write(`loading ${keys} keys\n`);
  await loadStrings(leader, keys);
  const [first] = nodes;
  await first.untilFollowed();
  await first.takeSnapshot();
  await until('the cut of the logs', 60_000, () => nodes.every((node) => node.logged('the log is cut: a published snapshot holds what was before') !== undefined));
  return leader;
}

async function leaderOf(nodes) {
  for (const node of nodes) if ((await node.control.info('raft')).get('raft_state') === 'leader') return node;
  return undefined;
}

/** The snapshotter stands still throughout: what it costs is another bench's. */
async function measure(place, { leader, directives, snapshotterPid, keys, repeats, from }) {
  kill(snapshotterPid, 'SIGSTOP');
  const saturation = await saturationOf({ port: leader.port, clients: CLIENTS, first: commandFor(keys) });
  const perSecond = Math.round(saturation / 2);
  process.stderr.write(`saturated at ${Math.round(saturation)} SETs a second; the load is ${perSecond}\n`);
  const windows = new Windows();
  const joins = [];
  const load = await PacedLoad.start({ port: leader.port, clients: CLIENTS, perSecond, command: commandFor(keys) });
  try {
    await pause(WARM_UP_MS);
    for (let i = 0; i < repeats; i++) {
      const joiner = place.joiner(`n${MEMBERS.length + 1 + i}`, { directives, objects: from === 'peer' ? undefined : leader.objects });
      joins.push(await round({ leader, joiner, load, windows, from }));
      process.stderr.write(`joined ${i + 1} of ${repeats}\n`);
    }
  } finally {
    await load.stop();
  }
  return { saturation, perSecond, joins, rows: windows.rows('leader of three', ORDER) };
}

async function round({ leader, joiner, load, windows, from }) {
  const still = () => pause(WINDOW_SECONDS * 1000);
  const termBefore = await termOf(leader);
  windows.add('alone', await windowOf(leader, load, still), 0);
  const joining = await windowOf(leader, load, () => join(leader, joiner));
  const { cpu, nice, ...times } = joining.result;
  const { seconds } = joining.window;
  windows.add('a member joins', joining, cpu / seconds);
  const cpuBefore = cpuSeconds(joiner.pid);
  const joined = await windowOf(leader, load, still);
  windows.add('with the new member', joined, (cpuSeconds(joiner.pid) - cpuBefore) / joined.window.seconds);
  await leader.control.call('HOLDFAST', 'REMOVENODE', joiner.id);
  await joiner.ended();
  const burning = await windowOf(leader, load, () => burn(cpu / seconds, seconds, { sessionNice: nice }));
  windows.add('beside a burner', burning, burning.result / seconds);
  if ((await termOf(leader)) !== termBefore) throw new Error('the leader changed under load, so the figures mean nothing; run again');
  if (joiner.logged('the snapshot is in place') === undefined) throw new Error('the new member did not start from the snapshot');
  if (from === 'peer' && joiner.logged('a snapshot is fetched from a peer, and whole') === undefined) throw new Error('the new member did not have the snapshot from a peer');
  return { ...times, cpuSeconds: cpu, nice, loadSeconds: joiner.logged('the snapshot is loaded').seconds };
}

/** The term, while this node leads. */
async function termOf(node) {
  const info = await node.control.info('raft');
  if (info.get('raft_state') !== 'leader') throw new Error('the leader changed under load, so the figures mean nothing; run again');
  return info.get('raft_term');
}

/** All that an operator does, until the new member votes. */
async function join(leader, joiner) {
  const startMs = nowMs();
  // What it does to be in nobody's way, the burner does too.
  let nice = 0;
  const looking = setInterval(() => (nice = Math.max(nice, joiner.pid === undefined ? 0 : sessionNice(joiner.pid))), LOOK_MS);
  try {
    await added(leader, joiner);
    const readySeconds = (nowMs() - startMs) / 1000;
    await voting(leader);
    return { readySeconds, voteSeconds: (nowMs() - startMs) / 1000, cpu: cpuSeconds(joiner.pid), nice };
  } finally {
    clearInterval(looking);
  }
}

async function added(leader, joiner) {
  await leader.control.call('HOLDFAST', 'ADDNODE', joiner.id, joiner.address);
  await joiner.initJoining(leader.port);
  await joiner.start({ snapshotter: false, askEveryMs: LOOK_MS });
}

async function voting(leader) {
  await until('the new member to vote', JOIN_MS_MAX, async () => {
    await pause(LOOK_MS);
    const info = await leader.control.info('raft');
    return info.get('raft_voters') === String(MEMBERS.length + 1) && info.get('raft_members_changing') === '0';
  });
}

function report(options, { saturation, perSecond, joins, rows }) {
  const { keys, repeats, from } = options;
  console.log(`${keys} keys of 20 B with 100 B on three nodes; ${perSecond} SETs a second to the leader from ${CLIENTS} clients, half of the ${Math.round(saturation)} that saturate them; waits from when each was due, ms; ${repeats} members added one after another, each starting from a snapshot ${from === 'peer' ? 'that it has from a peer' : 'in the object store'}\n`);
  printTable(...windowTable(rows));
  printTable(
    ['member added', '', 'ready after s', 'votes after s', 'snapshot loaded in s', 'CPU s', 'priority'],
    joins.map((one, i) => [i + 1, '', fixed(one.readySeconds, 1), fixed(one.voteSeconds, 1), fixed(one.loadSeconds, 1), fixed(one.cpuSeconds, 1), one.nice]),
  );
  const at = (window) => rows.find((row) => row.window === window);
  const joining = at('a member joins');
  const ratios = { p99OfAlone: joining.p99 / at('alone').p99, p99OfBurner: joining.p99 / at('beside a burner').p99, p999OfAlone: joining.p999 / at('alone').p999 };
  console.log(`while a member joins, the leader's p99 is ${fixed(ratios.p99OfAlone)}× that alone (to be at most ${P99_OF_ALONE_MAX}), ${fixed(ratios.p99OfBurner)}× that beside the burner; p99.9 ${fixed(ratios.p999OfAlone)}× that alone\n`);
  record(options, 'join', { keys, repeats, from, clients: CLIENTS, saturation, perSecond, ratios, joins, rows });
}
