/** The records of jobs, with real processes that run, end, and are killed. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { beginJob, readJobs } from '../../../src/catalog/jobs.ts';
import { failureOf } from '../../contract/storage.ts';

const jobsModule = join(import.meta.dirname, '../../../src/catalog/jobs.ts');
const startedAt = new Date('2026-11-21T02:00:00.000Z');
const later = (minutes: number) => new Date(startedAt.getTime() + minutes * 60_000);
let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'holdfast-jobs-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

function optionsFor(runId: string, job = 'daily') {
  return { stateDir, job, runId, command: 'backup_full.ts', startedAt };
}

/** A program that begins a job and then does something else. */
function program(runId: string, then: string): readonly string[] {
  const script = `
    import { beginJob } from ${JSON.stringify(jobsModule)};
    const options = ${JSON.stringify(optionsFor(runId))};
    await beginJob({ ...options, startedAt: new Date(options.startedAt) });
    ${then}`;
  return ['--input-type=module-typescript', '--eval', script];
}

function runAndDie(runId: string): void {
  const { signal, stderr } = spawnSync(
    process.execPath,
    program(runId, `process.kill(process.pid, 'SIGKILL');`),
    { encoding: 'utf8' },
  );
  expect(signal, stderr).toBe('SIGKILL');
}

describe('the records of jobs', () => {
  it('tell of none before the first', async () => {
    expect(await readJobs(join(stateDir, 'nowhere'))).toEqual([]);
  });

  it('tell how each ended last, and when it last went well', async () => {
    const first = await beginJob(optionsFor('r1'));
    expect(first.died).toBeNull();
    await first.end(0, later(5));
    await (await beginJob({ ...optionsFor('r2'), startedAt: later(10) })).end(3, later(11));
    await (await beginJob(optionsFor('r3', 'monitor'))).end(0, later(1));
    const jobs = await readJobs(stateDir);
    expect(jobs.map(({ record, state }) => [record.job, state, record.exit_status])).toEqual([
      ['daily', 'ended', 3],
      ['monitor', 'ended', 0],
    ]);
    expect(jobs[0]?.record).toMatchObject({
      run_id: 'r2',
      started_at: later(10).toISOString(),
      finished_at: later(11).toISOString(),
      last_success_at: later(5).toISOString(),
    });
  });

  it('tell of a monitor that found something when it went well last', async () => {
    await (await beginJob(optionsFor('r1', 'monitor'))).end(2, later(1), true);
    await (await beginJob(optionsFor('r2', 'monitor'))).end(2, later(2));
    const [job] = await readJobs(stateDir);
    expect(job?.record.last_success_at).toBe(later(1).toISOString());
  });

  it('let none run beside itself, whatever else runs', async () => {
    const run = spawn(
      process.execPath,
      program('r1', `process.stdout.write('begun'); setInterval(() => {}, 1000);`),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      await once(run.stdout, 'data');
      expect((await readJobs(stateDir)).map(({ state }) => state)).toEqual(['running']);
      const error = await failureOf(beginJob(optionsFor('r2')));
      expect(error).toMatchObject({ code: 'LOCKED', hint: expect.stringContaining(`${run.pid}`) });
      await (await beginJob(optionsFor('r3', 'weekly'))).end(0, later(1));
    } finally {
      run.kill('SIGKILL');
      await once(run, 'exit');
    }
    expect((await beginJob(optionsFor('r4'))).died?.run_id).toBe('r1');
  });

  it('show a run that began and never ended, until the next one has been told of it', async () => {
    runAndDie('r1');
    expect((await readJobs(stateDir)).map(({ state }) => state)).toEqual(['dead']);
    const next = await beginJob(optionsFor('r2'));
    expect(next.died).toMatchObject({ run_id: 'r1', finished_at: null });
    await next.end(0, later(1));
    expect((await beginJob(optionsFor('r3'))).died).toBeNull();
  });

  it('begin anew where one is damaged, and pass over what is none', async () => {
    const first = await beginJob(optionsFor('r1'));
    await first.end(0, later(1));
    await writeFile(join(stateDir, 'jobs', 'daily.json'), '{"format": 1, "job"');
    await writeFile(join(stateDir, 'jobs', 'Not a job.json'), '{}');
    expect(await readJobs(stateDir)).toEqual([]);
    await (await beginJob(optionsFor('r2'))).end(0, later(2));
    expect((await readJobs(stateDir)).map(({ record }) => record.run_id)).toEqual(['r2']);
    expect((await readdir(join(stateDir, 'jobs'))).some((name) => name.includes('.lock'))).toBe(
      false,
    );
  });

  it('say so where they cannot be kept', async () => {
    await writeFile(join(stateDir, 'jobs'), 'no folder');
    const error = await failureOf(beginJob(optionsFor('r1')));
    expect(error.message).toContain('recording the job daily');
  });
});
