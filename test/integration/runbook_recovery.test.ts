/**
 * docs/runbook_recovery.md, typed as it stands into a shell of the server's user, on servers where
 * what it is for has happened. Only the places differ: folders of the test for those of a real
 * machine, a label for the word LABEL, the moment for 10:41:59.
 */

import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startChild } from '../../src/process/stream.ts';
import { waitFor } from '../support/archiving_bench.ts';
import { makeServerFolder } from '../support/base_backup.ts';
import { startTestCluster, type TestCluster, testEnvironment } from '../support/cluster.ts';
import type { Outcome } from '../support/command.ts';
import { readRunbook } from '../support/runbook.ts';
import { projectDir } from '../support/source_tree.ts';

/** Where the commands of a section are typed. */
interface Machine {
  readonly environment: Readonly<Record<string, string>>;
  /** In place of /var/lib/postgresql. */
  readonly home: string;
  readonly repository: string;
}

const page = readRunbook('docs/runbook_recovery.md');
const moment = '2026-11-21 10:41:59+01';

let cluster: TestCluster;
let machine: Machine;
/** The last base backup that was taken. */
let label = '';
let target = moment;

/** What the shell of a machine has in its environment. */
function surroundings({ environment, home, repository }: Machine): Record<string, string> {
  return {
    ...testEnvironment,
    ...environment,
    PATH: `${cluster.binDirectory}:${testEnvironment.PATH}`,
    HOME: home,
    BACKUP_DIR: repository,
    MIN_DISK_SPACE_GB: '0',
  };
}

/** Types lines into a shell of the server's user; it ends at the first that fails. */
function shell(text: string, where: Machine): Promise<Outcome> {
  const { osUser } = cluster;
  const env = surroundings(where);
  const who = osUser === null ? {} : { uid: osUser.uid, gid: osUser.gid };
  return new Promise((resolve) => {
    const options = { env, cwd: projectDir, ...who };
    execFile('/bin/sh', ['-eu', '-c', text], options, (error, stdout, stderr) => {
      const code = error?.code;
      resolve({
        status: error === null ? 0 : typeof code === 'number' ? code : -1,
        stdout,
        stderr,
      });
    });
  });
}

function type(lines: readonly string[], where: Machine = machine): Promise<Outcome> {
  const text = lines
    .join('\n')
    .replaceAll('LABEL', label)
    .replaceAll(moment, target)
    .replaceAll('/opt/holdfast', projectDir)
    .replaceAll('/var/backups/holdfast', where.repository)
    .replaceAll('/var/lib/postgresql', where.home)
    .replaceAll('/usr/lib/postgresql/15/bin', cluster.binDirectory);
  return shell(text, where);
}

/** Types blocks, each of which must end well. */
async function follow(blocks: readonly string[][], where: Machine = machine): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const lines of blocks) {
    const outcome = await type(lines, where);
    expect(outcome.status, `${lines.join('\n')}\n${outcome.stdout}${outcome.stderr}`).toBe(0);
    outcomes.push(outcome);
  }
  return outcomes;
}

async function newestBase(): Promise<string> {
  const root = join(machine.repository, 'incremental');
  const [component = ''] = await readdir(root);
  const labels = await readdir(join(root, component, 'base'));
  return labels.toSorted().at(-1) ?? '';
}

async function walFolder(timeline: string): Promise<string> {
  const root = join(machine.repository, 'incremental');
  const [component = ''] = await readdir(root);
  return join(root, component, 'wal', timeline);
}

const orders = async (connection: TestCluster = cluster): Promise<number> => {
  const [row] = await connection.sql('SELECT count(*)::int AS n FROM public.orders', 'mastertrade');
  return Number(row?.n);
};

/** Ends the server as its machine would: `cluster.restart()` brings it back. */
const stopCluster = () =>
  shell(`pg_ctl --pgdata='${cluster.dataDirectory}' --mode=fast --silent stop`, machine);

const insert = (count: number) =>
  cluster.sql(
    `INSERT INTO public.orders SELECT n + max, 'late' FROM generate_series(1, ${count}) AS n,
       (SELECT max(id) FROM public.orders) AS known`,
    'mastertrade',
  );

