/**
 * The WAL in several stores, encrypted for somebody who is not on the server: carried by whoever
 * runs, told of each store, restored from one store alone.
 */

import { execFile } from 'node:child_process';
import { chown, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import { asServerUser, makeServerFolder } from '../support/base_backup.ts';
import type { CommandName } from '../support/command.ts';
import { digestsBelow, writeStores } from '../support/copies_scene.ts';
import { type AgeKey, makeAgeKey } from '../support/encryption_keys.ts';
import { until } from '../support/fault.ts';
import { jsonOf } from '../support/workbench.ts';

interface Point {
  readonly store: string;
  readonly last_segment: string | null;
  readonly newest_recoverable_at: string | null;
  readonly gaps: number;
  readonly problem: { readonly code: string } | null;
}

interface Moved {
  readonly segment: string;
  readonly newest_recoverable_at: string;
  readonly warnings: readonly string[];
  readonly stores: readonly Point[];
}

const archivePath = 'incremental/main%20cluster/wal';
const port = 5477;
let bench: ArchivingBench;
let folder: string;
let config: string;
let key: AgeKey;

/** The WAL archive in a store. */
const archiveIn = (store: string) => join(folder, store, archivePath);
const run = (name: CommandName, argv: readonly string[]) =>
  bench.run(name, [...argv, '--config', config, '--json']);

async function writeConfig(more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const stores = {
    near: { path: join(folder, 'near') },
    far: { path: join(folder, 'far'), required: false },
  };
  const encryption = { encryption: 'age', age_recipients: key.recipient };
  await writeStores(config, stores, { ...encryption, ...more });
}

async function move(base: 'now' | 'none' = 'none') {
  const outcome = await run('backup_incremental', ['--base', base, '--no-retention']);
  return { ...outcome, moved: jsonOf<Moved>(outcome) };
}

/** Writes a row and ends the segment. */
async function commit(n: number): Promise<void> {
  await bench.cluster.sql([
    'CREATE TABLE IF NOT EXISTS told (n int)',
    `INSERT INTO told VALUES (${n})`,
    'SELECT pg_switch_wal()',
  ]);
}

/** Takes a folder away and puts a file in its place: nobody can work with that. */
async function breakStore(name: string): Promise<() => Promise<void>> {
  await rename(join(folder, name), join(folder, `${name}.away`));
  await writeFile(join(folder, name), 'no folder');
  return async () => {
    await rm(join(folder, name));
    await rename(join(folder, `${name}.away`), join(folder, name));
  };
}

beforeAll(async () => {
  const settings = { archive_mode: 'on', wal_level: 'replica' };
  bench = await openArchivingBench(settings, { walSegmentMb: 1, repositoryName: "it's $(here)" });
  folder = await makeServerFolder(bench.cluster);
  key = await makeAgeKey(folder, 'identity');
  const { osUser } = bench.cluster;
  if (osUser !== null) await chown(key.identity, osUser.uid, osUser.gid);
  config = join(folder, 'holdfast.yaml');
  await writeConfig();
  const installed = await run('setup_archiving', ['install', '--yes']);
  expect(installed.status, installed.stderr).toBe(0);
});
afterAll(async () => {
  await bench?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

describe('the WAL in several stores', () => {
  it('is carried as it is archived: encrypted, with digests that need no key', async () => {
    const { status, stderr, moved } = await move('now');
    expect(status, stderr).toBe(0);
    const { segment, newest_recoverable_at: newest } = moved;
    const there = { last_segment: segment, newest_recoverable_at: newest, gaps: 0, problem: null };
    expect(moved.stores).toMatchObject([
      { store: 'near', ...there },
      { store: 'far', ...there },
    ]);
    const local = digestsBelow(bench.archive);
    expect(digestsBelow(archiveIn('near'))).toEqual(local);
    expect(digestsBelow(archiveIn('far'))).toEqual(local);
    const files = await readdir(join(archiveIn('near'), '00000001'));
    expect(files).toContain(`${segment}.zst.age`);
    expect(files.filter((name) => name.endsWith('.zst'))).toEqual([]);
    const sums = await readFile(join(archiveIn('near'), '00000001', `${segment}.sha256`), 'utf8');
    await writeFile(join(folder, 'stored'), sums.split('\n').slice(1).join('\n'));
    await promisify(execFile)('sha256sum', ['--check', '--quiet', join(folder, 'stored')], {
      cwd: join(archiveIn('near'), '00000001'),
    });
  });

  it('waits for a store that is down, which holds up no other', async () => {
    const mendFar = await breakStore('far');
    await commit(1);
    const optional = await move();
    expect(optional.status, optional.stderr).toBe(0);
    expect(optional.moved.warnings.join()).toContain('the store far lacks WAL');
    const { segment } = optional.moved;
    expect(optional.moved.stores[0]).toMatchObject({ last_segment: segment, problem: null });
    await mendFar();
    const mendNear = await breakStore('near');
    await commit(2);
    const required = await move();
    expect(required.status).toBe(7);
    expect(required.moved.stores[1]?.last_segment).toBe(required.moved.segment);
    await mendNear();
    const shipped = await run('wal_ship', ['--once']);
    expect(shipped.status, shipped.stderr).toBe(0);
    const local = digestsBelow(bench.archive);
    expect(digestsBelow(archiveIn('near'))).toEqual(local);
    expect(digestsBelow(archiveIn('far'))).toEqual(local);
  });

  it("is never carried into another server's archive, until it is taken over", async () => {
    const claimFile = join(archiveIn('near'), 'claim.json');
    const own = await readFile(claimFile, 'utf8');
    await rm(claimFile);
    await writeFile(claimFile, own.replace(/"host":"[^"]*"/, '"host":"original"'), { mode: 0o644 });
    const before = digestsBelow(archiveIn('near'));
    const { status, stderr, moved } = await move();
    expect(status).not.toBe(0);
    expect(stderr).toContain('take-over');
    expect(moved.stores[0]?.problem?.code).toBe('ARCHIVE_CLAIMED');
    expect(digestsBelow(archiveIn('near'))).toEqual(before);
    expect(
      jsonOf<{ error: { code: string } }>(await run('setup_archiving', ['--yes'])),
    ).toMatchObject({ error: { code: 'ARCHIVE_CLAIMED' } });
    const taken = await run('setup_archiving', ['take-over', '--yes']);
    expect(taken.status, taken.stderr).toBe(0);
    expect((await move()).status).toBe(0);
    expect(digestsBelow(archiveIn('near'))).toEqual(digestsBelow(bench.archive));
  });

  it('is verified in each store, without a key by what is stored, with one to the last byte', async () => {
    const sealed = await run('verify_backups', ['--wal', '--store', 'far']);
    expect(sealed.status, sealed.stderr).toBe(0);
    expect(sealed.stderr).toContain('no key was given');
    const opened = await run('verify_backups', ['--wal', '--deep', '--identity', key.identity]);
    expect(opened.status, opened.stderr).toBe(0);
    expect(opened.stderr).not.toContain('no key was given');
  });
});

/** Flips a byte in the last segment of a store. @returns its name, and what mends it */
async function damage(store: string): Promise<{ name: string; mend: () => Promise<void> }> {
  const below = join(archiveIn(store), '00000001');
  const file =
    (await readdir(below))
      .filter((name) => name.endsWith('.age'))
      .sort()
      .at(-1) ?? '';
  const path = join(below, file);
  const whole = await readFile(path);
  const bytes = Buffer.from(whole);
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 5) ^ 0xff, bytes.length - 5);
  await writeFile(path, bytes);
  return { name: file.slice(0, 24), mend: () => writeFile(path, whole) };
}

/** The rows of a server that was recovered, which is stopped then. */
async function toldIn(pgdata: string, socket: string): Promise<string> {
  const program = (name: string, ...args: string[]) =>
    asServerUser(bench.cluster, join(bench.cluster.binDirectory, name), args);
  const sql = 'SELECT string_agg(n::text, chr(44) ORDER BY n) FROM told';
  const server = ['-h', socket, '-p', String(port), '-U', 'postgres', '-d', 'postgres'];
  const { stdout } = await program('psql', '-XqAt', ...server, '-c', sql);
  await program('pg_ctl', '-D', pgdata, '-m', 'immediate', '-w', 'stop');
  return stdout.trim();
}

describe('a recovery from one store', () => {
  const wanted = (pgdata: string, ...flags: string[]) =>
    run('restore_pitr', ['--pgdata', pgdata, '--store', 'near', ...flags]);

  it('touches nothing without the key', async () => {
    const pgdata = join(folder, 'no_key');
    const refused = await wanted(pgdata);
    expect([2, 4]).toContain(refused.status);
    expect(refused.stderr).toContain('--identity');
    expect((await readdir(folder)).filter((name) => name === 'no_key')).toEqual([]);
  });

  it('brings the WAL, the damaged segment from another store, and tidies up', async () => {
    await commit(3);
    const { moved } = await move();
    const { name, mend } = await damage('near');
    // Nothing of the archive of the hooks is needed.
    await rename(bench.archive, `${bench.archive}.away`);
    const found = await run('verify_backups', ['--wal', '--store', 'near']);
    expect(found.status).toBe(4);
    expect(found.stdout).toContain('differs from its stored digest');
    const pgdata = join(folder, "it's restored");
    const flags = ['--start', '--port', String(port), '--identity', key.identity];
    const outcome = await run('restore_pitr', ['--pgdata', pgdata, '--from-cloud', ...flags]);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain(`${name} is looked for elsewhere`);
    expect(moved.segment >= name).toBe(true);
    const result = jsonOf<{ socket: string; wal_folder: null }>(outcome);
    expect(result.wal_folder).toBeNull();
    expect(await toldIn(pgdata, result.socket)).toBe('1,2,3');
    expect((await readdir(folder)).filter((each) => each.endsWith('.wal'))).toEqual([]);
    await rename(`${bench.archive}.away`, bench.archive);
    await mend();
  });

  it('reads what still waits to be carried away, where nothing is kept here', async () => {
    await writeConfig({ local_copy: false });
    const [row] = await bench.cluster.sql('SELECT pg_current_wal_lsn()::text AS lsn');
    await commit(4);
    await bench.cluster.sql('CHECKPOINT');
    await commit(5);
    const archived = async () => (await readdir(join(bench.archive, '00000001'))).sort().at(-1);
    const [last] = await bench.cluster.sql(
      'SELECT pg_walfile_name(pg_current_wal_lsn() - 1) AS name',
    );
    const name = String(last?.name);
    await until('the segment is archived', async () => ((await archived()) ?? '') >= name || null);
    expect(await readdir(join(archiveIn('near'), '00000001'))).not.toContain(`${name}.zst.age`);
    const target = ['--target-lsn', String(row?.lsn), '--identity', key.identity];
    const planned = await wanted(join(folder, 'waiting'), '--dry-run', ...target);
    expect(planned.status, planned.stderr).toBe(0);
    // Of another server nothing is taken, whatever it is called.
    const claimFile = join(bench.archive, 'claim.json');
    const claim = await readFile(claimFile, 'utf8');
    await writeFile(
      claimFile,
      claim.replace(/"system_identifier":\s*"\d/, '"system_identifier":"9'),
    );
    const refused = await wanted(join(folder, 'waiting'), '--dry-run', ...target);
    expect(refused.stdout).toContain('TARGET_UNREACHABLE');
    await writeFile(claimFile, claim);
    // To the end, out of both.
    const pgdata = join(folder, 'from both');
    const flags = ['--start', '--port', String(port), '--identity', key.identity];
    const outcome = await wanted(pgdata, ...flags);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await toldIn(pgdata, jsonOf<{ socket: string }>(outcome).socket)).toBe('1,2,3,4,5');
  });
});
