/** Prometheus' own program on what we write for Prometheus: rules, their tests, metrics. */

import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HealthFinding } from '../../src/core/health.ts';
import { healthMetrics } from '../../src/core/health_metrics.ts';
import { monitorReport } from '../../src/core/monitor_report.ts';
import { metricsText } from '../../src/operations/monitor/metrics.ts';
import { sampleFinding } from '../support/health_findings.ts';
import { checkout, idle, labImage, mountedCheckout } from './support/lab.ts';

const folder = `${mountedCheckout}/docs/prometheus`;
let container: StartedTestContainer;

beforeAll(async () => {
  container = await new GenericContainer(labImage('HOLDFAST_IMAGE_SERVER'))
    .withNetworkMode('none')
    .withBindMounts([{ source: checkout, target: mountedCheckout, mode: 'ro' }])
    .withCommand(idle)
    .start();
}, 300_000);
afterAll(async () => {
  await container?.stop();
});

async function promtool(words: string) {
  const { output, exitCode } = await container.exec(['sh', '-c', `promtool ${words}`]);
  return { output, exitCode };
}

/** A finding for every metric, with the nastiest names. */
function everyFinding(): HealthFinding[] {
  return healthMetrics.map(({ check, value }) =>
    sampleFinding({
      check,
      subject: 'a "quote" \\ and\na line',
      cluster: 'ma"in',
      database: 'x\ny',
      values: { [value]: 12.5 },
    }),
  );
}

describe('promtool', () => {
  it('finds nothing to complain of in the rules', async () => {
    const { output, exitCode } = await promtool(`check rules ${folder}/holdfast.rules.yml`);
    expect(exitCode, output).toBe(0);
    expect(output).toMatch(/SUCCESS: \d+ rules found/);
  });

  it('sees every rule fire when it should, and only then', async () => {
    const words = `test rules ${folder}/holdfast.rules.test.yml`;
    const { output, exitCode } = await promtool(words);
    expect(exitCode, output).toBe(0);
  });

  it('reads every metric, whatever is in a name, and has no advice', async () => {
    const report = monitorReport('db1', new Date('2026-11-21T12:00:00.000Z'), everyFinding());
    const record = {
      format: 1 as const,
      job: 'daily',
      run_id: 'r',
      command: 'backup_full.ts',
      started_at: '2026-11-21T02:00:00.000Z',
      process: { pid: 1, started: '1', host: 'db1', boot: 'b' },
      finished_at: '2026-11-21T02:01:30.000Z',
      exit_status: 0,
      last_success_at: '2026-11-21T02:01:30.000Z',
    };
    const jobs = [{ record, state: 'ended' as const }];
    const content = await metricsText({ report, jobs, durationSeconds: 1, version: '0.1.0' });
    for (const { name } of healthMetrics) expect(content).toContain(`\n${name}{`);
    await container.copyContentToContainer([{ content, target: '/tmp/holdfast.prom' }]);
    expect(await promtool('check metrics < /tmp/holdfast.prom')).toEqual({
      output: '',
      exitCode: 0,
    });
  });
});
