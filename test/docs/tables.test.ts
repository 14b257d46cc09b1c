// Keeps the documentation's tables equal to what they describe.
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { FRAME_HEADER_BYTES } from '../../src/adapters/peer-frame.ts';
import { FRAME_HEADER_BYTES as WAL_FRAME_HEADER_BYTES } from '../../src/adapters/wal-frame.ts';
import { ENTRY_FORMAT_VERSION, ENTRY_HEADER_BYTES, EntryKind } from '../../src/base/entry.ts';
import * as limits from '../../src/base/limits.ts';
import { REPLICATED_SETTING_NAMES } from '../../src/commands/replicated-settings.ts';
import { DIGEST_CHUNK_BYTES } from '../../src/keyspace/record-digest.ts';
import { INLINE_BYTES_MAX, KEY_BYTES_MAX } from '../../src/keyspace/record.ts';
import { MACHINE_VERSION } from '../../src/machine/machine.ts';
import { RECORD_HEADER_BYTES, RecordKind } from '../../src/machine/record-codec.ts';
import { BIG_BYTES } from '../../src/memory/allocator.ts';
import { SEGMENT_BYTES, SEGMENTS_MAX } from '../../src/memory/segments.ts';
import { defaultValues } from '../../src/server/config-directives.ts';
import { bare, codeSpans, page, read, root, table } from './markdown.ts';

const architecture = page('docs/architecture.md');
const formats = page('docs/data-formats.md');
const operations = page('docs/operations.md');
const consistency = page('docs/consistency.md');
const { MiB, KiB, GiB } = limits;

describe('docs/architecture.md', () => {
  test('the import table is the one that test/tidy/imports.test.ts enforces', () => {
    const text = read('test/tidy/imports.test.ts');
    const body = /const MAY_IMPORT[^=]*= \{([\s\S]*?)\n\};/.exec(text)?.[1] ?? '';
    const enforced = new Map<string, string[] | '*'>();
    for (const [, folder = '', list = ''] of body.matchAll(/^\s*(\w+): (\[[^\]]*\]|'\*'),/gm)) {
      enforced.set(folder, list === "'*'" ? '*' : [...list.matchAll(/'(\w+)'/g)].map((match) => match[1] ?? ''));
    }
    expect(enforced.size).toBeGreaterThan(9);
    const written = new Map<string, string[] | '*'>();
    for (const [folder, , imports = ''] of table(architecture, 'Folder', 'What is in it', 'May import')) {
      written.set(bare(folder), imports === 'everything' ? '*' : imports === '–' ? [] : imports.split(', '));
    }
    expect(written).toEqual(enforced);
    expect([...written.keys()].sort()).toEqual(fs.readdirSync(path.join(root, 'src')).sort());
  });

  test('every function on the hot path is in the file that is named', () => {
    const rows = table(architecture, '#', 'File', 'Functions', 'What');
    const missing: string[] = [];
    rows.forEach(([number, file, functions = ''], i) => {
      expect(number).toBe(String(i + 1));
      const text = read(bare(file));
      for (const name of codeSpans(functions)) {
        // A declaration or a method, not merely a word: name( or name: or const name.
        if (!new RegExp(`(^|[^\\w#])${name.replace('#', '#')}(\\(|:| = )`, 'm').test(text)) missing.push(`${bare(file)}: ${name}`);
      }
    });
    expect(rows.length).toBeGreaterThan(15);
    expect(missing).toEqual([]);
  });

  test('operational codes are those of src/base/errors.ts', () => {
    const row = table(architecture, 'Kind', 'Form', 'What happens').find(([kind]) => kind === 'Operational')?.[1] ?? '';
    const written = codeSpans(row).filter((span) => /^[A-Z_]+$/.test(span));
    const declared = [...read('src/base/errors.ts').matchAll(/^ {2}\| '([A-Z_]+)'/gm)].map((match) => match[1] ?? '');
    expect(written).toEqual(declared);
  });
});

