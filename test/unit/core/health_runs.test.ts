import { describe, expect, it } from 'vitest';
import {
  deadRun,
  type JobRunFacts,
  jobOnTime,
  jobRun,
  lateMinutesMax,
  runHoursMax,
} from '../../../src/core/health_runs.ts';

const hourMs = 3_600_000;
const now = new Date('2026-11-21T12:00:00.000Z');
const ago = (ms: number) => new Date(now.getTime() - ms);

const run = (parts: Partial<JobRunFacts>) =>
  jobRun(
    {
      job: 'daily',
      command: 'backup_full.ts',
      runId: 'r1',
      startedAt: ago(2 * hourMs),
      finishedAt: ago(hourMs),
      exitStatus: 0,
      state: 'ended',
      ...parts,
    },
    now,
  );
const running = { finishedAt: null, exitStatus: null, state: 'running' } as const;

describe('the last run of a job', () => {
  it('is fine when it ended with 0', () => {
    expect(run({})).toMatchObject({
      level: 'ok',
      subject: 'daily',
      message: 'the last run of the job daily ended with 0 after 1 h 0 min',
      since: null,
    });
  });

  it('is a warning when it failed, with the lines of the log to look for', () => {
    const finding = run({ exitStatus: 7 });
    expect(finding).toMatchObject({ level: 'warning', since: ago(hourMs).toISOString() });
    expect(finding.mend).toContain('"run":"r1"');
  });

  it('takes what the monitor has found for no failure of the monitor', () => {
    const command = 'monitor_backups.ts';
    for (const exitStatus of [1, 2, 3]) expect(run({ command, exitStatus }).level).toBe('ok');
    expect(run({ command, exitStatus: 6 }).level).toBe('warning');
    expect(run({ exitStatus: 3 }).level).toBe('warning');
  });

  it('is not mended by the next one before that has ended', () => {
    const again = (statusBefore: number | null) => run({ ...running, statusBefore });
    expect(again(0).level).toBe('ok');
    expect(again(8)).toMatchObject({
      level: 'warning',
      message: 'the job daily has been running for 2 h; the run before it ended with 8',
      values: { exit_status: 8 },
    });
    expect(again(null)).toMatchObject({ level: 'critical', subject: 'daily' });
    const command = 'monitor_backups.ts';
    expect(run({ ...running, command, statusBefore: 2 }).level).toBe('ok');
    expect(run({ statusBefore: 8 }).level).toBe('ok');
  });

  it('is critical when it began and never ended', () => {
    expect(run({ ...running, state: 'dead' })).toMatchObject({
      level: 'critical',
      message: 'the job daily began and never ended: its process is gone',
      since: ago(2 * hourMs).toISOString(),
    });
  });

  it('is a warning when it takes too long, to the millisecond, unless it is to stay', () => {
    const long = { ...running, startedAt: ago(runHoursMax * hourMs + 1) };
    expect(run({ ...running, startedAt: ago(runHoursMax * hourMs) }).level).toBe('ok');
    expect(run(long).level).toBe('warning');
    expect(run({ ...long, state: 'unknown' }).message).toContain('on another host');
    expect(run({ ...long, command: 'wal_ship' }).level).toBe('ok');
  });
});

describe('a run that was killed', () => {
  const dead = {
    command: 'backup_full',
    runId: 'r1-label',
    cluster: 'main',
    database: 'a "b"\nc',
    startedAt: ago(hourMs),
    isMadeUp: false,
  };

  it('is critical until a good one has come after it', () => {
    const [finding] = deadRun(dead);
    expect(finding).toMatchObject({ level: 'critical', cluster: 'main', database: 'a "b"\nc' });
    expect(`${finding?.subject}${finding?.message}`).not.toContain('\n');
    expect(deadRun({ ...dead, isMadeUp: true })).toEqual([]);
  });

  it('is a warning where it took no backup', () => {
    expect(deadRun({ ...dead, command: 'prune_backups' })[0]?.level).toBe('warning');
    expect(deadRun({ ...dead, command: 'base backup', database: null })[0]).toMatchObject({
      level: 'critical',
      subject: 'base backup main',
    });
  });
});

describe('a job of the schedule', () => {
  const look = (dueAt: Date | null, isRunning = false) =>
    jobOnTime(
      { job: 'daily', when: '0 2 * * *', lastStartedAt: ago(30 * hourMs), dueAt, isRunning },
      now,
    );
  const lateMs = lateMinutesMax * 60_000;

  it('is fine until it is an hour late, to the millisecond', () => {
    expect(look(ago(-hourMs)).level).toBe('ok');
    expect(look(ago(lateMs)).level).toBe('ok');
    expect(look(null).level).toBe('ok');
    const finding = look(ago(lateMs + 1));
    expect(finding).toMatchObject({ level: 'warning', since: ago(lateMs + 1).toISOString() });
    expect(finding.mend).toContain('setup_cron.ts status');
  });

  it('says so when the run before it has not ended', () => {
    expect(look(ago(2 * lateMs), true).message).toContain('since that run has not ended');
  });
});
