/** What the monitor finds wrong with real servers and archives, and that it finds nothing else. */

import { once } from 'node:events';
import { mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beforeName } from '../../src/core/names.ts';
import { clocksGroup } from '../../src/operations/monitor/facts_clock.ts';
import { serversGroup } from '../../src/operations/monitor/facts_servers.ts';
import { spaceGroup } from '../../src/operations/monitor/facts_space.ts';
import { recoveryGroup } from '../../src/operations/monitor/facts_wal.ts';
import { type ArchivingBench, openArchivingBench, waitFor } from '../support/archiving_bench.ts';
import { type Found, watch } from '../support/watched_scene.ts';
import { quoted } from '../support/workbench.ts';

const groups = [recoveryGroup, serversGroup, spaceGroup, clocksGroup];
const hour = 3600;
const day = 24 * hour;
const odd = `it's "odd"\n$(touch x)`;

let bench: ArchivingBench;
beforeAll(async () => {
  bench = await openArchivingBench({ archive_mode: 'on', wal_level: 'replica' });
  const installed = await bench.setup(['install', '--yes']);
  expect(installed.status, installed.stderr).toBe(0);
  await bench.cluster.sql('CREATE TABLE written (at timestamptz, filling text)');
  await bench.moveForward('now');
});
afterAll(() => bench?.close());

/** Whatever disk the test runs on is no matter. */
const anyDisk = { MAX_DISK_USED_PERCENT: '100', MIN_DAYS_UNTIL_FULL: '0' };

function look(
  aheadSeconds = 0,
  environment: Readonly<Record<string, string>> = {},
  configFile?: string,
): Promise<Found> {
  const all = { ...bench.environment, ...anyDisk, ...environment };
  return watch({ environment: all, groups, aheadSeconds, ...(configFile && { configFile }) });
}

/** Without any server in the settings, as on another host. */
function lookAfar(aheadSeconds = 0): Promise<Found> {
  const environment = { BACKUP_DIR: bench.repository, ...anyDisk, MIN_DISK_SPACE_GB: '0' };
  return watch({ environment, groups: [recoveryGroup, spaceGroup, clocksGroup], aheadSeconds });
}

/** More than an idle server writes by itself. */
const write = () =>
  bench.cluster.sql(
    'INSERT INTO written SELECT now(), md5(i::text) FROM generate_series(1, 500) i',
  );

async function setCommand(command: string): Promise<void> {
  const text = command.replaceAll("'", "''");
  await bench.cluster.sql([
    `ALTER SYSTEM SET archive_command = '${text}'`,
    'SELECT pg_reload_conf()',
  ]);
  await waitFor('the command is set', async () => {
    const [row] = await bench.cluster.sql('SHOW archive_command');
    return row?.archive_command === command;
  });
}

/** Ends a segment with a commit in it. @returns its name */
async function endSegment(): Promise<string> {
  await write();
  const [row] = await bench.cluster.sql('SELECT pg_walfile_name(pg_switch_wal()) AS name');
  return String(row?.name);
}

/** Ends a segment, and waits until nothing waits for the archiver. @returns its name */
async function archive(): Promise<string> {
  const name = await endSegment();
  await waitFor('everything is archived', async () => {
    const [row] = await bench.cluster.sql(
      "SELECT count(*)::int AS n FROM pg_ls_archive_statusdir() WHERE name ~ 'ready$'",
    );
    return row?.n === 0;
  });
  return name;
}

async function commandNow(): Promise<string> {
  const [row] = await bench.cluster.sql('SHOW archive_command');
  return String(row?.archive_command);
}

/** Every file of the repository but logs and state, which are no part of it. */
async function files(): Promise<string[]> {
  const all = await readdir(bench.repository, { recursive: true });
  return all.filter((name) => !/^(logs|state)(\/|$)/.test(name)).sort();
}