beforeAll(async () => {
  cluster = await startTestCluster();
  const home = await makeServerFolder(cluster);
  const repository = join(home, 'backups');
  await mkdir(repository, { mode: 0o700 });
  const { osUser } = cluster;
  if (osUser !== null) await chown(repository, osUser.uid, osUser.gid);
  machine = { environment: cluster.environment(), home, repository };
  await cluster.sql('CREATE DATABASE mastertrade');
  await cluster.sql(
    [
      'CREATE TABLE public.orders (id int PRIMARY KEY, what text)',
      "INSERT INTO public.orders SELECT n, 'order ' || n FROM generate_series(1, 1000) AS n",
    ],
    'mastertrade',
  );
}, 600_000);

afterAll(async () => {
  const pgdata = `--pgdata=${machine?.home}`;
  await shell(`pg_ctl ${pgdata}/standby --mode=immediate --silent stop || :`, machine);
  await cluster?.stop({ immediate: true });
  if (machine !== undefined) await rm(machine.home, { recursive: true, force: true });
});

describe('the runbook of archiving and recovery', () => {
  it('switches archiving on', async () => {
    const [print, install, restart, status] = page.take('Switch archiving on');
    expect(restart).toEqual(['systemctl restart postgresql']);
    const [printed, installed] = await follow([print ?? [], install ?? []]);
    expect(printed?.stdout).toContain("ALTER SYSTEM SET archive_mode = 'on';");
    expect(installed?.stderr).toContain('restart the server for archive_mode');
    // Who skips the restart is told so, and by whatever is typed next.
    const early = await type(status ?? []);
    expect(early.status).toBe(3);
    expect(early.stdout).toMatch(/DOES NOT WORK[\s\S]*next: restart PostgreSQL/);
    const tooEarly = await type(['scripts/backup_incremental.ts']);
    expect(tooEarly.status).toBe(3);
    expect(tooEarly.stderr).toContain('has to be restarted before it archives, for archive_mode');
    await cluster.restart();
    const [working] = await follow([status ?? []]);
    expect(working?.stdout).toMatch(/^archiving of .*: (works|is switched on)/);
  }, 600_000);

  it('takes the first base backup', async () => {
    const [moved, listed, looked] = await follow(page.take('The first base backup'));
    expect(moved?.stderr).toMatch(/everything committed up to \S+ can be recovered/);
    label = await newestBase();
    expect(label).toMatch(/-base-/);
    expect(listed?.stdout).toContain(label);
    expect(listed?.stdout).toContain('newest recoverable point: ');
    expect(looked?.stderr).toContain(`from ${label}`);
    const closed = await type(['scripts/restore_pitr.ts --pgdata /usr/restored --dry-run']);
    expect(closed.status).toBe(2);
    expect(closed.stderr).toMatch(/hint: As root: install .* '?\/usr\/restored'?\n/);
  }, 600_000);

  it('brings a table back that was dropped at 10:42', async () => {
    await insert(100);
    await sleep(1500);
    const [row] = await cluster.sql("SELECT (clock_timestamp() - interval '1 s')::text AS at");
    target = String(row?.at);
    await cluster.sql('DROP TABLE public.orders', 'mastertrade');
    const blocks = page.take('Someone dropped a table at 10:42');
    const outcomes = await follow(blocks.slice(0, -1));
    expect(outcomes[2]?.stderr).toContain('it runs: psql ');
    expect(outcomes[3]?.stdout).toContain('1100');
    expect(await orders()).toBe(1100);
    await follow(blocks.slice(-1));
    expect(await readdir(machine.home)).not.toContain('restored');
  }, 600_000);

  it('brings everything back without the machine', async () => {
    await insert(11);
    const before = String(await orders());
    await follow([['scripts/backup_incremental.ts --base none']]);
    const [copy, look, restore, afterwards] = page.take('The machine is gone');
    // test/container/quickstart.test.ts runs the first on a bare machine; the folder with its
    // owner takes root, and .env would be this checkout's.
    expect(copy).toEqual([
      'cd /opt/holdfast && sh scripts/bootstrap.sh --postgres',
      'install --directory --owner=postgres --mode=0700 /var/backups/holdfast',
      'cp --archive /mnt/copy/. /var/backups/holdfast/',
      'echo BACKUP_DIR=/var/backups/holdfast > .env',
    ]);
    await stopCluster();
    const { home, repository } = machine;
    const kept = join(home, 'kept');
    const copied = await shell(
      `mv '${repository}' '${kept}'
       mkdir --mode=0700 '${repository}'
       cp --archive '${kept}/.' '${repository}/'`,
      machine,
    );
    expect(copied.status, copied.stderr).toBe(0);
    const other = { home, repository, environment: { PGHOST: '/gone', PGUSER: 'postgres' } };
    try {
      const [looked, restored, taken] = await follow(
        [look ?? [], restore ?? [], afterwards ?? []],
        other,
      );
      expect(looked?.stdout).toContain(label);
      expect(restored?.stdout).toContain(before);
      expect(taken?.stderr).toContain('restart the server for archive_mode');
      expect(taken?.stderr).toMatch(/everything committed up to \S+ can be recovered/);
      expect(await newestBase()).not.toBe(label);
    } finally {
      const pgdata = join(home, 'restored');
      await shell(`pg_ctl --pgdata='${pgdata}' --mode=immediate --silent stop || :`, other);
      await shell(`rm -rf '${pgdata}' '${repository}' && mv '${kept}' '${repository}'`, other);
      await cluster.restart();
    }
  }, 600_000);

  it('does without Holdfast', async () => {
    label = await newestBase();
    const before = String(await orders());
    const [restore = [], ask = []] = page.take('Without Holdfast');
    try {
      await follow([restore]);
      await waitFor('the end of the replay', async () => {
        const { stdout } = await type(ask);
        return /^ f$/m.test(stdout);
      });
      const count = 'SELECT count(*) FROM public.orders';
      const psql = `psql --host=/var/lib/postgresql/restored --port=5433 --dbname=mastertrade`;
      expect((await type([`${psql} --command='${count}'`])).stdout).toContain(before);
    } finally {
      const stop = 'pg_ctl --pgdata=/var/lib/postgresql/restored --mode=immediate --silent stop';
      await type([`${stop} || :`, 'rm --recursive --force /var/lib/postgresql/restored']);
    }
  }, 600_000);

  it('says why the archive stands still, and goes on', async () => {
    const [status = [], ...rest] = page.take('The archive stands still');
    const folder = await walFolder('00000001');
    await chmod(folder, 0o500);
    try {
      await cluster.sql([
        "SELECT pg_create_restore_point('x'), pg_switch_wal()",
        "SELECT pg_create_restore_point('y'), pg_switch_wal()",
      ]);
      await waitFor('a failure', async () => (await type(status)).status === 3);
      const { stdout } = await type(status);
      expect(stdout).toMatch(/^waiting: [1-9]/m);
      expect(stdout).toMatch(/^why it fails: .*wal_push: 0{7}1/m);
    } finally {
      await chmod(folder, 0o700);
    }
    const outcomes = await follow(rest);
    expect(outcomes.at(-1)?.stdout).toMatch(/^archiving of .*: works/);
    expect(outcomes.at(-1)?.stdout).toMatch(/^waiting: 0/m);
  }, 600_000);

  it('goes on after a failover, and recovers on either timeline', async () => {
    const standby = join(machine.home, 'standby');
    const options = `-c port=5440 -c unix_socket_directories=${standby} -c listen_addresses=`;
    const pgCtl = `pg_ctl --pgdata='${standby}' --silent`;
    const made = await shell(
      `pg_basebackup --pgdata='${standby}' --write-recovery-conf --checkpoint=fast
       ${pgCtl} --log='${standby}/server.log' --options='${options}' start`,
      machine,
    );
    expect(made.status, made.stderr).toBe(0);
    // What was archived so far is all that the old timeline has.
    await follow([['scripts/backup_incremental.ts --base none']]);
    const before = await orders();
    await stopCluster();
    await shell(`${pgCtl} promote`, machine);
    machine = {
      ...machine,
      environment: { ...machine.environment, PGHOST: standby, PGPORT: '5440' },
    };
    const psql = "psql --dbname=mastertrade --command='DELETE FROM public.orders WHERE id > 1000'";
    const { status, stderr } = await shell(psql, machine);
    expect(status, stderr).toBe(0);

    const refused = await type(['scripts/backup_incremental.ts']);
    expect(refused.status).toBe(3);
    const blocks = page.take('Failover happened');
    const [taken, , tree] = await follow(blocks.slice(0, -1));
    expect(taken?.stdout).toContain(`data directory ${standby}`);
    expect(tree?.stdout).toMatch(/timeline 1\n[\s\S]*timeline 2/);
    const count = "--dbname=mastertrade --command='SELECT count(*) FROM public.orders'";
    const there = 'psql --host=/var/lib/postgresql/restored --port=5433';
    expect((await type([`${there} ${count}`])).stdout).toContain('1000');
    await follow(blocks.slice(-1));
    const old = '--pgdata /var/lib/postgresql/old --target-timeline 1 --start --port 5434';
    await follow([[`scripts/restore_pitr.ts ${old}`]]);
    const oldCount = `psql --host=/var/lib/postgresql/old --port=5434 ${count}`;
    expect((await type([oldCount])).stdout).toContain(String(before));
    await type(['pg_ctl --pgdata=/var/lib/postgresql/old --mode=immediate --silent stop']);
  }, 600_000);

  it('begins anew behind a gap', async () => {
    await follow([
      ['scripts/backup_incremental.ts --base none'],
      ['scripts/backup_incremental.ts --base none'],
      ['scripts/backup_incremental.ts --base none'],
    ]);
    const folder = await walFolder('00000002');
    const names = (await readdir(folder)).filter((name) => name.endsWith('.zst')).toSorted();
    const missing = names.at(-2) ?? '';
    const away = join(machine.home, missing);
    await rename(join(folder, missing), away);
    const alarmed = await type(['scripts/backup_incremental.ts --base none']);
    expect(alarmed.status).toBe(4);
    expect(alarmed.stderr).toContain('--base now begins anew behind it');
    const [list = [], again = [], verify = []] = page.take('A segment is missing');
    const [tree, anew] = await follow([list, again]);
    expect(tree?.stdout).toContain(missing.replace('.zst', ''));
    expect(anew?.stderr).toContain(`from ${await newestBase()}`);
    const gone = await type(verify);
    expect(gone.status).toBe(4);
    await rename(away, join(folder, missing));
    await follow([verify]);
  }, 600_000);

  it('streams the WAL of a server that cannot call the hook', async () => {
    const [run = [], look = []] = page.take('A server in a container, or elsewhere');
    const { osUser } = cluster;
    const stream = startChild('/bin/sh', ['-c', `exec ${run.join('\n')}`], {
      environment: surroundings(machine),
      cwd: projectDir,
      user: osUser ?? undefined,
    });
    stream.stdin.end();
    stream.stdout.resume();
    try {
      const [status = ''] = look;
      await waitFor('the stream', async () => (await type([status])).status === 0);
      const [outcome] = await follow([look]);
      expect(outcome?.stderr).toMatch(/everything committed up to \S+ can be recovered/);
      expect(outcome?.stdout).toContain('newest recoverable point: ');
    } finally {
      await stream.end();
    }
  }, 600_000);

  it('switches archiving off', async () => {
    const [outcome] = await follow(page.take('Switch archiving off'));
    expect(outcome?.stderr).toContain('restart the server soon, for archive_mode');
    const { stdout } = await shell(
      "psql --no-align --tuples-only --command='SHOW archive_command' postgres",
      machine,
    );
    expect(stdout).not.toContain('wal_push');
  }, 600_000);

  it('was typed whole: no section is left out', () => {
    expect(page.left()).toEqual(['# Back to any moment']);
  });
});
