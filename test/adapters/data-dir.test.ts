import crypto from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { initDataDir, openDataDir, setDamagedLogAside } from '../../src/adapters/data-dir.ts';
import type { DataDir, DataDirInit, DataDirStep } from '../../src/adapters/data-dir.ts';
import { openWalLog } from '../../src/adapters/wal-log.ts';
import { OperationalError } from '../../src/base/errors.ts';
import { startScript } from './child-script.ts';
import { appended, flipBit, sealed, segmentsOf, tempDir, usedBytes } from './temp-dir.ts';

const init: DataDirInit = {
  clusterId: 'cluster-1',
  nodeName: 'n1',
  nodeId: 1,
  members: [{ id: 1, name: 'n1', host: '127.0.0.1', port: 7601 }, { id: 2, name: 'n2' }],
  bootstrap: { hashKey: '00ff', settings: { databases: 16 } },
};

const held: DataDir[] = [];
afterEach(() => {
  for (const dataDir of held.splice(0)) dataDir.release();
});

function open(dir: string, expected?: Parameters<typeof openDataDir>[1]): DataDir {
  const dataDir = openDataDir(dir, expected);
  held.push(dataDir);
  return dataDir;
}

/** The text of the DATA_DIR error that this throws. */
function refusal(f: () => unknown): string {
  try {
    f();
  } catch (thrown) {
    expect(thrown, String(thrown)).toBeInstanceOf(OperationalError);
    expect(thrown).toMatchObject({ code: 'DATA_DIR' });
    return (thrown as Error).message;
  }
  throw new Error('not refused');
}

function fresh(): string {
  const dir = join(tempDir(), 'parent', 'n1');
  initDataDir(dir, init);
  return dir;
}

describe('the data directory', () => {
  test('init makes parents, identity and an empty log; open reads them', () => {
    const dir = join(tempDir(), 'a', 'b', 'n1');
    const identity = initDataDir(dir, init);
    expect(identity).toMatchObject({ ...init, rejoining: null, settingAside: null });
    expect(identity.incarnation).toMatch(/^[0-9a-f]{32}$/);
    expect(fs.readdirSync(dir).sort()).toEqual(['identity.json', 'lock.db', 'log']);
    const dataDir = open(dir, { nodeName: 'n1', clusterId: 'cluster-1' });
    expect(dataDir.identity).toEqual(identity);
    expect(fs.readFileSync(join(dir, 'LOCK'), 'utf8')).toBe(`${process.pid}\n`);
    const log = openWalLog({ path: dataDir.logPath, identity: dataDir.identity });
    expect(log.lastIndex).toBe(0);
    log.close();
    dataDir.release();
    dataDir.release();
    expect(fs.existsSync(join(dir, 'LOCK'))).toBe(false);
    expect(initDataDir(join(tempDir(), 'x'), init).incarnation).not.toBe(identity.incarnation);
  });

  test('init refuses what is there already', () => {
    const dir = fresh();
    expect(refusal(() => initDataDir(dir, init))).toContain(`${dir} holds a node already`);
    fs.rmSync(join(dir, 'identity.json'));
    expect(refusal(() => initDataDir(dir, init))).toContain('holds a log without identity.json');
    expect(refusal(() => initDataDir(join(tempDir(), 'x'), { ...init, nodeId: 0 }))).toContain('no identity');
    const file = join(tempDir(), 'file');
    fs.writeFileSync(file, '');
    expect(refusal(() => initDataDir(join(file, 'x'), init))).toContain('cannot be made');
  });

  test('open says what is wrong and what to do', () => {
    const dir = fresh();
    expect(refusal(() => open(join(dir, 'none')))).toMatch(/none does not exist; check the path/);
    const foreign = tempDir();
    expect(refusal(() => open(foreign))).toMatch(/holds no node/);
    expect(fs.readdirSync(foreign)).toEqual([]);
    expect(refusal(() => open(dir, { nodeName: 'n2', clusterId: 'cluster-1' }))).toMatch(/belongs to node n1, not n2; check/);
    expect(refusal(() => open(dir, { nodeName: 'n1', clusterId: 'other' }))).toMatch(/belongs to cluster cluster-1, not other/);
    open(dir); // a refusal released the lock
  });

  test('any damage to identity.json is refused; another format says so', () => {
    const dir = fresh();
    const path = join(dir, 'identity.json');
    const whole = fs.readFileSync(path);
    const identity = openDataDir(dir);
    identity.release();
    let refused = 0;
    for (let byte = 0; byte < whole.length; byte++) {
      flipBit(path, byte, byte % 7);
      try {
        const opened = openDataDir(dir);
        opened.release();
        expect(opened.identity, `byte ${byte}`).toEqual(identity.identity); // white space alone
      } catch (thrown) {
        expect(thrown, `byte ${byte}`).toMatchObject({ code: 'DATA_DIR' });
        refused++;
      }
      fs.writeFileSync(path, whole);
    }
    expect(refused).toBeGreaterThan(whole.length / 2);
    fs.writeFileSync(path, whole.toString().replace('"format": 1', '"format": 2'));
    expect(refusal(() => open(dir))).toMatch(/format 2, this release reads format 1/);
    fs.truncateSync(path, 0);
    expect(refusal(() => open(dir))).toMatch(/is damaged/);
  });

  test('updateIdentity is durable and replaces the file whole', () => {
    const dir = fresh();
    const dataDir = open(dir);
    dataDir.updateIdentity({ members: [{ id: 1, name: 'n1' }] });
    dataDir.release();
    expect(fs.existsSync(join(dir, 'identity.json.new'))).toBe(false);
    expect(open(dir).identity.members).toEqual([{ id: 1, name: 'n1' }]);
    expect(refusal(() => dataDir.updateIdentity({}))).toContain('was released');
  });

  test('a second opener is refused, in this process and in another, until the first is gone', async () => {
    const dir = fresh();
    const script = `
      import { openDataDir } from './src/adapters/data-dir.ts';
      try {
        openDataDir(process.argv[2]); // the result dropped: the lock must not go with it
        for (let i = 0; i < 3; i++) {
          globalThis.gc();
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        console.log('open');
        setInterval(() => {}, 1000);
      } catch (thrown) {
        console.log(thrown.code + ' ' + thrown.message);
      }
    `;
    const first = startScript(script, [dir]);
    await first.lines(1);
    expect(first.wholeLines()).toEqual(['open']);
    expect(refusal(() => open(dir))).toContain(`is in use by process ${first.pid}; stop it first`);
    const second = startScript(script, [dir]);
    await second.lines(1);
    expect(second.wholeLines()[0]).toMatch(new RegExp(`^DATA_DIR .*process ${first.pid};`));
    await first.kill('SIGKILL');
    const dataDir = open(dir);
    expect(refusal(() => open(dir))).toContain(`process ${process.pid}`);
    dataDir.release();
    open(dir);
  });
});

