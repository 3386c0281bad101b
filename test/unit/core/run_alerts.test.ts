import { describe, expect, it } from 'vitest';
import { type ErrorCode, HoldfastError } from '../../../src/core/errors.ts';
import { alertsOfRun, type EndedRun } from '../../../src/core/run_alerts.ts';
import type { RunOutcome } from '../../../src/core/run_outcome.ts';

const run: EndedRun = {
  event: 'backup',
  command: 'backup_full.ts',
  job: null,
  isAttended: false,
  isQuestion: false,
  outcomes: null,
  error: null,
  died: null,
  successes: false,
  facts: { run_id: 'r1' },
};
const daily = { ...run, job: 'daily' };
const typed = { ...run, isAttended: true };

function fault(code: ErrorCode, details?: Record<string, unknown>): HoldfastError {
  return new HoldfastError(code, 'the fact', { hint: 'Do this.', details });
}

function outcome(database: string, error: HoldfastError | null = null): RunOutcome {
  return { event: 'backup', cluster: null, database, server: 'db1:5432', error, facts: {} };
}

/** Keys and priorities of what fires. */
function firing(ended: EndedRun): string[] {
  return (alertsOfRun(ended).firing ?? []).map(({ key, priority }) => `${priority} ${key}`);
}

describe('a run over several databases', () => {
  it('tells of each that failed and ends the trouble of each that did not', () => {
    const outcomes = [outcome('a'), outcome('b "\n', fault('DUMP_FAILED'))];
    const change = alertsOfRun({ ...daily, outcomes });
    expect(change.firing).toMatchObject([
      {
        event: 'backup',
        key: 'backup/on/db1:5432/b%20%22%0A',
        priority: 'high',
        title: 'backup of "b \\"\\n" on db1:5432 failed: the fact',
        message: expect.stringMatching(
          /ended with 3, DUMP_FAILED: the fact\nWhat to do: Do this\.$/,
        ),
        database: 'b "\n',
        details: { code: 'DUMP_FAILED', exit_status: 3, hint: 'Do this.', run_id: 'r1' },
      },
    ]);
    expect(change.ended).toEqual(['backup/job/daily', 'backup/on/db1:5432/a']);
    expect(change.news).toEqual([]);
  });

  it('has one key for a database, whether its server has told its cluster or not', () => {
    const known = { ...outcome('a'), cluster: 'main' };
    const keys = [outcome('a', fault('DATABASE_UNREACHABLE')), known].map((each) => {
      const { firing: there = [], ended = [] } = alertsOfRun({ ...run, outcomes: [each] });
      return there[0]?.key ?? ended.at(-1);
    });
    expect(new Set(keys).size).toBe(1);
  });

  it('that one signal ended is one trouble', () => {
    const error = fault('INTERRUPTED', { signal: 'SIGTERM' });
    const outcomes = [outcome('a'), outcome('b', error), outcome('c', error)];
    expect(firing({ ...daily, outcomes })).toEqual(['high backup/job/daily']);
    expect(alertsOfRun({ ...daily, outcomes }).ended).toEqual(['backup/on/db1:5432/a']);
  });
});

describe('a run that failed as a whole', () => {
  it('is a trouble of its job, or of its command', () => {
    const error = fault('CONFIG_INVALID');
    expect(firing({ ...daily, error })).toEqual(['high backup/job/daily']);
    expect(firing({ ...run, error })).toEqual(['high backup/command/backup_full.ts']);
    expect(alertsOfRun(daily).ended).toEqual(['backup/job/daily']);
  });

  it.each([
    ['DAMAGED', 'critical'],
    ['NO_SPACE', 'high'],
    ['LOCKED', 'medium'],
    ['LOCK_LOST', 'high'],
  ] as const)('with %s is %s', (code, priority) => {
    expect(firing({ ...daily, error: fault(code) })).toEqual([`${priority} backup/job/daily`]);
  });
});

describe('who sits before it', () => {
  it.each([
    ['a wrong flag', fault('USAGE'), false],
    ['a database that is not there', fault('DATABASE_NOT_FOUND'), false],
    ['a backup that is not there', fault('BACKUP_NOT_FOUND'), false],
    ['another run', fault('LOCKED'), false],
    ['Ctrl-C', fault('INTERRUPTED', { signal: 'SIGINT' }), false],
    ['a terminal that was closed', fault('INTERRUPTED', { signal: 'SIGHUP' }), true],
    ['a full disk', fault('NO_SPACE'), true],
    ['a lock that was lost', fault('LOCK_LOST'), true],
  ])('of %s: others hear of it or not', (_, error, isTold) => {
    expect(firing({ ...typed, error })).toHaveLength(isTold ? 1 : 0);
    // A job tells it always: nobody saw it.
    expect(firing({ ...daily, error })).toHaveLength(1);
  });

  it('asks something: that fails for nobody else, and mends nothing', () => {
    const asked = { ...run, isQuestion: true, outcomes: [outcome('a')] };
    expect(alertsOfRun(asked)).toEqual({ news: [] });
    expect(alertsOfRun({ ...asked, outcomes: null, error: fault('NO_SPACE') })).toEqual({
      news: [],
    });
  });
});

describe('what is done once', () => {
  it.each(['restore', 'recovery', 'verify'] as const)('%s is told each time', (event) => {
    const change = alertsOfRun({ ...run, event, error: fault('RESTORE_FAILED') });
    expect(change.firing).toEqual([]);
    expect(change.news).toMatchObject([{ event }]);
  });
});

describe('what went on beside the work', () => {
  const beside = (problem: string | null) => ({
    ...outcome('a'),
    asides: [{ event: 'copy' as const, subject: 'nas', problem }],
  });

  it('is one trouble for each store, which lasts while any database lacks its copy', () => {
    expect(firing({ ...run, outcomes: [beside('gone'), beside(null)] })).toEqual([
      'medium copy/nas',
    ]);
    const change = alertsOfRun({ ...run, outcomes: [beside('gone'), beside(null)] });
    expect(change.ended).not.toContain('copy/nas');
    const well = alertsOfRun({ ...run, outcomes: [beside(null), beside(null)] });
    expect(well.firing).toEqual([]);
    expect(well.ended).toContain('copy/nas');
  });
});

describe('a run before it that died', () => {
  it('is told once, by its own name', () => {
    const died = { runId: 'r0', startedAt: '2026-11-20T02:00:00.000Z' };
    expect(alertsOfRun({ ...daily, died }).news).toMatchObject([
      {
        key: 'backup/died/daily/r0',
        priority: 'high',
        title: 'the run of daily that began at 2026-11-20T02:00:00.000Z never ended',
      },
    ]);
  });
});

describe('a success', () => {
  const facts = { label: 'l1', bytes_stored: 2_500_000, duration_seconds: 61, removed_backups: 1 };
  const good = { ...outcome('a'), facts };

  it('is told with its facts where that is wanted, and only of backups', () => {
    expect(alertsOfRun({ ...run, outcomes: [good] }).news).toEqual([]);
    const change = alertsOfRun({ ...run, successes: true, outcomes: [good] });
    expect(change.news).toMatchObject([
      {
        priority: 'info',
        title: 'backup of a on db1:5432 succeeded',
        message: expect.stringContaining('2.5 MB in 1 min 1 s\nlabel: l1'),
        details: facts,
      },
    ]);
    const prune = { ...good, event: 'prune' as const };
    const other = { ...run, event: 'prune' as const, successes: true, outcomes: [prune] };
    expect(alertsOfRun(other).news).toEqual([]);
  });
});
