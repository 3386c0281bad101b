/** Restores into databases that are special to the server, and by roles that may do little. */

import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../src/postgres/connection.ts';
import { queryRows } from '../../src/postgres/query.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql(['CREATE DATABASE mastertrade', 'CREATE ROLE clerk LOGIN CREATEDB']);
  await cluster.sql('CREATE TABLE trades AS SELECT generate_series(1, 1000) AS id', 'mastertrade');
  await bench.backUp('mastertrade');
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

describe('a restore', () => {
  it.each(['template0', 'template1'])('never replaces %s', async (target) => {
    const argv = ['--latest', 'mastertrade', '--target-database', target, '--force'];
    const outcome = await bench.run('restore_backup', argv);
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain(`${target} is what PostgreSQL makes new databases from`);
  });

  it.each([
    ['', 'is empty'],
    ['y'.repeat(64), '64 bytes'],
    ['é'.repeat(32), '64 bytes'],
  ])('refuses the target %j before anything is done', async (target, words) => {
    const argv = ['--latest', 'mastertrade', '--target-database', target, '--force'];
    const outcome = await bench.run('restore_backup', argv);
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain(words);
  });

  it('replaces the database postgres, which it otherwise works from', async () => {
    const argv = ['--latest', 'mastertrade', '--target-database', 'postgres', '--force'];
    const outcome = await bench.run('restore_backup', argv);
    expect(outcome.status, outcome.stderr).toBe(0);
    const count = await cluster.sql('SELECT count(*)::int AS rows FROM trades', 'postgres');
    expect(count).toEqual([{ rows: 1000 }]);
  });

  it('over a database of another owner is refused before anything is done', async () => {
    await cluster.sql('CREATE DATABASE theirs');
    const argv = ['--latest', 'mastertrade', '--target-database', 'theirs', '--username', 'clerk'];
    for (const flag of ['--force', '--dry-run']) {
      const outcome = await bench.run('restore_backup', [...argv, flag]);
      expect(outcome.status).toBe(8);
      expect(outcome.stderr).toContain('role "clerk" may not rename database "theirs"');
      expect(outcome.stderr).not.toContain('verified');
    }
  });

  it('of what another role owns says which GRANT lets it be given back', async () => {
    const argv = ['--latest', 'mastertrade', '--target-database', 'mine', '--username', 'clerk'];
    const outcome = await bench.run('restore_backup', [...argv, '--force']);
    expect(outcome.status, outcome.stderr).toBe(8);
    const grant = /as a superuser: (GRANT .* TO "clerk";)/.exec(outcome.stderr)?.[1] ?? '';
    await cluster.sql(grant);
    const again = await bench.run('restore_backup', [...argv, '--force']);
    await cluster.sql(grant.replace('GRANT', 'REVOKE').replace(' TO ', ' FROM '));
    expect(again.status, again.stderr).toBe(0);
  });

  it('is for a role that may make databases, no more', async () => {
    await cluster.sql(['CREATE DATABASE clerks OWNER clerk']);
    await cluster.sql('CREATE TABLE notes (id int)', 'clerks', 'clerk');
    const environment = { PGUSER: 'clerk' };
    await bench.backUp('clerks', [], environment);
    const argv = ['--latest', 'clerks', '--force'];
    const outcome = await bench.run('restore_backup', argv, { environment });
    expect(outcome.status, outcome.stderr).toBe(0);
  });
});

describe('time-outs that are meant for applications', () => {
  it('end no session of ours, however long the programs take', async () => {
    const timeouts = ['statement_timeout', 'idle_in_transaction_session_timeout'];
    const { major } = cluster;
    if (major >= 14) timeouts.push('idle_session_timeout');
    await cluster.sql(['CREATE ROLE hasty LOGIN SUPERUSER']);
    for (const name of timeouts) await cluster.sql(`ALTER ROLE hasty SET ${name} = '300ms'`);
    const client = await connect(cluster.parameters('mastertrade', 'hasty'));
    try {
      await pause(700);
      const { rows } = await client.query('SELECT pg_catalog.pg_sleep(0.5), 1 AS alive');
      expect(rows).toMatchObject([{ alive: 1 }]);
    } finally {
      await client.end();
    }
    const environment = { PGUSER: 'hasty' };
    await bench.backUp('mastertrade', [], environment);
    const argv = ['--latest', 'mastertrade', '--target-database', 'hastily', '--force'];
    const outcome = await bench.run('restore_backup', argv, { environment });
    expect(outcome.status, outcome.stderr).toBe(0);
  });
});

describe('a session that the server has ended while it was idle', () => {
  it("says so in the server's words with its next statement", async () => {
    const client = await connect(cluster.parameters('mastertrade'));
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const ended = once(client, 'error');
    await cluster.sql(`SELECT pg_terminate_backend(${rows[0]?.pid})`);
    await ended;
    await expect(queryRows(client, 'SELECT 1')).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('terminating connection due to administrator command'),
    });
    await client.end();
  });
});

describe('a restore with several jobs', () => {
  it('names the folder for temporary files that is not there', async () => {
    const argv = ['--latest', 'mastertrade', '--target-database', 'copy', '--force', '--jobs', '2'];
    const environment = { TMPDIR: '/not/there' };
    const outcome = await bench.run('restore_backup', argv, { environment });
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain('temp_dir (TMPDIR): /not/there cannot be used');
  });
});

describe('a backup of all', () => {
  it('names the databases that let nobody in', async () => {
    await cluster.sql(['CREATE DATABASE shut', 'ALTER DATABASE shut ALLOW_CONNECTIONS false']);
    const outcome = await bench.run('backup_full', ['--all', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain('left out, since they accept no connections: "shut"');
    const databases = jsonOf<{ databases: { database: string }[] }>(outcome).databases;
    expect(databases.map(({ database }) => database)).not.toContain('shut');
  });

  it('takes no connection string with a password for a name, and shows no password', async () => {
    const argv = ['host=db password=hunter4 dbname=x'];
    const outcome = await bench.run('backup_full', argv);
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain('is a connection string');
    expect(outcome.stderr).not.toContain('hunter4');
  });

  it('shows no password of a URL that is taken for a name', async () => {
    const outcome = await bench.run('list_backups', ['postgresql://own:hunter7@h/x']);
    expect(outcome.status).toBe(5);
    expect(outcome.stderr).not.toContain('hunter7');
  });
});
