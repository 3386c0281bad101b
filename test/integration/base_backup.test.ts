/** Base backups of real clusters: taken, read back, restored by restore.sh, started, compared. */

import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseBaseManifest } from '../../src/core/base_manifest_codec.ts';
import { parseBaseLabel } from '../../src/core/label.ts';
import { parseSums, sha256Of } from '../../src/core/sums.ts';
import {
  asServerUser,
  copyBackup,
  enableChecksums,
  makeServerFolder,
  runTakeBase,
  startRestored,
  type TakenBase,
} from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { flipped, jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
/** For what the server's user writes. */
let place: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  place = await makeServerFolder(cluster);
  await cluster.sql('CREATE DATABASE "it\'s $(touch x) ""odd"""');
  await cluster.sql(
    'CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 50000) AS i',
  );
});
afterAll(async () => {
  await cluster.stop();
  await bench.remove();
  await rm(place, { recursive: true, force: true });
});

const contentSql = 'SELECT count(*), sum(hashtext(text)) FROM t';

async function contentOf(): Promise<string> {
  const [row] = await cluster.sql(contentSql);
  return Object.values(row ?? {}).join('|');
}

async function takeOne(environment: Readonly<Record<string, string>> = {}): Promise<TakenBase> {
  const outcome = await runTakeBase({ ...bench.environment, ...environment });
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<TakenBase>(outcome);
}

