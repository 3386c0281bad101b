import { describe, expect, it } from 'vitest';
import { decideAlerts } from '../../../src/core/alert_state.ts';
import { HoldfastError } from '../../../src/core/errors.ts';
import type { HealthCheck, HealthFinding } from '../../../src/core/health.ts';
import { type JobRunFacts, jobRun } from '../../../src/core/health_runs.ts';
import { unaskedServer } from '../../../src/core/health_server.ts';
import { monitorReport } from '../../../src/core/monitor_report.ts';
import { alertChangeOf, failedJobChange } from '../../../src/core/monitor_troubles.ts';
import { sampleFinding } from '../../support/health_findings.ts';

const now = new Date('2026-11-21T12:00:00.000Z');

function changeOf(findings: readonly HealthFinding[], unasked: readonly HealthCheck[] = []) {
  return alertChangeOf(monitorReport('db1', now, findings), unasked);
}

/** What a run of the monitor sends after others: each is a quarter of an hour after the last. */
function runs(...all: readonly (readonly HealthFinding[])[]): string[][] {
  let troubles: ReturnType<typeof decideAlerts>['troubles'] = [];
  return all.map((findings, index) => {
    const at = new Date(now.getTime() + index * 15 * 60_000);
    const decision = decideAlerts(troubles, changeOf(findings), { now: at, reminderHours: 24 });
    troubles = decision.troubles;
    return decision.alerts.map(({ key, status }) => `${status} ${key}`);
  });
}

const fine = sampleFinding();
const broken = sampleFinding({
  level: 'critical',
  message: 'archiving fails',
  since: '2026-11-21T11:00:00.000Z',
  mend: 'Type this.',
  values: { age_seconds: 3600 },
});
const blind = sampleFinding({ level: 'unknown', message: 'it cannot be told: no answer' });

describe('what the monitor has found', () => {
  it('is told with what was expected, what is, since when, and what to do', () => {
    const [trouble] = changeOf([broken]).firing ?? [];
    expect(trouble).toEqual({
      event: 'check.archiver',
      key: 'check/archiver/db1:5432',
      priority: 'critical',
      title: 'archiver: db1:5432: archiving fails',
      message: [
        'archiving fails',
        'expected: a segment every 90 min',
        'found: 000000010000000000000007',
        'since: 2026-11-21T11:00:00.000Z',
        'what to do: Type this.',
      ].join('\n'),
      cluster: null,
      database: null,
      details: {
        check: 'archiver',
        subject: 'db1:5432',
        level: 'critical',
        expected: 'a segment every 90 min',
        found: '000000010000000000000007',
        since: '2026-11-21T11:00:00.000Z',
        mend: 'Type this.',
        age_seconds: 3600,
      },
    });
  });

  it('wakes nobody for what can wait', () => {
    const priority = (parts: Partial<HealthFinding>) =>
      changeOf([sampleFinding(parts)]).firing?.[0]?.priority;
    expect(priority({ level: 'warning' })).toBe('medium');
    expect(priority({ level: 'unknown' })).toBe('medium');
    expect(priority({ level: 'critical', check: 'leftovers' })).toBe('high');
    expect(priority({ level: 'critical', check: 'backup_age' })).toBe('critical');
  });

  it('is not told where a run has alerted it by itself, but where none could', () => {
    const keys = (parts: Partial<HealthFinding>) =>
      changeOf([sampleFinding({ level: 'warning', ...parts })]).firing?.map(({ key }) => key);
    const failed = { check: 'runs', subject: 'daily', values: { exit_status: 3 } } as const;
    expect(keys(failed)).toEqual([]);
    expect(keys({ ...failed, values: {}, level: 'critical' })).toEqual(['check/runs/daily']);
    const logged = { check: 'log_errors', subject: 'backup_full/DUMP_FAILED' } as const;
    expect(keys(logged)).toEqual([]);
    const resident = 'wal_ship/STORE_UNREACHABLE';
    expect(keys({ ...logged, subject: resident })).toEqual([`check/log_errors/${resident}`]);
  });

  it('alerts once, and is resolved when the check says so or no longer speaks of it', () => {
    expect(runs([broken], [broken], [fine], [fine])).toEqual([
      ['firing check/archiver/db1:5432'],
      [],
      ['resolved check/archiver/db1:5432'],
      [],
    ]);
    const other = sampleFinding({ subject: 'db2:5432' });
    expect(runs([broken, other], [other])[1]).toEqual(['resolved check/archiver/db1:5432']);
  });

  it('is not taken for ended where the check could not be made', () => {
    const failedGroup = { ...blind, subject: 'the archiver' };
    expect(runs([broken], [failedGroup], [broken], [fine])).toEqual([
      ['firing check/archiver/db1:5432'],
      ['firing unknown/archiver/the archiver'],
      ['resolved unknown/archiver/the archiver'],
      ['resolved check/archiver/db1:5432'],
    ]);
  });

  it('is not taken for ended where its server does not answer', () => {
    const slot = sampleFinding({ check: 'slots', level: 'warning' });
    const problem = new HoldfastError('DATABASE_UNREACHABLE', 'no answer');
    const down = unaskedServer(sampleFinding(), problem);
    expect(runs([fine, slot], [down], [fine, slot])).toEqual([
      ['firing check/slots/db1:5432'],
      ['firing check/archiver/db1:5432'],
      ['resolved check/archiver/db1:5432'],
    ]);
  });

  it('ends nothing of a check that was not made, as without a repository', () => {
    const first = decideAlerts([], changeOf([broken]), { now, reminderHours: 24 });
    const lost = sampleFinding({ check: 'repository', subject: '/backup', level: 'critical' });
    const change = changeOf([lost], ['archiver']);
    const later = decideAlerts(first.troubles, change, { now, reminderHours: 24 });
    expect(later.alerts.map(({ key, status }) => `${status} ${key}`)).toEqual([
      'firing check/repository//backup',
    ]);
  });
});

describe('a job that systemd has seen fail', () => {
  const ended: JobRunFacts = {
    job: 'daily',
    command: 'backup_full.ts',
    runId: 'r1',
    startedAt: new Date('2026-11-21T11:50:00.000Z'),
    finishedAt: new Date('2026-11-21T11:59:00.000Z'),
    exitStatus: 3,
    state: 'ended',
  };
  const titleOf = (run: JobRunFacts | null) => failedJobChange('daily', run, now).news?.[0]?.title;

  it('has told its failure itself where it ended by itself just now', () => {
    expect(failedJobChange('daily', ended, now)).toEqual({});
  });

  it('is told of where it was killed, as the monitor will find it', () => {
    const killed = { ...ended, finishedAt: null, exitStatus: null, state: 'dead' } as const;
    const change = failedJobChange('daily', killed, now);
    expect(change.firing).toEqual(changeOf([jobRun(killed, now)]).firing);
    expect(change.firing).toMatchObject([{ key: 'check/runs/daily', priority: 'critical' }]);
    expect(change.news).toBeUndefined();
  });

  it('is told of where it never began, whatever the run before it said', () => {
    const title = 'the job daily failed before it could say why';
    expect(titleOf(null)).toBe(title);
    expect(titleOf({ ...ended, finishedAt: new Date('2026-11-20T02:00:00.000Z') })).toBe(title);
    expect(titleOf({ ...ended, exitStatus: 0 })).toBe(title);
  });
});
