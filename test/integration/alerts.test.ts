/** Alerts of scripts/backup_full.ts and its like: who hears what, also of a run that is ended. */

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DataChild } from '../../src/process/stream.ts';
import { type AlertReceiver, startAlertReceiver } from '../support/alert_receiver.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { outcomeOf, spawnCommand } from '../support/command.ts';
import { send, until } from '../support/fault.ts';
import { jsonOf, openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

const odd = 'b "$(id)"\nc';

let cluster: TestCluster;
let receiver: AlertReceiver;
let watchdog: AlertReceiver;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  for (const name of ['a', odd]) {
    await cluster.sql(`CREATE DATABASE ${quoted(name)}`);
    await cluster.sql('CREATE TABLE rows AS SELECT generate_series(1, 100) AS n', name);
  }
  receiver = await startAlertReceiver();
  watchdog = await startAlertReceiver('/watchdog');
});
beforeEach(async () => {
  await bench?.remove();
  bench = await openWorkbench(cluster, { ALERT_ENDPOINT: receiver.url });
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
  await receiver?.close();
  await watchdog?.close();
});

/** Waits until the dump of a run waits for a table; fails when the run ends before. */
async function untilWaiting(run: DataChild): Promise<void> {
  const ended = run.exited.then(() => Promise.reject(new Error(run.stderrTail())));
  const query =
    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'";
  const there = until('a dump waits', async () => (await cluster.sql(query)).length > 0 || null);
  await Promise.race([there, ended]);
}

/** The alerts that came while something was done. */
async function during(work: () => Promise<unknown>) {
  const count = receiver.alerts.length;
  await work();
  return receiver.alerts.slice(count);
}

