import {
  chown,
  lutimes,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quoteIdentifier } from '../../src/core/quote.ts';
import { ownIdentity, processState } from '../../src/process/identity.ts';
import { makeServerFolder } from '../support/base_backup.ts';
import { until } from '../support/fault.ts';
import { openPitrBench, type PitrBench } from '../support/pitr_bench.ts';
import { jsonOf } from '../support/workbench.ts';

interface Delta {
  readonly kept_files: number;
  readonly kept_bytes: number;
  readonly written_files: number;
  readonly written_bytes: number;
  readonly removed_files: number;
  readonly unarchived_wal: readonly string[];
  readonly wal_aside: string | null;
}
interface Done {
  readonly plan: { readonly existing: { readonly delta: Delta | null } | null };
  readonly aside: string | null;
}

const tablespace = 'delta "$(id)"';
const mark = 'holdfast_restore_unfinished';
let bench: PitrBench;
let space: string;
let pgdata: string;
let spacePlace: string;
/** Of a large table that never changes. */
let steady: string;
/** Of a table in the tablespace. */
let elsewhere: string;

const start = () => ['--start', '--port', String(bench.pitrPort)];
const doneOf = (text: { stdout: string }) => JSON.parse(text.stdout) as Done;

/** A file that the server's user made. */
async function put(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  const { osUser } = bench.cluster;
  if (osUser !== null) await chown(path, osUser.uid, osUser.gid);
}

/** Changes a byte of a file, and neither its size nor its time. */
async function flip(path: string): Promise<void> {
  const { atime, mtime } = await stat(path);
  const handle = await open(path, 'r+');
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 5000);
  await handle.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, 5000);
  await handle.close();
  await utimes(path, atime, mtime);
}

/** Whether the process that a postmaster.pid names is there. */
async function isAlive(path: string): Promise<boolean> {
  const pid = Number((await readFile(path, 'utf8')).split('\n')[0]);
  return processState({ ...ownIdentity(), pid, started: '' }) === 'alive';
}

const rows = (sql = 'SELECT count(*) || $$ $$ || sum(i) FROM steady') => bench.psql(pgdata, sql);

beforeAll(async () => {
  bench = await openPitrBench(5442);
  const { cluster } = bench;
  space = await makeServerFolder(cluster);
  await cluster.sql([
    `CREATE TABLESPACE ${quoteIdentifier(tablespace)} LOCATION '${space}'`,
    `CREATE TABLE elsewhere TABLESPACE ${quoteIdentifier(tablespace)} AS SELECT 42 AS i`,
    'CREATE TABLE steady AS SELECT i, repeat($$x$$, 200) AS pad FROM generate_series(1, 100000) i',
    'CREATE TABLE marker AS SELECT 1 AS id',
    // A look into a table changes its pages where this has not.
    'VACUUM (FREEZE) steady',
    'CHECKPOINT',
  ]);
  const path = async (table: string) => {
    const [row] = await cluster.sql(`SELECT pg_relation_filepath('${table}') AS path`);
    return String(row?.path);
  };
  [steady, elsewhere] = [await path('steady'), await path('elsewhere')];
  await bench.takeBase();
  await cluster.sql('INSERT INTO marker VALUES (2)');
  await bench.switchSegment();
  await bench.handOver();
  pgdata = join(bench.folder, "data 'é $(id)");
  spacePlace = join(bench.folder, 'a space');
  const mapping = ['--tablespace-mapping', `${tablespace}=${spacePlace}`];
  const first = await bench.restore(pgdata, ...mapping, ...start());
  expect(first.status, first.stderr).toBe(0);
}, 300_000);

afterAll(async () => {
  await bench?.program('pg_ctl', '-D', pgdata, '-m', 'immediate', 'stop');
  await bench?.close();
  if (space !== undefined) await rm(space, { recursive: true, force: true });
});

