// Every script in scripts/ prints what it says. RAFT_SCRIPT_REWRITE=1 writes what is printed into the scripts instead;
// what then changed is to be checked by hand against the thesis before it is kept.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatScript, parseScript, ScriptRunner } from './script-runner.ts';

const DIRECTORY = join(import.meta.dirname, 'scripts');

describe('scripts', () => {
  for (const name of readdirSync(DIRECTORY).filter((file) => file.endsWith('.txt')).sort()) {
    test(name, () => {
      const path = join(DIRECTORY, name);
      const runner = new ScriptRunner();
      const blocks = parseScript(readFileSync(path, 'utf8'));
      const actual = blocks.map((block) => ({
        ...block,
        expected: block.commands.length === 0 ? [] : runner.run(block.commands),
      }));
      if (process.env['RAFT_SCRIPT_REWRITE'] === '1') writeFileSync(path, formatScript(actual));
      else expect(formatScript(actual)).toBe(formatScript(blocks));
    });
  }
});
