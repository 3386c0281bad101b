/** What a restored server starts with, what it is asked, and what stops it. */

import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BaseManifest } from '../../src/core/base_manifest.ts';
import { until } from '../support/fault.ts';
import { openPitrBench, type PitrBench } from '../support/pitr_bench.ts';
import { flipped, jsonOf } from '../support/workbench.ts';

const limits = {
  max_connections: '137',
  max_worker_processes: '13',
  max_wal_senders: '17',
  max_prepared_transactions: '23',
  max_locks_per_transaction: '71',
} as const;
/** The target of an earlier recovery, and a standby that nobody has. */
const inherited = {
  recovery_target_xid: '5',
  recovery_target_action: 'shutdown',
  recovery_min_apply_delay: '1h',
  synchronous_standby_names: 'nobody',
  primary_slot_name: 'nobody',
};

interface Done {
  readonly check: { databases: string[]; answer: string | null };
  readonly notes: readonly string[];
  readonly report: { timeline: number };
}

let bench: PitrBench;
/** The server's postgresql.conf, and what is in it. */
let conf: string;
let limited: string;
let manifest: BaseManifest;
/** The second and the third segment behind the base backup. */
const segments: string[] = [];
let count = 0;
let pgdata: string;

const settings = (values: Readonly<Record<string, string>>) =>
  Object.entries(values)
    .map(([name, value]) => `${name} = '${value}'\n`)
    .join('');
const start = () => ['--start', '--port', String(bench.pitrPort)];

/** A new folder, which begins with a data directory of its own. */
async function restored(...flags: string[]): Promise<Done> {
  count += 1;
  pgdata = join(bench.folder, `d${count}`);
  const outcome = await bench.restore(pgdata, ...flags);
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<Done>(outcome);
}

/** Starts what was restored without `--start`, as an operator does. */
async function startPaused(): Promise<void> {
  const options = `-c port=${bench.pitrPort} -c listen_addresses= -c unix_socket_directories=${pgdata}`;
  const log = join(pgdata, 'started.log');
  const args = ['-D', pgdata, '-w', '-t', '200', '-l', log, '-o', options, 'start'];
  const { status } = await bench.program('pg_ctl', ...args);
  expect(status, await readFile(log, 'utf8').catch(() => '')).toBe(0);
}

/** It answers at its target, with the limits of the original: with less it would not start. */
async function expectPaused(): Promise<void> {
  await startPaused();
  const state = 'SELECT pg_get_wal_replay_pause_state()';
  await until('it', async () => (await bench.psql(pgdata, state)) === 'paused' || null, 120_000);
  for (const [name, value] of Object.entries(limits)) {
    expect(await bench.psql(pgdata, `SHOW ${name}`)).toBe(value);
  }
}

async function drop(): Promise<void> {
  await bench.program('pg_ctl', '-D', pgdata, '-m', 'immediate', 'stop');
  await rm(pgdata, { recursive: true, force: true });
}

beforeAll(async () => {
  bench = await openPitrBench(5443);
  const { cluster } = bench;
  conf = join(cluster.dataDirectory, 'postgresql.conf');
  const before = await readFile(conf, 'utf8');
  limited = `${before}${settings(limits)}`;
  await writeFile(conf, limited);
  await cluster.restart();
  await cluster.sql([
    'CREATE TABLE marker AS SELECT 1 AS id',
    'CREATE DATABASE "odd ""name"""',
    'CREATE DATABASE closed ALLOW_CONNECTIONS false',
  ]);
  // What else a postgresql.conf may have; and the limits may have stood on a command line.
  const places = { data_directory: cluster.dataDirectory, log_directory: '/nowhere/logs' };
  await writeFile(conf, `${before}${settings({ ...inherited, ...places, ssl: 'on' })}`);
  for (const name of await readdir(cluster.dataDirectory)) {
    const path = join(cluster.dataDirectory, name);
    if ((await stat(path)).isDirectory()) await chmod(path, 0o750);
  }
  manifest = (await bench.takeBase()).manifest;
  await writeFile(conf, limited);
  for (const id of [2, 3, 4]) {
    await cluster.sql(`INSERT INTO marker VALUES (${id})`);
    segments.push(await bench.switchSegment());
  }
  await bench.handOver();
}, 300_000);

afterAll(async () => {
  if (pgdata !== undefined) await drop();
  await bench?.close();
});

