/** A database with everything in it comes back as it was, however it is backed up and restored. */

import { createHash } from 'node:crypto';
import { access, chmod, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ManifestTable } from '../../src/core/manifest.ts';
import { createPlaceFinder } from '../../src/postgres/archive_places.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type DatabaseContent, readContent } from '../support/database_content.ts';
import {
  contentSql,
  databaseSql,
  executedMarker,
  names,
  propertiesSql,
  rolesSql,
} from '../support/everything.ts';
import { relocateServer } from '../support/relocated_server.ts';
import {
  jsonOf,
  openWorkbench,
  programOutput,
  quoted,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

let root: string;
let foreignFile: string;
let cluster: TestCluster;
let bench: Workbench;
let content: DatabaseContent;
const taken = new Map<string, TakenBackup>();

beforeAll(async () => {
  root = await mkdtemp('/tmp/holdfast-everything-');
  await chmod(root, 0o755);
  foreignFile = join(root, 'foreign rows.csv');
  await writeFile(foreignFile, '1,one\n2,"two, too"\n');
  await chmod(foreignFile, 0o644);
  cluster = await startTestCluster({ binDirectory: await relocateServer(root) });
  bench = await openWorkbench(cluster);
  await rm(executedMarker, { force: true });
  await cluster.sql([...rolesSql, ...databaseSql]);
  const { socketDirectory, port } = cluster;
  await cluster.sql(contentSql({ file: foreignFile, socketDirectory, port }), names.database);
  await cluster.sql(propertiesSql);
  content = await readContent(cluster, names.database);
  for (const compression of ['zstd', 'gzip', 'none']) {
    const flags = ['--compression', compression, '--verify'];
    taken.set(compression, await bench.backUp(names.database, flags));
  }
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
  await rm(root, { recursive: true, force: true });
});

function backupOf(compression: string): TakenBackup {
  const backup = taken.get(compression);
  if (backup === undefined) throw new Error(`no backup with ${compression}`);
  return backup;
}

/** Two dumps of the same second, whose headers are then the same. */
async function dumpBothWays(): Promise<{ piped: Buffer; written: Buffer }> {
  const path = join(root, 'written.dump');
  const args = ['--format=custom', '--compress=0'];
  for (;;) {
    const both = [
      programOutput(cluster, 'pg_dump', [...args, `--dbname=${names.database}`]),
      programOutput(cluster, 'pg_dump', [...args, `--file=${path}`, `--dbname=${names.database}`]),
    ] as const;
    const [piped] = await Promise.all(both);
    const written = await readFile(path);
    // The magic, the versions, the compression and the time stand in the first 50 bytes.
    if (piped.subarray(0, 50).equals(written.subarray(0, 50))) return { piped, written };
  }
}

/** Restores, which must succeed without a warning. */
async function restore(argv: readonly string[]): Promise<Record<string, unknown>> {
  const outcome = await bench.run('restore_backup', [...argv, '--force', '--json']);
  expect(outcome.stderr).not.toContain('warning');
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf(outcome);
}

describe('a dump that came out of a pipe', () => {
  it('with the places of its data told is, byte for byte, one that was written to a file', async () => {
    const { piped, written } = await dumpBothWays();
    expect(piped.equals(written)).toBe(false);
    const places = createPlaceFinder();
    places.update(piped);
    for (const { position, bytes } of places.finish()) bytes.copy(piped, position);
    expect(piped.equals(written)).toBe(true);
  });
});

describe('what the backup says of itself', () => {
  it('has no warning', () => {
    for (const { manifest } of taken.values()) expect(manifest.warnings).toEqual([]);
  });

  it('names the files by their compression', async () => {
    const files = async (compression: string) =>
      (await readdir(backupOf(compression).folder)).toSorted();
    const rest = ['manifest.json', 'restore.sh'];
    expect(await files('zstd')).toEqual([
      'SHA256SUMS',
      'database.dump.zst',
      'globals.sql.zst',
      ...rest,
    ]);
    expect(await files('gzip')).toEqual([
      'SHA256SUMS',
      'database.dump.gz',
      'globals.sql.gz',
      ...rest,
    ]);
    expect(await files('none')).toEqual(['SHA256SUMS', 'database.dump', 'globals.sql', ...rest]);
  });

  it('tells of each table the rows and the digest that COPY tells', async () => {
    const { tables } = backupOf('zstd').manifest;
    expect(tables?.length).toBeGreaterThan(15);
    for (const table of tables ?? []) {
      const { rows, bytes, sha256 } = await copyDigest(table);
      const told = { name: table.name, rows: table.rows, bytes: table.bytes, sha256: table.sha256 };
      expect(told).toEqual({ name: table.name, rows, bytes, sha256 });
    }
  });

  it('tells the same of them however it is compressed', () => {
    expect(backupOf('gzip').manifest.tables).toEqual(backupOf('zstd').manifest.tables);
    expect(backupOf('none').manifest.tables).toEqual(backupOf('zstd').manifest.tables);
    expect(backupOf('zstd').manifest.large_objects).toMatchObject({ count: 3, bytes: 1_200_005 });
  });

  /** What the server itself writes for a table, under the settings that pg_dump sets. */
  async function copyDigest({ schema, name }: ManifestTable) {
    const relation = `${quoted(schema)}.${quoted(name)}`;
    const [columns] = await cluster.sql(
      `SELECT coalesce(string_agg(quote_ident(attname), ', ' ORDER BY attnum), '') AS list
         FROM pg_attribute WHERE attrelid = $x$${relation}$x$::regclass AND attnum > 0
          AND NOT attisdropped AND attgenerated = ''`,
      names.database,
    );
    const condition = name === 'config_own' ? 'WHERE NOT builtin' : '';
    const options =
      '-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 ' +
      '-c TimeZone=UTC -c bytea_output=hex';
    const sql = `COPY (SELECT ${columns?.list} FROM ONLY ${relation} ${condition}) TO STDOUT`;
    const args = ['--no-psqlrc', '--quiet', '--command', sql];
    const environment = { PGDATABASE: names.database, PGOPTIONS: options };
    const text = await programOutput(cluster, 'psql', args, environment);
    const rows = text.filter((byte) => byte === 0x0a).length;
    const sha256 = createHash('sha256').update(text).digest('hex');
    return { rows, bytes: text.length, sha256 };
  }
});

describe('under another name', () => {
  const ways = ['zstd', 'gzip', 'none'].flatMap((compression) =>
    ['1', '2'].map((jobs) => [compression, jobs] as const),
  );

  it.each(ways)('it is the same database (%s, --jobs %s)', async (compression, jobs) => {
    const target = `copy ${compression} ${jobs} "$(touch ${executedMarker})"\n☃`;
    const { label } = backupOf(compression);
    const argv = [label, '--target-database', target, '--jobs', jobs, '--compare', 'content'];
    expect(await restore(argv)).toMatchObject({ database: target, before: null });
    expect(await readContent(cluster, target)).toEqual(content);
    await cluster.sql(`DROP SUBSCRIPTION "sub $(id)"`, target).catch(() => undefined);
  });

  it('brings subscriptions back disabled and without a slot', async () => {
    await restore(['--latest', names.database, '--target-database', 'detached']);
    const rows = await cluster.sql(
      `SELECT subname, subenabled, subslotname FROM pg_subscription
        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      'detached',
    );
    expect(rows).toEqual([{ subname: 'sub $(id)', subenabled: false, subslotname: null }]);
  });
});

describe('under its own name', () => {
  it.each(['1', '2'])('it replaces the old database, which stays (--jobs %s)', async (jobs) => {
    const [old] = await cluster.sql(
      'SELECT oid FROM pg_database WHERE datname = current_database()',
      names.database,
    );
    const client = await cluster.connect(names.database);
    await client.query('SET default_transaction_read_only TO off');
    await client.query('DELETE FROM public.numbered');
    await client.end();

    const result = await restore(['--latest', names.database, '--jobs', jobs]);

    expect(await readContent(cluster, names.database)).toEqual(content);
    const before = String(result.before);
    expect(Buffer.byteLength(before)).toBeLessThanOrEqual(63);
    expect(before).toMatch(/~[0-9a-f]{8}__before_\d{8}T\d{6}Z$/);
    const there = await cluster.sql(
      'SELECT (SELECT oid FROM pg_database WHERE datname = current_database()), ' +
        '(SELECT count(*)::int FROM public.numbered) AS rows',
      before,
    );
    expect(there).toEqual([{ oid: old?.oid, rows: 0 }]);
  });

  it('executed none of the names', async () => {
    await expect(access(executedMarker)).rejects.toThrow('ENOENT');
  });
});

describe('in another, empty cluster', () => {
  let other: TestCluster;

  beforeAll(async () => {
    const binDirectory = cluster.binDirectory;
    other = await startTestCluster({ binDirectory });
    await other.sql(`CREATE ROLE ${quoted(names.app)} LOGIN PASSWORD 'rotated since' CREATEROLE`);
  });

  afterAll(async () => {
    await other?.stop({ immediate: true });
  });

  const rolesSqlOf = `
    SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolcanlogin, rolconnlimit, rolpassword,
           rolvaliduntil::text, shobj_description(oid, 'pg_authid') AS comment
      FROM pg_authid WHERE rolname !~ '^(pg_|postgres$)' ORDER BY rolname`;

  it('comes back with the roles that are missing, and leaves the others alone', async () => {
    const [appBefore] = await other.sql(rolesSqlOf);
    await rename(foreignFile, `${foreignFile}.gone`);
    const outcome = await bench.run(
      'restore_backup',
      ['--latest', names.database, '--force', '--json'],
      {
        environment: other.environment(),
      },
    );
    await rename(`${foreignFile}.gone`, foreignFile);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf(outcome)).toMatchObject({
      // The rows of a foreign partition are nobody's but its server's.
      warnings: [expect.stringMatching(/^the table public\.near_and_far was not analyzed: /)],
      roles_created: expect.arrayContaining([names.owner, names.reader]),
    });
    expect(jsonOf<{ roles_created: string[] }>(outcome).roles_created).toHaveLength(2);

    const roles = new Map((await other.sql(rolesSqlOf)).map((role) => [role.rolname, role]));
    const original = new Map((await cluster.sql(rolesSqlOf)).map((role) => [role.rolname, role]));
    expect(roles.get(names.owner)).toEqual(original.get(names.owner));
    expect(roles.get(names.reader)).toEqual(original.get(names.reader));
    expect(roles.get(names.app)).toEqual(appBefore);
    const members = await other.sql(
      'SELECT FROM pg_auth_members WHERE member::regrole::text ~ $$app$$',
    );
    expect(members).toEqual([]);
  });

  it('is the same database there', async () => {
    expect(await readContent(other, names.database)).toEqual(content);
  });
});