describe('a base backup', () => {
  it('is committed whole, with its sums, and says what it is', async () => {
    const taken = await takeOne();
    const folder = join(bench.repository, taken.folder);
    const bytes = await readFile(join(folder, 'manifest.json'));
    const manifest = parseBaseManifest(bytes);
    expect(manifest).toEqual(taken.manifest);
    expect(parseBaseLabel(manifest.label)?.kind).toBe('base');
    expect(manifest.damaged_pages).toEqual([]);
    expect(manifest.warnings).toEqual([]);
    expect(manifest.cluster_files).toBeGreaterThan(500);
    for (const { name, sha256 } of parseSums(await readFile(join(folder, 'SHA256SUMS'), 'utf8'))) {
      expect(sha256Of(await readFile(join(folder, name))), name).toBe(sha256);
    }
    const [system] = await cluster.sql(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    expect(manifest.server.system_identifier).toBe(system?.id);
    expect(taken.folder).toBe(`incremental/${manifest.cluster}/base/${manifest.label}`);
  });

  it('is compared as it is written, and not read back, where nothing shall be read back', async () => {
    const { manifest } = await takeOne({ READ_BACK: 'none' });
    expect(manifest.read_back).toEqual({ depth: 'none', seconds: 0 });
    expect(manifest.cluster_files).toBeGreaterThan(500);
    // What was written down unread is what lies there, to the last file.
    const verified = await bench.run('verify_backups', [manifest.label, '--json', '--deep']);
    expect(verified.status, verified.stderr).toBe(0);
    const whole = await takeOne({ READ_BACK: 'plain' });
    expect(whole.manifest.read_back).toMatchObject({ seconds: expect.any(Number) });
    expect(whole.manifest.read_back.depth).toBeUndefined();
  });

  it.each([
    ['zstd', '/bin/dash'],
    ['gzip', '/bin/bash'],
    ['none', '/bin/dash'],
  ])(
    'of %s is restored by restore.sh under %s and has the same content',
    async (compression, shell) => {
      const taken = await takeOne({ COMPRESSION: compression });
      const before = await contentOf();
      const from = join(bench.repository, taken.folder);
      const copy = await copyBackup(from, join(place, `copy of ${compression}`));
      const pgdata = join(place, `it's ${compression} restored`);
      const script = join(copy, 'restore.sh');
      const restored = await asServerUser(cluster, shell, [script, pgdata]);
      expect(restored.status, restored.stderr).toBe(0);
      const server = await startRestored(cluster, pgdata, place);
      try {
        expect(await server.query(contentSql)).toBe(before);
        expect(await server.query('SHOW archive_mode')).toBe('off');
        expect(await server.query('SELECT pg_is_in_recovery()')).toBe('f');
      } finally {
        await server.stop();
      }
      const again = await asServerUser(cluster, shell, [script, pgdata]);
      expect(again.status).toBe(2);
      expect(again.stderr).toContain('is not empty');
    },
  );
});

describe('list_backups.ts and verify_backups.ts', () => {
  it('show it in a table of its own, and find it whole', async () => {
    const { manifest } = await takeOne();
    const verified = await bench.run('verify_backups', [manifest.label, '--json']);
    expect(verified.status, verified.stderr).toBe(0);
    const { backups } = jsonOf<{ backups: { label: string; ok: boolean }[] }>(verified);
    expect(backups).toMatchObject([{ label: manifest.label, ok: true, database: null }]);
    const listed = await bench.run('list_backups', ['--json']);
    const { base_backups } = jsonOf<{ base_backups: { label: string }[] }>(listed);
    expect(base_backups.find(({ label }) => label === manifest.label)).toMatchObject({
      state: 'complete',
      problem: null,
      check: { kind: 'verified' },
      details: { kind: 'base', parent: null, stopLsn: manifest.stop_lsn, damagedPages: 0 },
    });
    const table = await bench.run('list_backups', []);
    expect(table.stdout).toContain(`${manifest.label}`);
    expect(table.stdout).toContain('base backup');
  });

  it('find a flipped bit in any of its files, and keep it in mind', async () => {
    const { manifest, folder } = await takeOne();
    const names = [...manifest.files.map(({ name }) => name), 'SHA256SUMS', 'manifest.json'];
    for (const name of names) {
      const path = join(bench.repository, folder, name);
      const whole = await readFile(path);
      await writeFile(path, flipped(whole));
      const found = await bench.run('verify_backups', [manifest.label]);
      expect(found.status, `${name}: ${found.stderr}`).toBe(4);
      expect(found.stderr).toContain(name);
      await writeFile(path, whole);
    }
    const listed = await bench.run('list_backups', ['--json']);
    const { base_backups } = jsonOf<{ base_backups: { label: string; state: string }[] }>(listed);
    expect(base_backups.find(({ label }) => label === manifest.label)?.state).toBe('damaged');
    const again = await bench.run('verify_backups', [manifest.label]);
    expect(again.status, again.stderr).toBe(0);
  });
});

describe('a role', () => {
  it('without REPLICATION is told what to type', async () => {
    await cluster.sql(['CREATE ROLE plain LOGIN', 'CREATE ROLE copier LOGIN REPLICATION']);
    const outcome = await runTakeBase({ ...bench.environment, PGUSER: 'plain' });
    expect(outcome.status).toBe(8);
    expect(outcome.stderr).toContain('ALTER ROLE "plain" REPLICATION.');
  });

  it('with nothing but REPLICATION takes one, and says that it may not see the configuration', async () => {
    const { manifest } = await takeOne({ PGUSER: 'copier' });
    expect(manifest.warnings.map(({ code }) => code)).toEqual(['config-not-saved']);
    expect(manifest.warnings[0]?.message).toContain('pg_read_all_settings');
  });
});

describe('configuration outside the data directory', () => {
  it('is saved as it is, with what it includes', async () => {
    const etc = join(place, "etc of 'main'");
    const makeFolder = await asServerUser(cluster, 'mkdir', ['-p', join(etc, 'conf.d')]);
    expect(makeFolder.status, makeFolder.stderr).toBe(0);
    const own = await startTestCluster({
      settings: { include_dir: join(etc, 'conf.d') },
    });
    try {
      const extra = join(etc, 'conf.d', 'more.conf');
      await asServerUser(cluster, 'sh', ['-c', `echo "work_mem = '5MB'" > "$1"`, 'sh', extra]);
      await own.sql('SELECT pg_reload_conf()');
      const environment = { ...bench.environment, ...own.environment() };
      const outcome = await runTakeBase(environment);
      expect(outcome.status, outcome.stderr).toBe(0);
      const { manifest, folder } = jsonOf<TakenBase>(outcome);
      expect(manifest.config).toMatchObject([{ file: 'config_more.conf', setting: 'include' }]);
      const saved = await readFile(join(bench.repository, folder, 'config_more.conf'), 'utf8');
      expect(saved).toBe("work_mem = '5MB'\n");
    } finally {
      await own.stop();
    }
  });
});

describe('a cluster with damaged pages', () => {
  it('is backed up as it is, and everybody is told', async () => {
    const own = await startTestCluster();
    try {
      await enableChecksums(own);
      await own.sql('CREATE TABLE hurt AS SELECT i FROM generate_series(1, 5000) AS i');
      await own.sql('CHECKPOINT');
      const [row] = await own.sql("SELECT pg_relation_filepath('hurt') AS path");
      const path = join(own.dataDirectory, String(row?.path));
      const handle = await open(path, 'r+');
      await handle.write(Buffer.from('flipped'), 0, 7, 8192 + 4000);
      await handle.close();
      for (const compression of ['zstd', 'gzip']) {
        const environment = {
          ...bench.environment,
          ...own.environment(),
          COMPRESSION: compression,
        };
        const outcome = await runTakeBase(environment);
        expect(outcome.status, outcome.stderr).toBe(0);
        const { manifest, warnings } = jsonOf<TakenBase>(outcome);
        expect(manifest.page_checksums).toBe(true);
        expect(manifest.damaged_pages).toHaveLength(1);
        expect(manifest.damaged_pages[0]).toContain(String(row?.path));
        expect(warnings[0]).toContain('THE CLUSTER IS DAMAGED');
        const verified = await bench.run('verify_backups', [manifest.label]);
        expect(verified.status, verified.stderr).toBe(0);
        const table = await bench.run('list_backups', []);
        expect(table.stdout).toContain('holds 1 damaged page');
      }
    } finally {
      await own.stop();
    }
  });
});

describe('a standby', () => {
  it('gives one too, which is restored like any other', async () => {
    // With them off, as fast test clusters have it, a standby refuses.
    await cluster.sql(['ALTER SYSTEM SET full_page_writes = on', 'SELECT pg_reload_conf()']);
    const checkpoint = ['CHECKPOINT', 'SELECT full_page_writes AS on FROM pg_control_checkpoint()'];
    await expect.poll(() => cluster.sql(checkpoint), { timeout: 60_000 }).toEqual([{ on: true }]);
    const pgdata = join(place, 'standby');
    const made = await asServerUser(cluster, join(cluster.binDirectory, 'pg_basebackup'), [
      `--host=${cluster.socketDirectory}`,
      `--port=${cluster.port}`,
      '--username=postgres',
      `--pgdata=${pgdata}`,
      '--write-recovery-conf',
      '--checkpoint=fast',
      '--no-sync',
    ]);
    expect(made.status, made.stderr).toBe(0);
    const before = await contentOf();
    const standby = await startRestored(cluster, pgdata, place);
    let taken: TakenBase;
    try {
      taken = await takeOne({ PGHOST: place, PGPORT: '5439' });
    } finally {
      await standby.stop();
    }
    expect(taken.manifest.server.in_recovery).toBe(true);
    const copy = await copyBackup(join(bench.repository, taken.folder), join(place, 'of standby'));
    const restoredTo = join(place, 'from standby');
    const restored = await asServerUser(cluster, 'sh', [join(copy, 'restore.sh'), restoredTo]);
    expect(restored.status, restored.stderr).toBe(0);
    const server = await startRestored(cluster, restoredTo, place);
    try {
      expect(await server.query(contentSql)).toBe(before);
      expect(await server.query('SELECT pg_is_in_recovery()')).toBe('f');
    } finally {
      await server.stop();
    }
  });
});