describe('a restored server', () => {
  it('goes by no setting of the original that is about another recovery or another place', async () => {
    const { notes, check, report } = await restored(
      ...start(),
      ...['--check-query', 'SELECT count(*) = 4 FROM marker'],
    );
    expect(report.timeline).toBe(2);
    expect(check.databases).toEqual(['odd "name"', 'postgres', 'template1']);
    expect(check.answer).toBe('true');
    for (const name of [...Object.keys(inherited), 'data_directory', 'log_directory', 'ssl']) {
      expect(notes.join('\n')).toContain(name);
    }
    expect(await bench.psql(pgdata, 'SHOW data_directory')).toBe(pgdata);
    expect(await bench.psql(pgdata, 'SHOW synchronous_standby_names')).toBe('');
    // A commit that waited for a standby would wait for ever.
    await bench.psql(pgdata, 'INSERT INTO marker VALUES (5)');
    // The original let its group in.
    expect((await stat(pgdata)).mode & 0o777).toBe(0o750);
    await drop();
  }, 300_000);

  it('pauses at its target with the limits of the original, and answers there', async () => {
    await restored('--target-name', 'none').catch(() => undefined);
    await restored('--target-lsn', manifest.stop_lsn);
    // The limits are nowhere in what it was told: the original had them on its command line.
    const auto = join(pgdata, 'postgresql.auto.conf');
    const text = await readFile(auto, 'utf8');
    for (const [name, value] of Object.entries(limits)) {
      expect(text).toContain(`${name} = '${value}'`);
    }
    await startPaused();
    const paused = async () =>
      (await bench.psql(pgdata, "SELECT pg_get_wal_replay_pause_state() = 'paused'")) === 't' ||
      null;
    await until('the pause', paused, 120_000);
    expect(await bench.psql(pgdata, 'SELECT pg_is_in_recovery()')).toBe('t');
    for (const [name, value] of Object.entries(limits)) {
      expect(await bench.psql(pgdata, `SHOW ${name}`)).toBe(value);
    }
    await drop();
  }, 300_000);

  it('that does not answer as it was asked ends with 4, and goes on running', async () => {
    count += 1;
    pgdata = join(bench.folder, `d${count}`);
    const query = 'SELECT count(*) > 1000 FROM marker';
    const refused = await bench.refused(pgdata, ...start(), '--check-query', query);
    expect([refused.status, refused.code]).toEqual([4, 'DIFFERENT']);
    expect(await bench.psql(pgdata, 'SELECT 1')).toBe('1');
    const unasked = await bench.refused(join(bench.folder, 'x'), '--check-query', query);
    expect(unasked.status).toBe(2);
    await drop();
  }, 300_000);
});

describe('a segment that is damaged in the middle', () => {
  it('stops the recovery, is named, and is no end: mended, it goes on', async () => {
    const [, middle = ''] = segments;
    const path = join(bench.archive, middle.slice(0, 8), `${middle}.zst`);
    const whole = await readFile(path);
    // A look at the plan has indexed it: the damage comes later.
    const look = await bench.restore(join(bench.folder, 'look'), '--dry-run');
    expect(look.status, look.stderr).toBe(0);
    await writeFile(path, flipped(whole));
    count += 1;
    pgdata = join(bench.folder, `d${count}`);
    const refused = await bench.refused(pgdata, ...start());
    expect([refused.status, refused.code]).toEqual([4, 'DAMAGED']);
    expect(refused.message).toContain(`before the WAL segment ${middle}`);
    expect(refused.hint).toMatch(/pg_ctl'? --pgdata \. start/);
    expect(await readdir(pgdata)).not.toContain('postmaster.pid');
    expect(await readdir(pgdata)).toContain('recovery.signal');
    await writeFile(path, whole);
    await startPaused();
    const markers = 'SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM marker';
    await until(
      'all of the WAL',
      async () => (await bench.psql(pgdata, markers).catch(() => '')) === '1,2,3,4' || null,
      120_000,
    );
    await drop();
  }, 300_000);
});

describe('a server whose configuration lies elsewhere', () => {
  it('starts with the little that it needs, or with what was saved', async () => {
    const { dataDirectory } = bench.cluster;
    const etc = join(bench.bench.folder, 'etc');
    await mkdir(join(etc, 'conf.d'), { recursive: true });
    await chmod(etc, 0o755);
    const files = { hba_file: 'pg_hba.conf', ident_file: 'pg_ident.conf' };
    await bench.stop(dataDirectory);
    for (const name of Object.values(files)) {
      await writeFile(join(etc, name), await readFile(join(dataDirectory, name)));
      await rm(join(dataDirectory, name));
    }
    await rm(conf);
    const own = Object.entries(files).map(([name, file]) => [name, join(etc, file)]);
    const places = { data_directory: dataDirectory, ...Object.fromEntries(own) };
    const text = `${limited}${settings(places)}include_dir 'conf.d'\n`;
    await writeFile(join(etc, 'postgresql.conf'), text);
    await writeFile(join(etc, 'conf.d', 'more.conf'), settings({ work_mem: '7MB', port: '1' }));
    const log = join(bench.folder, 'moved.log');
    const options = `-c port=${bench.cluster.port}`;
    const args = ['-D', etc, '-w', '-t', '200', '-l', log, '-o', options, 'start'];
    const { status } = await bench.program('pg_ctl', ...args);
    expect(status, await readFile(log, 'utf8').catch(() => '')).toBe(0);
    const { stop_lsn: stop } = (await bench.takeBase()).manifest;
    // A segment with nothing in it is not ended.
    await bench.cluster.sql('INSERT INTO marker VALUES (6)');
    await bench.switchSegment();
    await bench.handOver();

    await restored('--target-lsn', stop);
    expect(await readFile(join(pgdata, 'postgresql.conf'), 'utf8')).not.toContain('work_mem');
    await expectPaused();
    await drop();
    const { notes } = await restored('--with-config', ...start());
    expect(await bench.psql(pgdata, 'SHOW work_mem')).toBe('7MB');
    expect(await bench.psql(pgdata, 'SHOW hba_file')).toBe(join(pgdata, 'pg_hba.conf'));
    expect(await bench.psql(pgdata, 'SHOW archive_mode')).toBe('off');
    for (const name of Object.keys(places)) expect(notes.join('\n')).toContain(name);
    await drop();
  }, 300_000);
});
