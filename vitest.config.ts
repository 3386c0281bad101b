import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';

/** Nothing is written into the checkout but the coverage report: it may be mounted read-only. */
const cacheDir = join(tmpdir(), `holdfast-vitest-${userInfo().uid}`);

const minute = 60_000;

/** One kind of test: a folder of its own, and the time that one of its tests may take. */
function project(
  name: string,
  include: string,
  timeoutMs: number,
  groupOrder: number,
  setup: readonly string[] = ['no_child_coverage'],
): TestProjectInlineConfiguration {
  return {
    extends: true,
    test: {
      name,
      include: [include],
      testTimeout: timeoutMs,
      hookTimeout: Math.max(timeoutMs, minute),
      sequence: { groupOrder },
      setupFiles: setup.map((name) => `test/support/${name}.ts`),
    },
  };
}

/** With servers. Of what is killed or timed the children are not slowed down by being counted. */
const covered = ['in_memory', 'child_coverage'];
const uncovered = ['in_memory', 'no_child_coverage'];

export default defineConfig({
  cacheDir,
  test: {
    // Node itself loads the tests and src/, as it does for users: what runs in this process and
    // what runs in a child is the same text then, and what of it was covered can be put together.
    experimental: { viteModuleRunner: false },
    // Integration tests start a server per file; two at a time leave the clock-bound ones alone.
    maxWorkers: 2,
    projects: [
      project('rules', 'test/*.test.ts', minute, 0),
      project('unit', 'test/unit/**/*.test.ts', minute, 0),
      project('contract', 'test/contract/**/*.test.ts', minute, 1),
      project('integration', 'test/integration/**/*.test.ts', 3 * minute, 2, covered),
      project('bench', 'test/bench/**/*.test.ts', 10 * minute, 2, uncovered),
      project('fault', 'test/fault/**/*.test.ts', 10 * minute, 3, uncovered),
      project('stores', 'test/stores/**/*.test.ts', 10 * minute, 4),
      project('container', 'test/container/**/*.test.ts', 20 * minute, 5),
    ],
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text-summary', 'json-summary', 'html'],
      reportOnFailure: true,
      autoAttachSubprocess: true,
      reportsDirectory: 'coverage',
      thresholds: { lines: 90 },
    },
  },
});