describe('the monitor of a server', () => {
  it('finds nothing wrong, and writes nothing into the repository', async () => {
    await archive();
    const before = await files();
    const found = await look();
    expect(found.bad()).toEqual([]);
    expect(await files()).toEqual(before);
    const point = found.one('recovery_point');
    expect(point).toMatchObject({ subject: 'main cluster', cluster: 'main cluster' });
    expect(point.values.age_seconds).toBeLessThan(hour);
    for (const check of ['archiver', 'wal_waiting', 'slots', 'leftovers'] as const) {
      expect(found.one(check).cluster).toBe('main cluster');
    }
    expect(found.one('wal_gaps').values).toEqual({ gaps: 0 });
    expect(found.one('wal_space').values.free_bytes).toBeGreaterThan(0);
  });

  it('has the same headline without a server, from the catalog alone', async () => {
    const found = await lookAfar();
    expect(found.bad()).toEqual([]);
    expect(found.one('recovery_point').values.age_seconds).toBeLessThan(hour);
    // Nobody can tell there whether the server is idle: that its job does not run is worth a word.
    expect((await lookAfar(30 * day)).one('recovery_point').level).toBe('critical');
  });

  it('goes by the time at which a segment came where its records cannot be read', async () => {
    const empty = join(bench.folder, 'no programs');
    await mkdir(empty);
    const environment = { BACKUP_DIR: bench.repository, PG_BIN_DIR: empty };
    const found = await watch({ environment, groups: [recoveryGroup], aheadSeconds: 3 * hour });
    expect(found.one('recovery_point').message).toBe(
      'the newest recoverable point is about 3 h old',
    );
  });

  it('leaves an idle server alone, whose archive is complete, and no other', async () => {
    await archive();
    const idle = await look(30 * day);
    expect(idle.one('recovery_point')).toMatchObject({ level: 'ok', values: { age_seconds: 0 } });
    expect(idle.one('archiver').level).toBe('ok');
    await write();
    const late = await look(2.5 * hour);
    expect(late.bad()).toEqual(['archiver: warning', 'clock: critical', 'recovery_point: warning']);
    const later = await look(5 * hour);
    expect(later.one('recovery_point').level).toBe('critical');
    expect(later.one('archiver').level).toBe('critical');
    expect(later.one('archiver').mend).toContain('scripts/backup_incremental.ts');
    await archive();
  });

  it('sees clocks that are off, and backups of the future', async () => {
    const behind = await look(-2 * hour);
    expect(behind.of('clock').map(({ level }) => level)).toEqual(['warning', 'critical']);
    expect(behind.one('clock', 'backups').message).toContain('dated in the future');
    const ahead = await look(120);
    expect(ahead.bad()).toEqual(['clock: warning']);
    expect(ahead.of('clock').at(-1)?.message).toContain("behind this machine's");
  });

  it('sees a missing segment, also without a server, and what came behind it as lost', async () => {
    const name = await archive();
    const behind = await archive();
    const path = join(bench.archive, name.slice(0, 8), `${name}.zst`);
    await rename(path, `${bench.folder}/${name}.zst`);
    for (const found of [await look(), await lookAfar()]) {
      expect(found.one('wal_gaps')).toMatchObject({ level: 'critical', found: name });
      expect(found.one('wal_gaps').since).not.toBeNull();
    }
    // The point is that before the gap, whatever lies behind it.
    const found = (await lookAfar()).one('recovery_point').found;
    expect(found).not.toContain(behind);
    // A base backup behind it ends the trouble.
    await rename(`${bench.folder}/${name}.zst`, path);
    expect((await lookAfar()).bad()).toEqual([]);
  });

  it('sees an archiver that fails, with the segment that it fails on', async () => {
    const command = await commandNow();
    await setCommand('false');
    const name = await endSegment();
    await waitFor('a failure is counted', async () => {
      const [row] = await bench.cluster.sql('SELECT last_failed_wal AS name FROM pg_stat_archiver');
      return row?.name === name;
    });
    const found = await look();
    expect(found.bad()).toEqual(['archiver: critical']);
    expect(found.one('archiver').message).toContain(`archiving ${name} fails`);
    expect(found.one('wal_waiting').values.segments).toBe(1);
    await setCommand(command);
    await archive();
    expect((await look()).bad()).toEqual([]);
  });

  it('sees an idle slot that holds WAL, and what restores have left', async () => {
    const { cluster } = bench;
    await cluster.sql("SELECT pg_create_physical_replication_slot('nobody_reads', true)");
    const old = beforeName(odd, new Date(Date.now() - 8 * day * 1000));
    const young = beforeName('shop', new Date(Date.now() - 6 * day * 1000));
    for (const name of [old, young]) await cluster.sql(`CREATE DATABASE ${quoted(name)}`);
    await archive();
    await archive();
    const found = await look(0, { MAX_SLOT_WAL_GB: '0.01' });
    expect(found.bad()).toEqual(['leftovers: warning', 'slots: warning']);
    expect(found.one('slots').mend).toContain("pg_drop_replication_slot('nobody_reads')");
    expect(found.one('slots').values.retained_bytes).toBeGreaterThan(10e6);
    expect(found.one('leftovers').database).toBe(odd);
    expect(found.one('leftovers').message).not.toContain('\n');
    await cluster.sql("SELECT pg_drop_replication_slot('nobody_reads')");
    for (const name of [old, young]) await cluster.sql(`DROP DATABASE ${quoted(name)}`);
    expect((await look(0, { MAX_SLOT_WAL_GB: '0.01' })).bad()).toEqual([]);
  });

  it('asks what a role may ask, and says what it lacks', async () => {
    const { cluster } = bench;
    await cluster.sql('CREATE ROLE "a watcher" LOGIN');
    const environment = { ...bench.environment, ...anyDisk, PGUSER: 'a watcher' };
    const lookAs = (host?: string) => watch({ environment, groups, ...(host && { host }) });
    const plain = await lookAs('elsewhere');
    expect(plain.bad()).toEqual(['wal_waiting: unknown']);
    expect(plain.one('wal_waiting').mend).toBe('GRANT pg_monitor TO "a watcher";');
    // The claim of the archive tells where the files of a server on this machine are.
    expect((await lookAs()).one('wal_waiting').values.segments).toBe(0);
    await cluster.sql('GRANT pg_monitor TO "a watcher"');
    expect((await lookAs('elsewhere')).bad()).toEqual([]);
  });

  it('tells of several servers each, and of one that is down no more than that', async () => {
    const configFile = join(bench.folder, 'holdfast.yaml');
    const { PGHOST: host, PGPORT: port, PGUSER: user } = bench.environment;
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port: mute } = listener.address() as AddressInfo;
    const entries = [
      `  up: { host: ${JSON.stringify(host)}, port: ${port}, user: ${user}, dbname: postgres }`,
      `  down: { host: 127.0.0.1, port: 1, user: ${user}, dbname: postgres }`,
      `  mute: { host: 127.0.0.1, port: ${mute}, user: ${user}, connect_timeout: 1 }`,
      '  wrong: { host: "a,b", hostaddr: 127.0.0.1 }',
    ];
    await writeFile(configFile, `databases:\n${entries.join('\n')}\n`);
    const found = await look(0, {}, configFile);
    expect(found.bad()).toEqual(['archiver: critical', 'archiver: critical', 'archiver: unknown']);
    for (const subject of ['127.0.0.1:1', `127.0.0.1:${mute}`]) {
      const { level, message } = found.one('archiver', subject);
      expect([level, message]).toEqual(['critical', expect.stringContaining('cannot be asked')]);
    }
    expect(found.one('archiver', 'wrong').level).toBe('unknown');
    expect(found.all.filter(({ subject }) => subject === '127.0.0.1:1')).toHaveLength(1);
    expect(found.of('slots')).toHaveLength(1);
    listener.close();
  });

  it('tells the recovery point of each store, and the headline by the first alone', async () => {
    const configFile = join(bench.folder, 'stores.yaml');
    const nas = join(bench.folder, 'nas');
    await writeFile(configFile, `stores:\n  nas: { path: ${JSON.stringify(nas)} }\n`);
    await archive();
    const found = await look(5 * hour, {}, configFile);
    expect(found.one('recovery_point', 'main cluster').level).toBe('ok');
    expect(found.one('recovery_point', 'main cluster in nas')).toMatchObject({
      level: 'critical',
      cluster: null,
      values: {},
    });
    expect(found.one('recovery_point', 'main cluster in nas').mend).toContain('wal_ship.ts');
    expect(found.one('space', nas).level).toBe('ok');
  });

  // The last one: the server starts a dead archiver again when it likes.
  it('sees an archiver that dies with 127, of which no failure is counted', async () => {
    const count = async () =>
      (await bench.cluster.sql('SELECT failed_count::int AS n FROM pg_stat_archiver'))[0]?.n;
    const before = await count();
    await setCommand('/nonexistent/command');
    for (let segments = 0; segments < 3; segments += 1) await endSegment();
    const found = await look(2 * hour, { MAX_WAL_WAITING: '2', MAX_RECOVERY_AGE_MINUTES: '999' });
    expect(await count()).toBe(before);
    expect(found.bad()).toEqual(['archiver: warning', 'clock: critical', 'wal_waiting: warning']);
    expect(found.one('archiver').mend).toContain('above 125');
    expect(found.one('wal_waiting').values.segments).toBe(3);
    // Before it is late the command alone is worth a word: it is not ours.
    expect((await look()).one('archiver').found).toContain('/nonexistent/command');
  });
});