describe('a backup that fails', () => {
  it('alerts for each database that failed, once, and resolves what succeeds again', async () => {
    const denied = `ALTER DATABASE ${quoted(odd)} ALLOW_CONNECTIONS`;
    await cluster.sql(`${denied} false`);
    const argv = ['a', odd, '--no-retention'];
    const failed = await during(async () => {
      expect((await bench.run('backup_full', argv)).status).toBe(8);
    });
    expect(failed).toMatchObject([
      {
        event: 'backup',
        status: 'firing',
        priority: 'high',
        database: odd,
        title: expect.stringContaining('failed: '),
        details: { exit_status: 8, command: 'backup_full.ts', run_id: expect.any(String) },
      },
    ]);
    const { details, key } = failed[0] ?? { key: '' };
    expect(details?.logs).toBe(join(bench.repository, 'logs'));
    expect(details?.runbook).toMatch(/docs\/alerts\.md#backup$/);
    const again = () => bench.run('backup_full', argv);
    expect(await during(again)).toEqual([]);
    await cluster.sql(`${denied} true`);
    expect(await during(again)).toMatchObject([{ status: 'resolved', key, database: odd }]);
    expect(await during(again)).toEqual([]);
  });

  it('before there is a database alerts as a whole, and so does one of no repository', async () => {
    const wrong = { PGPORT: '1', PGHOST: bench.folder };
    const run = (environment: Record<string, string>) => () =>
      bench.run('backup_full', ['--all'], { environment });
    const [down] = await during(run(wrong));
    expect(down).toMatchObject({ database: null, status: 'firing', details: { exit_status: 8 } });
    // The file system of the repository is not there: nothing can be remembered either.
    const file = join(bench.folder, 'file');
    await writeFile(file, '');
    const [lost] = await during(run({ BACKUP_DIR: join(file, 'repository') }));
    expect(lost).toMatchObject({ event: 'backup', status: 'firing' });
    expect(lost?.title).toContain(file);
    expect(await during(run({}))).toMatchObject([{ status: 'resolved', key: down?.key }]);
  });

  it('of which a person sees everything alerts nobody for a typing error', async () => {
    const typed = (argv: readonly string[]) => () =>
      bench.run('backup_full', argv, { typed: 'yes' });
    expect(await during(typed(['nonesuch']))).toEqual([]);
    expect(await during(typed(['a', '--wait', '-1']))).toEqual([]);
    expect(await during(typed(['nonesuch', '--job', 'daily']))).toHaveLength(1);
    expect(await during(typed(['nonesuch', '--test']))).toEqual([]);
    expect(await during(() => bench.run('backup_full', ['a', '--test']))).toEqual([]);
  });

  it('because of a signal tells so before it ends', async () => {
    const blocker = await cluster.connect('a');
    try {
      await blocker.query('BEGIN; LOCK TABLE rows IN ACCESS EXCLUSIVE MODE');
      const child = spawnCommand('backup_full', ['a', odd, '--job', 'daily'], {
        environment: bench.environment,
      });
      await untilWaiting(child);
      const alerts = await during(async () => {
        send(child.pid, 'SIGTERM');
        expect((await outcomeOf(child)).status).toBe(130);
      });
      expect(alerts.filter(({ details }) => details.code === 'INTERRUPTED')).toMatchObject([
        { event: 'backup', database: null, title: expect.stringContaining('SIGTERM') },
      ]);
    } finally {
      await blocker.end();
    }
    const ended = await during(() => bench.run('backup_full', ['a', odd, '--job', 'daily']));
    expect(ended).toMatchObject([{ status: 'resolved' }]);
  });
});

describe('a backup that succeeds', () => {
  it('is told with what there is to know of it, where that is wanted', async () => {
    const environment = { ALERT_ON_SUCCESS: 'true' };
    const alerts = await during(() => bench.run('backup_full', ['a'], { environment }));
    expect(alerts).toMatchObject([
      {
        priority: 'info',
        database: 'a',
        title: expect.stringContaining('backup of a'),
        details: {
          label: expect.stringMatching(/-daily-/),
          bytes_stored: expect.any(Number),
          dump_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
          removed_backups: 0,
        },
      },
    ]);
  });

  it('and lacks a copy in a store that may fail alerts of that store, until it has it', async () => {
    const nas = join(bench.folder, 'nas');
    await writeFile(nas, 'no folder');
    const file = join(bench.folder, 'holdfast.yaml');
    await writeFile(file, `stores:\n  nas:\n    path: ${nas}\n    required: false\n`);
    const run = () => bench.run('backup_full', ['a', odd, '--config', file]);
    const alerts = await during(async () => expect((await run()).status).toBe(0));
    expect(alerts).toMatchObject([
      { event: 'copy', priority: 'medium', key: 'copy/nas', status: 'firing' },
    ]);
    await rm(nas);
    await mkdir(nas);
    expect(await during(run)).toMatchObject([{ key: 'copy/nas', status: 'resolved' }]);
  });
});

describe('a job of the schedule', () => {
  const jobPath = () => join(bench.repository, 'state/jobs/daily.json');
  const record = async () => JSON.parse(await readFile(jobPath(), 'utf8'));

  it('is recorded, pings the watchdog, and alerts of a run that never ended', async () => {
    const environment = { HEARTBEAT_URL: watchdog.url, ...bench.environment };
    const argv = ['a', '--job', 'daily'];
    const pings = () => watchdog.received.map(({ path }) => path);
    const good = await bench.run('backup_full', argv, { environment });
    expect(good.status).toBe(0);
    expect(pings()).toEqual(['/watchdog/start', '/watchdog']);
    expect(await record()).toMatchObject({ command: 'backup_full.ts', exit_status: 0 });
    expect(
      (await bench.run('backup_full', ['nonesuch', ...argv.slice(1)], { environment })).status,
    ).toBe(8);
    expect(pings().slice(2)).toEqual(['/watchdog/start', '/watchdog/fail']);
    expect(await record()).toMatchObject({ exit_status: 8 });

    const blocker = await cluster.connect('a');
    await blocker.query('BEGIN; LOCK TABLE rows IN ACCESS EXCLUSIVE MODE');
    const child = spawnCommand('backup_full', argv, { environment });
    await untilWaiting(child);
    const beside = await bench.run('backup_full', argv, { environment });
    expect(beside.status).toBe(6);
    expect(beside.stderr).toContain('the job daily runs already');
    send(child.pid, 'SIGKILL');
    await child.exited;
    await blocker.end();
    const { started_at } = await record();
    const alerts = await during(() => bench.run('backup_full', argv, { environment }));
    expect(alerts).toContainEqual(
      expect.objectContaining({
        status: 'firing',
        title: `the run of daily that began at ${started_at} never ended`,
      }),
    );
    // The run that found another at work said nothing of how that goes.
    expect(pings().slice(4)).toEqual(['/watchdog/start', '/watchdog/start', '/watchdog']);
  });

  it('has a name that can be one', async () => {
    const outcome = await bench.run('backup_full', ['a', '--job', '../x']);
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain('"../x" is no name of a job');
  });
});

describe('receivers that hang', () => {
  it('change neither how a run ends nor what it answers', async () => {
    receiver.answerWith('hang');
    watchdog.answerWith('hang');
    const environment = {
      ...bench.environment,
      HEARTBEAT_URL: watchdog.url,
      ALERT_TIMEOUT_SECONDS: '1',
      ALERT_ON_SUCCESS: 'true',
    };
    const outcome = await bench.run('backup_full', ['a', '--json', '--job', 'daily'], {
      environment,
    });
    receiver.answerWith(204);
    watchdog.answerWith(204);
    expect(outcome.status).toBe(0);
    expect(jsonOf(outcome)).toMatchObject({ exit_status: 0 });
    expect(outcome.stderr).toContain('it is kept and sent later');
    expect(outcome.stderr).toContain('the watchdog was not told (success)');
    expect(await during(() => bench.run('backup_full', ['a']))).toMatchObject([{ database: 'a' }]);
  });
});

describe('other commands', () => {
  it('alert of what failed, and of damage as what it is', async () => {
    const { folder, label, manifest } = await bench.backUp('a');
    const dump = manifest.files.find(({ role }) => role === 'dump');
    await writeFile(join(folder, dump?.name ?? ''), 'damaged');
    const [damaged] = await during(() => bench.run('verify_backups', ['--all']));
    expect(damaged).toMatchObject({ event: 'verify', priority: 'critical', status: 'firing' });
    expect(damaged?.message).toContain(label);
    const restore = ['--latest', 'a', '--target-database', 'a_again', '--force'];
    const failed = await during(() => bench.run('restore_backup', restore));
    expect(failed).toMatchObject([{ event: 'restore', priority: 'critical' }]);
    const dry = ['--latest', 'a', '--dry-run'];
    expect(await during(() => bench.run('restore_backup', dry))).toEqual([]);
  });
});
