import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { describeReport } from '../../../src/cli/monitor_table.ts';
import { monitorReport } from '../../../src/core/monitor_report.ts';
import { sampleFinding } from '../../support/health_findings.ts';

const now = new Date('2026-11-21T12:00:00.000Z');
const stdout = new PassThrough();

const backup = sampleFinding({
  check: 'backup_age',
  subject: 'main/shop',
  cluster: 'main',
  database: 'shop',
  message: 'the last full backup is 2 h old',
  values: { age_seconds: 7200 },
});
const full = sampleFinding({
  check: 'space',
  subject: '/backup',
  level: 'warning',
  message: 'the disk is 91 % full',
  expected: 'at most 90 %',
  found: '91 %',
  since: '2026-11-20T12:00:00.000Z',
  mend: 'Type scripts/prune_backups.ts.',
});

describe('the report for people', () => {
  it('begins with what would be lost, and explains what is wrong at its end', () => {
    const report = monitorReport('db1', now, [full, backup, sampleFinding()]);
    expect(describeReport(report, 'short', stdout)).toBe(
      [
        'recoverable   work lost  newest point',
        'shop of main  2 h        2026-11-21T10:00:00.000Z',
        '',
        'ok        backup_age      main/shop: the last full backup is 2 h old',
        'ok        archiver        db1:5432: it archived 3 min ago',
        'warning   space           /backup: the disk is 91 % full',
        '          expected  at most 90 %',
        '          found     91 %',
        '          since     2026-11-20T12:00:00.000Z',
        '          do        Type scripts/prune_backups.ts.',
        '',
        '3 findings: 0 critical, 1 warning, 0 unknown.',
        '',
      ].join('\n'),
    );
  });

  it('says what is fine in one line for each check, unless everything is wanted', () => {
    const other = { ...backup, subject: 'main/blog', database: 'blog' };
    const report = monitorReport('db1', now, [backup, other]);
    const short = describeReport(report, 'short', stdout);
    expect(short).toContain('ok        backup_age      all 2 are fine\n');
    expect(short).toContain('All is well: 2 findings.\n');
    const all = describeReport(report, 'all', stdout);
    expect(all).toMatch(/^db1 at 2026-11-21T12:00:00\.000Z\n/);
    expect(all).toContain('main/blog: the last full backup');
    expect(all).toContain('          expected  a segment every 90 min\n');
  });

  it('says nothing where only what is wrong is wanted and nothing is', () => {
    expect(describeReport(monitorReport('db1', now, [backup]), 'wrong', stdout)).toBe('');
    const wrong = describeReport(monitorReport('db1', now, [full, backup]), 'wrong', stdout);
    expect(wrong).not.toContain('ok ');
    expect(wrong).toContain('/backup: the disk is 91 % full');
  });

  it('lets no name act on the terminal', () => {
    const finding = { ...full, subject: 'a\u001b[31m\nb', message: 'x\u001b[2J' };
    const said = describeReport(monitorReport('db1', now, [finding]), 'short', stdout);
    expect(said).not.toContain('\u001b');
    expect(said).toContain(String.raw`"a\u001b[31m\nb": x\u001b[2J`);
  });

  it('tells where nothing can be recovered', () => {
    const never = { ...backup, level: 'critical' as const, values: {} };
    const said = describeReport(monitorReport('db1', now, [never]), 'short', stdout);
    expect(said).toContain('shop of main  not at all');
    expect(describeReport(monitorReport('db1', now, []), 'short', stdout)).toMatch(
      /^Nobody can tell what could be recovered\.\n/,
    );
  });
});
