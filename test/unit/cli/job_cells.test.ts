import { expect, it } from 'vitest';
import type { JobState, KnownJob } from '../../../src/catalog/jobs.ts';
import { formatMoment, jobCells, jobDocument } from '../../../src/cli/job_cells.ts';

const now = new Date('2026-11-22T03:00:00Z');

function run(state: JobState, finished: string | null, status: number | null): KnownJob {
  return {
    state,
    record: {
      format: 1,
      job: 'daily',
      run_id: 'x',
      command: 'backup_full.ts',
      started_at: '2026-11-22T02:00:00.000Z',
      process: { pid: 1, started: '1', host: 'h', boot: 'b' },
      finished_at: finished,
      exit_status: status,
      last_success_at: null,
    },
  };
}

it('tells how the last run of a job was', () => {
  const end = '2026-11-22T02:12:30.000Z';
  expect(jobCells(null, now)).toEqual(['never', '-', '-']);
  expect(jobCells(run('ended', end, 0), now)).toEqual(['60 min ago', 'ok', '12 min 30 s']);
  expect(jobCells(run('ended', end, 8), now)).toEqual(['60 min ago', 'failed (8)', '12 min 30 s']);
  expect(jobCells(run('running', null, null), now)).toEqual(['60 min ago', 'running', '-']);
  expect(jobCells(run('dead', null, null), now)).toEqual(['60 min ago', 'died', '-']);
  expect(jobCells(run('unknown', null, null), now)).toEqual(['60 min ago', 'unknown', '-']);
  expect(jobDocument(null)).toBeNull();
  expect(jobDocument(run('ended', end, 8))).toMatchObject({
    duration_seconds: 750,
    exit_status: 8,
  });
  expect(jobDocument(run('dead', null, null))).toMatchObject({ duration_seconds: null });
});

it('tells what the monitor has found, which is no failure of it', () => {
  const end = '2026-11-22T02:00:01.000Z';
  const ended = (status: number) => {
    const { record, state } = run('ended', end, status);
    return jobCells({ state, record: { ...record, job: 'monitor' } }, now)[1];
  };
  expect([0, 1, 2, 3, 130].map(ended)).toEqual([
    ...['ok', 'warning', 'critical', 'unknown', 'failed (130)'],
  ]);
});

it('says a moment in the time of day of the machine', () => {
  expect(formatMoment(new Date(2026, 0, 2, 3, 4))).toBe('2026-01-02 03:04');
});