const hash = (path: string): string => crypto.createHash('sha1').update(fs.readFileSync(path)).digest('hex');

describe('setting a damaged log aside', () => {
  async function used(): Promise<string> {
    const dir = fresh();
    const dataDir = open(dir);
    const log = openWalLog({ path: dataDir.logPath, identity: dataDir.identity });
    await appended(log, { hardState: { term: 3, vote: 1, commit: 0 }, entries: [sealed(1, 3, 100)] });
    log.close();
    dataDir.release();
    return dir;
  }

  function expectDone(dir: string, incarnationBefore: string, old: readonly string[]): void {
    const dataDir = open(dir);
    const { identity } = dataDir;
    expect(identity.incarnation).not.toBe(incarnationBefore);
    expect(identity).toMatchObject({ ...init, rejoining: { reason: 'page 7' }, settingAside: null });
    const log = openWalLog({ path: dataDir.logPath, identity });
    expect([log.lastIndex, log.hardState.term]).toEqual([0, 0]);
    log.close();
    const aside = fs.readdirSync(dir).filter((name) => name.startsWith('damaged-'));
    const kept = aside.filter((name) => fs.existsSync(join(dir, name, 'log')) && usedBytes(segmentsOf(join(dir, name, 'log'))[0]!) > 4300);
    expect(kept).toHaveLength(1);
    expect(segmentsOf(join(dir, kept[0]!, 'log')).map(hash)).toEqual(old);
    dataDir.release();
  }

  const oldFiles = (dir: string): string[] => segmentsOf(join(dir, 'log')).map(hash);

  test('keeps the files, gives a new incarnation and an empty log', async () => {
    const dir = await used();
    const old = oldFiles(dir);
    const dataDir = open(dir);
    const before = dataDir.identity.incarnation;
    setDamagedLogAside(dataDir, 'page 7');
    expect(dataDir.identity.rejoining?.since).toMatch(/^\d{4}-\d\d-\d\dT/);
    dataDir.release();
    expectDone(dir, before, old);
    const again = open(dir);
    again.updateIdentity({ rejoining: null });
    expect(again.identity.rejoining).toBeNull();
  });

  test('a log that is gone altogether', async () => {
    const dir = await used();
    fs.rmSync(join(dir, 'log'), { recursive: true });
    const dataDir = open(dir);
    expect(() => openWalLog({ path: dataDir.logPath, identity: dataDir.identity })).toThrow(/missing/);
    setDamagedLogAside(dataDir, 'missing');
    openWalLog({ path: dataDir.logPath, identity: dataDir.identity }).close();
  });

  test('a crash at any step, and again at any step of the repeat, leaves it undone or is finished by the next open', async () => {
    const steps: DataDirStep[] = [];
    const counted = open(await used());
    setDamagedLogAside(counted, 'page 7', (step) => steps.push(step));
    expect(steps).toEqual(['identity', 'move', 'create', 'done']);
    for (let crashAt = 0; crashAt < steps.length; crashAt++) {
      const dir = await used();
      const old = oldFiles(dir);
      const dataDir = open(dir);
      const before = dataDir.identity.incarnation;
      let step = 0;
      const crash = (): void => {
        if (step++ === crashAt) throw new Error('crash');
      };
      expect(() => setDamagedLogAside(dataDir, 'page 7', crash)).toThrow('crash');
      dataDir.release();
      if (crashAt === 0) {
        const untouched = open(dir);
        expect(untouched.identity).toMatchObject({ incarnation: before, rejoining: null });
        expect(oldFiles(dir)).toEqual(old);
        setDamagedLogAside(untouched, 'page 7');
        untouched.release();
      }
      expectDone(dir, before, old);
      expectDone(dir, before, old);
    }
  });
});