describe('docs/data-formats.md', () => {
  const numbers = (head: string): Record<string, number> =>
    Object.fromEntries(table(formats, head, 'Number').map(([name, number]) => [bare(name), Number(number)]));

  test('kinds of entries and records', () => {
    expect(numbers('Entry kind')).toEqual({ ...EntryKind });
    expect(numbers('Record kind')).toEqual({ ...RecordKind });
  });

  test('sizes and versions', () => {
    const lastOffsets = formats.split('\n').filter((line) => /^\| \d+ \| … \|/.test(line)).map((line) => Number(/\d+/.exec(line)?.[0]));
    expect(lastOffsets).toEqual([ENTRY_HEADER_BYTES, RECORD_HEADER_BYTES, 44, WAL_FRAME_HEADER_BYTES, FRAME_HEADER_BYTES]);
    const versions = Object.fromEntries(table(formats, 'What', 'Version', 'Owner').map(([what, version]) => [bare(what), version]));
    expect(versions['Log entry']).toBe(String(ENTRY_FORMAT_VERSION));
    expect(versions['Records in an entry']).toContain(String(MACHINE_VERSION));
    for (const [file, what] of [['src/adapters/wal-segment.ts', 'Segment of the log'], ['src/adapters/data-dir.ts', 'identity.json']] as const) {
      expect(versions[what]?.split(' ')[0]).toBe(/FORMAT_VERSION = (\d+)/.exec(read(file))?.[1]);
    }
    expect(versions['Peer handshake and frames']).toBe(/^const VERSION = (\d+)/m.exec(read('src/adapters/peer-handshake.ts'))?.[1]);
    expect(formats).toContain(`${DIGEST_CHUNK_BYTES} bytes`);
    expect(formats).toContain(`above ${INLINE_BYTES_MAX} bytes`);
    expect(formats).toContain(`${SEGMENT_BYTES / MiB} MiB segments`);
    expect(REPLICATED_SETTING_NAMES[0]).toBe(/"settings": \[\["([\w-]+)"/.exec(formats)?.[1]);
  });

  test('fields of a frame and of a segment stand where the sources say', () => {
    const frame = read('src/adapters/wal-frame.ts');
    const rows = table(formats, 'Offset', 'Size', 'Field of a frame');
    expect(rows.length).toBeGreaterThan(10);
    for (const [offset = '', size = ''] of rows) expect(frame, `offset ${offset}`).toMatch(new RegExp(`^//\\s+${offset}\\s+${size}\\s`, 'm'));
    expect(rows.at(-1)?.[0]).toBe(String(WAL_FRAME_HEADER_BYTES));
    const identityAt = /IDENTITY_AT = (\d+)/.exec(read('src/adapters/wal-segment.ts'))?.[1];
    expect(table(formats, 'Offset', 'Size', "Field of a segment's header").at(-1)?.[0]).toBe(identityAt);
  });

  test('fields of identity.json', () => {
    const declared = /interface DataDirIdentity \{([\s\S]*?)\n\}/.exec(read('src/adapters/data-dir.ts'))?.[1] ?? '';
    const names = [...declared.matchAll(/readonly (\w+): /g)].map((match) => match[1] ?? '').filter((name) => name !== 'since' && name !== 'reason');
    expect(names.length).toBeGreaterThan(6);
    expect(names.filter((name) => !formats.includes(`\`${name}\``))).toEqual([]);
  });
});

describe('docs/operations.md', () => {
  function bytesOf(text: string): number {
    const [, number = '', unit] = /^(\d+)(?: (KiB|MiB|GiB))?$/.exec(text) ?? [];
    return Number(number) * (unit === 'KiB' ? KiB : unit === 'MiB' ? MiB : unit === 'GiB' ? GiB : 1);
  }

  test('limits are those of src/base/limits.ts, all of them', () => {
    const written = Object.fromEntries(table(operations, 'Limit', 'Value', 'Of what').map(([name, value = '']) => [bare(name), bytesOf(value)]));
    const declared = Object.fromEntries(Object.entries(limits).filter(([name]) => !['KiB', 'MiB', 'GiB'].includes(name)));
    expect(written).toEqual(declared);
    expect(operations).toContain(`a key is ${KEY_BYTES_MAX / MiB} MiB at most`);
    expect(operations).toContain(`values up to ${BIG_BYTES / MiB} MiB share ${(SEGMENTS_MAX * SEGMENT_BYTES) / GiB} GiB`);
  });

  test('log lines are in the source, at the level that is named', () => {
    const files = fs.readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const source = files.map((file) => read(path.join('src', file))).join('\n').replace(/['"`] \+\s*['"`]/g, '');
    // Returned by clusterSecretWarning and logged by its caller; its level chosen by a variable.
    const levelElsewhere = new Set(['no cluster-secret is set', 'no connection to peer']);
    const wrong: string[] = [];
    for (const [cell, level] of table(operations, 'Message', 'Level', 'Meaning')) {
      const message = bare(cell);
      const places = [...source.matchAll(new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'g'))].map((match) => match.index);
      // The call that the text stands in: log.warn(fields, 'text') or report('warn', key, fields, 'text').
      const calls = places.map((at) => [...source.slice(Math.max(0, at - 500), at).matchAll(/(?:\.|report\(')(debug|info|warn|error)(?:\(|',)/g)].at(-1)?.[1]);
      if (places.length === 0 || (!calls.includes(level) && !levelElsewhere.has(message))) wrong.push(`${message}: ${places.length === 0 ? 'not in the source' : `${calls.join(', ')}, not ${level}`}`);
    }
    expect(wrong).toEqual([]);
  });

  test('the default port and the offset of the peers', () => {
    expect(operations).toContain(`\`port\`, ${defaultValues().port}`);
    expect(read('src/server/config-directives.ts')).toContain('values.port + 10_000');
  });
});

test('docs/consistency.md: the lease that it computes is the one of the defaults', () => {
  const { 'heartbeat-interval-ms': tickMs, 'election-timeout-ms': electionMs, 'lease-drift-ms': driftMs } = defaultValues();
  const ticks = Math.round(electionMs / tickMs);
  const promiseMs = (ticks - 1) * tickMs;
  expect(consistency).toContain(`With the defaults (${tickMs}, ${electionMs}, ${driftMs}) the lease is ${ticks - 1} × ${tickMs} − ${driftMs} = ${promiseMs - driftMs} ms`);
  expect(consistency).toContain(`(${promiseMs} against ${promiseMs - driftMs} ms)`);
  expect(driftMs / (promiseMs - driftMs)).toBe(1 / 8); // "an eighth"
  const maintenance = read('src/server/maintenance.ts');
  expect(maintenance).toContain('CHECKPOINT_ENTRIES = 10_000');
  expect(maintenance).toContain('CHECKPOINT_MS = 60_000');
});

test('docs/dependencies.md: every dependency with its licence, and no other', () => {
  const manifest = JSON.parse(read('package.json')) as { dependencies: Record<string, string>; devDependencies: Record<string, string> };
  const text = page('docs/dependencies.md');
  const [atRunTime = '', forDevelopment = ''] = text.split('## For development');
  for (const [part, names] of [[atRunTime, Object.keys(manifest.dependencies)], [forDevelopment, Object.keys(manifest.devDependencies)]] as const) {
    const rows = table(part, 'Package', 'Licence', 'Why', 'What would replace it');
    expect(rows.map(([name]) => bare(name)).sort()).toEqual([...names].sort());
    for (const [name, licence] of rows) {
      const installed = JSON.parse(read(`node_modules/${bare(name)}/package.json`)) as { license: string };
      expect(licence, bare(name)).toBe(installed.license);
    }
  }
});
