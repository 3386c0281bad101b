import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KnownJob } from '../../../../src/catalog/jobs.ts';
import type { HealthFinding } from '../../../../src/core/health.ts';
import { monitorReport } from '../../../../src/core/monitor_report.ts';
import {
  metricsText,
  requireMetricsName,
  writeMetrics,
} from '../../../../src/operations/monitor/metrics.ts';
import { sampleFinding } from '../../../support/health_findings.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-metrics-'));
});
afterEach(() => rm(folder, { recursive: true }));

const now = new Date('2026-11-21T12:00:00.000Z');

function facts(findings: readonly HealthFinding[], jobs: readonly KnownJob[] = []) {
  const report = monitorReport('db1', now, findings);
  return { report, jobs, durationSeconds: 1.5, version: '0.1.0' };
}

function backupAge(parts: Partial<HealthFinding>): HealthFinding {
  const names = { cluster: 'main', database: 'shop', subject: 'main/shop' };
  return sampleFinding({ check: 'backup_age', ...names, values: { age_seconds: 60 }, ...parts });
}

/** The lines of series, without the comments. */
async function series(findings: readonly HealthFinding[], jobs: readonly KnownJob[] = []) {
  const text = await metricsText(facts(findings, jobs));
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

const ended: KnownJob = {
  record: {
    format: 1,
    job: 'daily',
    run_id: 'r',
    command: 'backup_full.ts',
    started_at: '2026-11-21T02:00:00.000Z',
    process: { pid: 1, started: '1', host: 'db1', boot: 'b' },
    finished_at: '2026-11-21T02:01:30.000Z',
    exit_status: 3,
    last_success_at: '2026-11-20T02:01:00.000Z',
  },
  state: 'ended',
};

describe('the metrics', () => {
  it('tell ages in seconds, statuses by number, and when they were made', async () => {
    const lines = await series([backupAge({ level: 'warning' })]);
    expect(lines).toEqual([
      'holdfast_check_status{check="backup_age",subject="main/shop"} 1',
      'holdfast_monitor_status 1',
      `holdfast_monitor_last_run_timestamp_seconds ${now.getTime() / 1000}`,
      'holdfast_monitor_duration_seconds 1.5',
      'holdfast_build_info{version="0.1.0"} 1',
      'holdfast_backup_age_seconds{cluster="main",database="shop"} 60',
    ]);
  });

  it('leave out what nobody knows: an age that is missing is not 0', async () => {
    const findings = [backupAge({ level: 'critical', values: {} })];
    expect((await series(findings)).join('\n')).not.toContain('holdfast_backup_age_seconds');
    const infinite = [backupAge({ values: { age_seconds: Number.POSITIVE_INFINITY } })];
    expect((await series(infinite)).join('\n')).not.toContain('holdfast_backup_age_seconds');
  });

  it('escape whatever a name holds', async () => {
    const database = 'a"b\\c\nd $(x) ü';
    const [line] = (await series([backupAge({ database })])).slice(-1);
    expect(line).toBe(
      'holdfast_backup_age_seconds{cluster="main",database="a\\"b\\\\c\\nd $(x) ü"} 60',
    );
  });

  it('tell of each job when it succeeded, how it ended, and whether it died', async () => {
    const record = { ...ended.record, job: 'weekly', finished_at: null, exit_status: null };
    const died: KnownJob = { record: { ...record, last_success_at: null }, state: 'dead' };
    const lines = await series([], [ended, died]);
    expect(lines.filter((line) => line.startsWith('holdfast_job_'))).toEqual([
      `holdfast_job_last_success_timestamp_seconds{scheduled_job="daily"} ${
        Date.parse('2026-11-20T02:01:00.000Z') / 1000
      }`,
      'holdfast_job_last_exit_status{scheduled_job="daily"} 3',
      'holdfast_job_last_duration_seconds{scheduled_job="daily"} 90',
      'holdfast_job_died{scheduled_job="daily"} 0',
      'holdfast_job_died{scheduled_job="weekly"} 1',
    ]);
  });
});

describe('the metrics file', () => {
  it('can be read by node_exporter, whatever the umask, and is whole at any time', async () => {
    const path = join(folder, 'holdfast.prom');
    const before = process.umask(0o077);
    try {
      await writeMetrics(path, facts([backupAge({})]));
      await writeMetrics(path, facts([backupAge({})]));
    } finally {
      process.umask(before);
    }
    expect((await stat(path)).mode & 0o777).toBe(0o644);
    expect(await readdir(folder)).toEqual(['holdfast.prom']);
    expect(await readFile(path, 'utf8')).toContain('holdfast_backup_age_seconds{');
  });

  it('has a name that the collector reads', () => {
    expect(requireMetricsName('/x/holdfast.prom')).toBe('/x/holdfast.prom');
    expect(() => requireMetricsName('/x/holdfast.txt')).toThrow(/does not end in \.prom/);
  });

  it('leaves nothing behind where it cannot be written', async () => {
    await expect(writeMetrics(join(folder, 'gone', 'a.prom'), facts([]))).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      message: `no metrics: there is no folder ${join(folder, 'gone')}`,
      hint: expect.stringContaining('PROMETHEUS_FILE'),
    });
    // A folder of that name cannot be replaced.
    await mkdir(join(folder, 'b.prom'));
    await expect(writeMetrics(join(folder, 'b.prom'), facts([]))).rejects.toThrow();
    expect(await readdir(folder)).toEqual(['b.prom']);
  });
});
