// `npm test`: everything that CI runs after type check and lint. Installs, builds, runs the unit project (30 s of
// simulation included) and the end-to-end project, and closes with the true counts of all that ran.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { build, install, root } from './prepare.mjs';
import { ensureTools } from './tools.mjs';

const FAILURE_CHARS_MAX = 4000;

install();
build();
ensureTools();

const out = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-test-'));
let passed = 0;
let failed = 0;
let skipped = 0;
let broken = false;
const failures = [];
for (const project of ['unit', 'e2e']) {
  const report = path.join(out, `${project}.json`);
  const result = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...process.argv.slice(2)],
    { cwd: root, stdio: 'inherit' },
  );
  const counts = fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, 'utf8')) : undefined;
  if (counts === undefined) {
    console.error(`holdfast: the ${project} tests left no report (status ${result.status}, signal ${result.signal})`);
    broken = true;
    continue;
  }
  passed += counts.numPassedTests;
  failed += counts.numFailedTests;
  skipped += counts.numPendingTests + counts.numTodoTests;
  for (const file of counts.testResults) {
    const failedTests = file.assertionResults.filter((test) => test.status === 'failed');
    const messages = failedTests.map((test) => `${test.fullName}\n${test.failureMessages.join('\n')}`);
    if (file.status === 'failed' && failedTests.length === 0) messages.push(file.message);
    for (const message of messages) failures.push(`${path.relative(root, file.name)}: ${message}`);
  }
  // A file that cannot be loaded has no tests to count.
  if (result.status !== 0 && counts.numFailedTests === 0) {
    broken = true;
    failed += Math.max(1, counts.numFailedTestSuites);
  }
}
fs.rmSync(out, { recursive: true, force: true });
// Once more at the end, where whoever sees only the last page of a log finds them.
for (const failure of failures) console.error(`\nFAILED ${failure.slice(0, FAILURE_CHARS_MAX)}`);
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed > 0 || broken ? 1 : 0);
