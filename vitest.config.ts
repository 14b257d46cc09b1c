import { defineConfig } from 'vitest/config';

// Two projects: `unit` runs in this process's workers and needs nothing beyond Node;
// `e2e` starts real holdfast processes from dist/ and runs one file at a time.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/e2e/**'], pool: 'forks', testTimeout: 60_000 } },
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], globalSetup: ['test/e2e/global-setup.ts'], pool: 'forks', fileParallelism: false, testTimeout: 180_000, hookTimeout: 120_000 } },
    ],
  },
});