describe('restore_pitr.ts --delta', () => {
  it('touches no server that runs, and nothing without being told so twice', async () => {
    const running = await bench.refused(pgdata, '--delta', '--force');
    expect([running.status, running.message]).toEqual([2, expect.stringContaining('a server')]);
    expect((await bench.refused(pgdata, '--force')).message).toContain('is used by a server');
    expect(await rows()).toBe('100000 5000050000');
    await rows('INSERT INTO marker VALUES (3); DROP TABLE steady; CREATE TABLE foreign_one(i int)');
    await bench.stop(pgdata);
    const asked = await bench.refused(pgdata, '--delta');
    expect([asked.status, asked.code]).toEqual([2, 'CONFIRMATION_NEEDED']);
    expect((await bench.refused(pgdata)).message).toContain('is not empty');
    expect(await readdir(pgdata)).toContain('PG_VERSION');
    expect(await readdir(pgdata)).not.toContain(mark);
  }, 300_000);

  it('brings back what differs, and neither writes nor leaves anything else', async () => {
    const inSpace = join(spacePlace, elsewhere.split('/').slice(2).join('/'));
    await flip(inSpace);
    await put(join(pgdata, 'left over'), 'x');
    const untouched = join(pgdata, 'PG_VERSION');
    const { ino } = await stat(untouched);
    const outcome = await bench.restore(pgdata, '--delta', '--force', ...start());
    expect(outcome.status, outcome.stderr).toBe(0);
    const { delta } = doneOf(outcome).plan.existing ?? {};
    expect(delta?.kept_bytes).toBeGreaterThan(15_000_000);
    // The table that was dropped, and little else.
    expect(delta?.written_bytes).toBeGreaterThan(20_000_000);
    expect(delta?.written_bytes).toBeLessThan(32_000_000);
    expect(await rows()).toBe('100000 5000050000');
    expect(await rows('SELECT i FROM elsewhere')).toBe('42');
    expect(await rows('SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM marker')).toBe('1,2');
    expect(await rows('SELECT to_regclass($$foreign_one$$) IS NULL')).toBe('t');
    expect((await stat(untouched)).ino).toBe(ino);
    expect(await readdir(pgdata)).not.toContain('left over');
    await bench.stop(pgdata);
  }, 300_000);

  it('writes almost nothing where almost nothing has changed, and keeps the WAL elsewhere', async () => {
    const wal = join(bench.folder, 'wal elsewhere');
    await rename(join(pgdata, 'pg_wal'), wal);
    await symlink(wal, join(pgdata, 'pg_wal'));
    await put(join(wal, 'mine'), 'x');
    const foreign = await bench.refused(pgdata, '--delta', '--force');
    expect([foreign.status, foreign.message]).toEqual([2, expect.stringContaining('"mine"')]);
    await rm(join(wal, 'mine'));
    const outcome = await bench.restore(pgdata, '--delta', '--force');
    expect(outcome.status, outcome.stderr).toBe(0);
    const { delta } = doneOf(outcome).plan.existing ?? {};
    expect(delta?.kept_bytes).toBeGreaterThan(10 * (delta?.written_bytes ?? 0));
    expect(await readlink(join(pgdata, 'pg_wal'))).toBe(wal);
    expect((await readdir(wal)).filter((name) => /^[0-9A-F]{24}$/.test(name))).toHaveLength(1);
    const again = await bench.restore(pgdata, '--delta', '--dry-run');
    expect(again.status, again.stderr).toBe(0);
    expect(doneOf(again).plan.existing?.delta?.kept_files).toBeGreaterThan(
      delta?.kept_files ?? Number.POSITIVE_INFINITY,
    );
  }, 300_000);

  it('killed, leaves what no server takes for a cluster, and goes on when it is typed again', async () => {
    await rm(join(pgdata, steady));
    const child = bench.spawnRestore(pgdata, '--delta', '--force');
    let hasEnded = false;
    child.exited.finally(() => {
      hasEnded = true;
    });
    const control = join(pgdata, 'global', 'pg_control');
    const isGone = async () => (await stat(control).catch(() => null)) === null;
    await until('the moment', async () => hasEnded || (await isGone()) || null, 60_000);
    if (!hasEnded) process.kill(-(child.pid ?? 0), 'SIGKILL');
    await child.exited;
    // It may have ended in between; then it is a whole cluster.
    const isBegun = (await readdir(pgdata)).includes(mark);
    const left = await readdir(join(pgdata, 'global'));
    const started = isBegun ? await bench.program('postgres', '-D', pgdata) : null;
    const refused = isBegun ? await bench.refused(pgdata) : null;
    // Before anything is looked at: the tests below go on with what it has brought back.
    const again = await bench.restore(pgdata, '--delta', '--force', ...start());
    if (isBegun) {
      expect(left).not.toContain('pg_control');
      expect(started?.status).not.toBe(0);
      // The second where postgresql.conf was away at that moment.
      expect(started?.stderr).toMatch(
        /could not find the database system|could not access the server configuration file/,
      );
      expect(refused?.message).toContain('has not ended');
    }
    expect(again.status, again.stderr).toBe(0);
    expect(await rows()).toBe('100000 5000050000');
    await bench.stop(pgdata);
  }, 300_000);

  it('follows no link that leads out', async () => {
    const outside = join(bench.folder, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'precious'), 'x');
    const link = join(pgdata, 'base', 'out');
    await symlink(outside, link);
    await lutimes(link, 0, 0);
    const refused = await bench.refused(pgdata, '--delta', '--force');
    expect([refused.status, refused.message]).toEqual([2, expect.stringContaining('leads out')]);
    expect(await readdir(outside)).toEqual(['precious']);
    await rm(link);
  }, 300_000);

  it('knows its own cluster, and what is none at all', async () => {
    const other = join(bench.folder, 'other');
    const made = await bench.program('initdb', '--no-sync', '-A', 'trust', '-U', 'postgres', other);
    expect(made.status, made.stderr).toBe(0);
    const mapping = ['--tablespace-mapping', `${tablespace}=${join(bench.folder, 'new space')}`];
    const refused = await bench.refused(other, ...mapping, '--delta', '--force');
    expect([refused.status, refused.message]).toEqual([
      2,
      expect.stringContaining('of another cluster'),
    ]);
    await rm(join(other, 'global', 'pg_control'));
    for (const way of [['--delta', '--force'], ['--force']]) {
      const none = await bench.refused(other, ...mapping, ...way);
      expect([none.status, none.message]).toEqual([
        2,
        expect.stringContaining('is no data directory'),
      ]);
    }
    expect(await readdir(other)).toContain('PG_VERSION');
  }, 300_000);
});

