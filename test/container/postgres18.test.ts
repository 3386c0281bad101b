/**
 * The integration suite once more, on PostgreSQL 18: in a container with the checkout mounted
 * read-only, without a network, as an ordinary user, with the programs found by the normal search.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkout, idle, labImage, listTests, mountedCheckout, vitest } from './support/lab.ts';
import { onceIsEnough } from './support/once_is_enough.ts';

/** The part of vitest's JSON report that counts here. */
interface Report {
  success: boolean;
  testResults: {
    name: string;
    message: string;
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
}

/** Nothing is counted as covered here, so that compiled code can be kept for the next process. */
const environment = { CI: 'true', NO_COLOR: '1', NODE_COMPILE_CACHE: '/tmp/holdfast-node' };

const expected = new Map(
  [...(await listTests('integration'))].filter(([file]) => onceIsEnough[file] === undefined),
);

describe('the integration suite on PostgreSQL 18', () => {
  let container: StartedTestContainer;
  let report: Report;

  beforeAll(async () => {
    container = await new GenericContainer(labImage('HOLDFAST_IMAGE_POSTGRES18'))
      .withNetworkMode('none')
      .withUser('postgres')
      .withBindMounts([{ source: checkout, target: mountedCheckout, mode: 'ro' }])
      .withTmpFs({ '/dev/shm': 'rw,nosuid,nodev,exec,size=8g' })
      .withCommand(idle)
      .start();
    const run = await container.exec(
      [
        ...vitest,
        ...['run', '--configLoader', 'native', '--project', 'integration', ...expected.keys()],
        ...['--reporter=default', '--reporter=json', '--outputFile.json=/tmp/report.json'],
      ],
      { workingDir: mountedCheckout, env: environment },
    );
    const { stdout, exitCode } = await container.exec(['cat', '/tmp/report.json']);
    if (exitCode !== 0) throw new Error(`the suite left no report:\n${run.output}`);
    report = JSON.parse(stdout);
  }, 1_200_000);

  afterAll(async () => {
    await container?.stop();
  });

  it('runs on 18', async () => {
    const { stdout } = await container.exec(['sh', '-c', 'ls /usr/lib/postgresql; id -u']);
    expect(stdout).toMatch(/^18\n[1-9]/);
  });

  it('has tests to run, all but those for which a reason is given', () => {
    expect(expected.size).toBeGreaterThan(40);
    for (const file of Object.keys(onceIsEnough))
      expect(existsSync(join(checkout, file))).toBe(true);
    expect(report.testResults).toHaveLength(expected.size);
  });

  it.each([...expected])('passes %s, all its %d tests', (file, count) => {
    const result = report.testResults.find(({ name }) => name === `${mountedCheckout}/${file}`);
    const tests = result?.assertionResults ?? [];
    const bad = tests
      .filter(({ status }) => status !== 'passed')
      .map(({ fullName, status, failureMessages }) =>
        [`${status}: ${fullName}`, ...failureMessages].join('\n'),
      );
    if (result !== undefined && result.message !== '') bad.push(result.message);
    // What failed stands in the first line: the summary of test/run.sh tells no more.
    const heads = bad.map((text) => text.split('\n').slice(0, 2).join(': '));
    if (bad.length > 0) expect.fail([heads.join('; '), ...bad].join('\n\n'));
    expect(tests).toHaveLength(count);
  });
});
