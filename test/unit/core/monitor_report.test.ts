import { describe, expect, it } from 'vitest';
import {
  headlineOf,
  inOrderOfGravity,
  monitorReport,
  monitorSchemaText,
  parseMonitorReport,
} from '../../../src/core/monitor_report.ts';
import { sampleFinding } from '../../support/health_findings.ts';

const now = new Date('2026-11-21T12:00:00.000Z');

function fullBackup(database: string, ageSeconds: number | null, cluster: string | null = 'main') {
  const values: Record<string, number> = ageSeconds === null ? {} : { age_seconds: ageSeconds };
  const level = ageSeconds === null ? 'critical' : 'ok';
  return sampleFinding({
    check: 'backup_age',
    subject: database,
    cluster,
    database,
    level,
    values,
  });
}

function walPoint(cluster: string | null, ageSeconds: number) {
  const values = { age_seconds: ageSeconds };
  return sampleFinding({ check: 'recovery_point', subject: `${cluster}`, cluster, values });
}

describe('the headline', () => {
  it('tells of a database the younger of its last full backup and the WAL of its cluster', () => {
    const findings = [fullBackup('shop', 7200), walPoint('main', 60)];
    const at = '2026-11-21T11:59:00.000Z';
    const point = { age_seconds: 60, at, level: 'ok' };
    expect(headlineOf(findings, now)).toEqual([
      { ...point, cluster: 'main', database: 'shop' },
      { ...point, cluster: 'main', database: null },
    ]);
  });

  it('does not take the WAL of another cluster, nor an older one', () => {
    const findings = [
      fullBackup('shop', 600),
      fullBackup('blog', 500, 'other'),
      walPoint('main', 900),
    ];
    const ages = headlineOf(findings, now).map(({ database, age_seconds: age }) => [database, age]);
    expect(ages).toEqual([
      [null, 900],
      ['shop', 600],
      ['blog', 500],
    ]);
  });

  it('puts first what cannot be recovered at all, and leaves out the points of other stores', () => {
    const findings = [fullBackup('shop', 600), fullBackup('new', null, null), walPoint(null, 5)];
    expect(headlineOf(findings, now)).toEqual([
      { cluster: null, database: 'new', age_seconds: null, at: null, level: 'critical' },
      {
        cluster: 'main',
        database: 'shop',
        age_seconds: 600,
        at: '2026-11-21T11:50:00.000Z',
        level: 'ok',
      },
    ]);
  });
});

describe('a report', () => {
  it('has the worst last, and the status of the worst', () => {
    const findings = (['critical', 'ok', 'unknown', 'warning'] as const).map((level) =>
      sampleFinding({ level, subject: level }),
    );
    expect(inOrderOfGravity(findings).map(({ level }) => level)).toEqual([
      'ok',
      'unknown',
      'warning',
      'critical',
    ]);
    expect(monitorReport('db1', now, findings)).toMatchObject({
      status: 'critical',
      exit_status: 2,
      checked_at: now.toISOString(),
    });
    expect(monitorReport('db1', now, findings.slice(1, 3)).exit_status).toBe(3);
    expect(monitorReport('db1', now, []).exit_status).toBe(0);
  });

  it('is what the schema says, and nothing else is', () => {
    const findings = [walPoint('main', 60), fullBackup('new', null, null)];
    const report = monitorReport('db1', now, findings);
    const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
    expect(parseMonitorReport(bytes(report))).toEqual(report);
    const alerts = { made: 1, delivered: 0, waiting: 1, failures: [] };
    expect(parseMonitorReport(bytes({ ...report, alerts })).alerts).toEqual(alerts);
    for (const wrong of [
      { ...report, exit_status: 4 },
      { ...report, more: 1 },
      { ...report, findings: [{ ...sampleFinding(), check: 'weather' }] },
    ]) {
      expect(() => parseMonitorReport(bytes(wrong))).toThrow(/a report of the monitor/);
    }
    expect(JSON.parse(monitorSchemaText()).properties.exit_status).toMatchObject({ maximum: 3 });
  });
});