describe('restore_pitr.ts --force', () => {
  it('makes the new one beside the old one, and keeps the old one', async () => {
    const mapping = ['--tablespace-mapping', `${tablespace}=${join(bench.folder, 'space 2')}`];
    await put(join(pgdata, 'precious'), 'mine');
    const outcome = await bench.restore(pgdata, ...mapping, '--force', ...start());
    expect(outcome.status, outcome.stderr).toBe(0);
    const { aside } = jsonOf<Done>(outcome);
    expect(await readFile(join(aside ?? '', 'precious'), 'utf8')).toBe('mine');
    expect(await readdir(pgdata)).not.toContain('precious');
    expect(await rows('SELECT i FROM elsewhere')).toBe('42');
    expect((await readdir(bench.folder)).filter((name) => name.endsWith('.restoring'))).toEqual([]);
    await bench.stop(pgdata);
  }, 300_000);

  it('begins anew where a restore was killed', async () => {
    const begun = join(bench.folder, 'begun');
    const mapping = ['--tablespace-mapping', `${tablespace}=${join(bench.folder, 'space 3')}`];
    const child = bench.spawnRestore(begun, ...mapping);
    let hasEnded = false;
    child.exited.finally(() => {
      hasEnded = true;
    });
    const isMarked = async () => (await stat(join(begun, mark)).catch(() => null)) !== null;
    await until('the mark', async () => hasEnded || (await isMarked()) || null, 60_000);
    if (!hasEnded) process.kill(-(child.pid ?? 0), 'SIGKILL');
    await child.exited;
    const again = await bench.restore(begun, ...mapping, '--force');
    // It may have ended in between: then it is put aside, and its tablespace is in the way.
    if (again.status === 0) expect(await readdir(begun)).not.toContain(mark);
    else expect(again.status, again.stderr).toBe(2);
    await rm(begun, { recursive: true, force: true });
  }, 300_000);
});

describe('a server that was lost with WAL that nobody has archived', () => {
  it('is restored in its own place, and that WAL is kept beside it', async () => {
    const { cluster } = bench;
    await cluster.sql([
      "ALTER SYSTEM SET archive_command = 'false'",
      'SELECT pg_reload_conf()',
      'INSERT INTO marker VALUES (4)',
    ]);
    const [row] = await cluster.sql('SELECT pg_walfile_name(pg_current_wal_lsn()) AS name');
    await cluster.kill9();
    const own = cluster.dataDirectory;
    const pid = join(own, 'postmaster.pid');
    await until('the end', async () => !(await isAlive(pid)) || null, 60_000);
    const unsure = await bench.refused(own, '--delta', '--force');
    expect(unsure.message).toContain('was not shut down in order');
    await rm(pid);
    const wal = await readFile(join(own, 'pg_wal', String(row?.name)));
    const outcome = await bench.restore(own, '--delta', '--force', ...start());
    expect(outcome.status, outcome.stderr).toBe(0);
    const { delta } = doneOf(outcome).plan.existing ?? {};
    expect(delta?.unarchived_wal).toContain(row?.name);
    expect(await readFile(join(delta?.wal_aside ?? '', String(row?.name)))).toEqual(wal);
    const markers = 'SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM marker';
    expect(await bench.psql(own, markers)).toBe('1,2');
    await bench.stop(own, 'immediate');
  }, 300_000);
});
