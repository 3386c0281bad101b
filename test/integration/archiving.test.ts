/** Archiving is switched on, works under load, keeps a clone out, and is given back. */

import { execFile } from 'node:child_process';
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench, waitFor } from '../support/archiving_bench.ts';
import { type TestCluster, testEnvironment } from '../support/cluster.ts';
import { copyServer } from '../support/copied_server.ts';
import { projectDir } from '../support/source_tree.ts';

const execute = promisify(execFile);

async function setting(bench: ArchivingBench, name: string): Promise<unknown> {
  const [row] = await bench.cluster.sql(`SHOW ${name}`);
  return row?.[name];
}

/** The names of the whole segments on the first timeline. */
async function archived(bench: ArchivingBench): Promise<string[]> {
  const names = await readdir(join(bench.archive, '00000001')).catch(() => []);
  return names.filter((name) => /^[0-9A-F]{24}\.zst$/.test(name)).sort();
}

/** Writes WAL in several sessions at once, and ends the segment. */
async function writeWal(bench: ArchivingBench, sessions: number): Promise<string> {
  const insert =
    'INSERT INTO load SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 9000) n';
  await bench.cluster.sql('CREATE TABLE IF NOT EXISTS load (n int, note text)');
  await Promise.all(Array.from({ length: sessions }, () => bench.cluster.sql(insert)));
  const [row] = await bench.cluster.sql('SELECT pg_walfile_name(pg_switch_wal()) AS name');
  return String(row?.name);
}

async function failuresOf(cluster: TestCluster): Promise<number> {
  const [row] = await cluster.sql('SELECT failed_count::int AS n FROM pg_stat_archiver');
  return Number(row?.n);
}

describe('archiving', () => {
  let bench: ArchivingBench;
  beforeAll(async () => {
    bench = await openArchivingBench({ wal_level: 'minimal', max_wal_senders: '0' });
  });
  afterAll(() => bench.close());

  it('asks first, and says what it would set', async () => {
    const refused = await bench.setup([]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('ALTER SYSTEM SET archive_mode');
    expect(refused.stderr).toContain('--yes');
    expect(await setting(bench, 'archive_mode')).toBe('off');
    const printed = await bench.setup(['print']);
    expect(printed.status).toBe(0);
    expect(String(printed.json.statements)).toContain('main%%20cluster');
  });

  it('is set by install, which says that a restart is needed and does none', async () => {
    const installed = await bench.setup(['install', '--yes']);
    expect(installed.stderr).toContain('restart the server');
    expect(installed.status).toBe(0);
    expect(installed.json).toMatchObject({
      restart_needed: ['wal_level', 'archive_mode'],
      arrived: null,
    });
    const status = await bench.setup(['status']);
    expect(status.status).toBe(3);
    expect(status.json).toMatchObject({ working: false });
  });

  it('works after the restart: a segment arrives', async () => {
    await bench.cluster.sql("ALTER SYSTEM SET max_wal_senders = '10'");
    await bench.cluster.restart();
    const again = await bench.setup(['install', '--yes']);
    expect(again.stderr).not.toContain('error');
    expect(again.status).toBe(0);
    expect(again.json).toMatchObject({ changes: [], restart_needed: [] });
    expect(await archived(bench)).toContain(`${again.json.arrived}.zst`);
    const status = await bench.setup(['status']);
    expect(status.status).toBe(0);
    expect(status.json).toMatchObject({ working: true, missing: [], failure: null });
  });

  it('keeps up under load, without a gap, and needs nothing of the checkout', async () => {
    const last = await writeWal(bench, 6);
    await waitFor('the last segment arrives', async () =>
      (await archived(bench)).includes(`${last}.zst`),
    );
    const names = await archived(bench);
    const numbers = names.map((name) => Number.parseInt(name.slice(8, 24), 16));
    const first = numbers[0] ?? 0;
    expect(numbers).toEqual(numbers.map((_, index) => first + index));
    expect(names.length).toBeGreaterThan(3);
    const kept = await readdir(join(bench.cluster.dataDirectory, 'pg_wal'));
    expect(kept).toContain(last);
    const plain = await readFile(join(bench.cluster.dataDirectory, 'pg_wal', last));
    const stored = join(bench.archive, '00000001', `${last}.zst`);
    const { stdout } = await execute('zstd', ['--decompress', '--stdout', stored], {
      encoding: 'buffer',
      maxBuffer: 64 * 1024 * 1024,
    });
    expect(stdout.equals(plain)).toBe(true);
    const hook = await readFile(join(bench.repository, 'hooks/main%20cluster/wal_push'), 'utf8');
    expect(hook).not.toContain(projectDir);
    expect((await bench.setup(['status'])).json).toMatchObject({
      archiver: { failed_count: 0 },
    });
  });

  it('does not work without its hook, whatever the archiver has told so far', async () => {
    const hook = join(bench.repository, 'hooks/main%20cluster/wal_push');
    await rename(hook, `${hook}.away`);
    const status = await bench.setup(['status']);
    expect([status.status, status.json.failure]).toEqual([3, expect.stringContaining(hook)]);
    await rename(`${hook}.away`, hook);
    expect((await bench.setup(['status'])).status).toBe(0);
  });

  it('tells why it fails, in the words of the hook', async () => {
    const claim = join(bench.archive, 'claim.json');
    await rename(claim, `${claim}.away`);
    const segment = await writeWal(bench, 1);
    await waitFor('a failure is counted', async () => {
      const [row] = await bench.cluster.sql('SELECT failed_count::int AS n FROM pg_stat_archiver');
      return Number(row?.n) > 0;
    });
    const status = await bench.setup(['status']);
    expect(status.status).toBe(3);
    expect(status.json.failure).toContain('claim.json cannot be read');
    await rename(`${claim}.away`, claim);
    // After three failures the archiver rests for a minute, unless there is more to archive.
    await writeWal(bench, 1);
    await waitFor('it goes on by itself', async () =>
      (await archived(bench)).includes(`${segment}.zst`),
    );
  });

  it('keeps a clone out, until the clone takes over and the old server is out', async () => {
    const { cluster } = bench;
    const clone = await copyServer(cluster, { name: 'clone', port: 5433, kind: 'clone' });
    const { environment } = clone;
    try {
      const before = await archived(bench);
      await clone.rows('CREATE TABLE of_the_clone ()');
      await clone.rows('SELECT pg_switch_wal()');
      await waitFor('the clone is refused', async () => (await clone.failures()) > 0);
      expect(await archived(bench)).toEqual(before);
      const told = await bench.setup(['status'], environment);
      expect(told.json.failure).toContain(`called in ${clone.data}`);
      const refused = await bench.setup(['install', '--yes'], environment);
      expect(refused.status).toBe(7);
      expect(refused.stderr).toContain('take-over');

      const taken = await bench.setup(['take-over', '--yes'], environment);
      expect(taken.stderr).not.toContain('error');
      expect(taken.status).toBe(0);
      expect(await archived(bench)).toContain(`${taken.json.arrived}.zst`);
      const claim = JSON.parse(await readFile(join(bench.archive, 'claim.json'), 'utf8'));
      expect(claim.data_directory).toBe(clone.data);

      const failures = await failuresOf(cluster);
      await writeWal(bench, 1);
      await waitFor('the old server is refused', async () => {
        return (await failuresOf(cluster)) > failures;
      });
      expect((await bench.setup(['status'])).json.failure).toContain('take-over');
    } finally {
      await clone.crash();
    }
  });

  it('gives back what was before', async () => {
    const removed = await bench.setup(['uninstall', '--yes']);
    expect(removed.status).toBe(0);
    expect(removed.stderr).toContain('restart the server soon');
    const auto = await readFile(join(bench.cluster.dataDirectory, 'postgresql.auto.conf'), 'utf8');
    expect(auto).not.toMatch(/archive_|wal_level/);
    await bench.cluster.sql("ALTER SYSTEM SET max_wal_senders = '0'");
    await bench.cluster.restart();
    expect(await setting(bench, 'archive_mode')).toBe('off');
    expect(await setting(bench, 'wal_level')).toBe('minimal');
    expect((await bench.setup(['uninstall', '--yes'])).stderr).toContain('nothing to give back');
  });
});

describe('a server that archives already', () => {
  let bench: ArchivingBench;
  beforeAll(async () => {
    bench = await openArchivingBench({ archive_mode: 'on', archive_command: 'test -n "%p"' });
  });
  afterAll(() => bench.close());

  it('is left alone without --force, and given back its command', async () => {
    const refused = await bench.setup(['--yes']);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('test -n "%p"');
    expect(await setting(bench, 'archive_command')).toBe('test -n "%p"');
    await bench.cluster.sql("ALTER SYSTEM SET archive_command = 'exit 0 # %f'");
    await bench.cluster.sql('SELECT pg_reload_conf()');
    const forced = await bench.setup(['--yes', '--force']);
    expect(forced.stderr).not.toContain('error');
    expect(forced.status).toBe(0);
    expect(await archived(bench)).toContain(`${forced.json.arrived}.zst`);
    expect((await bench.setup(['uninstall', '--yes'])).status).toBe(0);
    await waitFor(
      'the old command is back',
      async () => (await setting(bench, 'archive_command')) === 'exit 0 # %f',
    );
  });

  it('keeps what somebody has set since', async () => {
    expect((await bench.setup(['--yes', '--force'])).status).toBe(0);
    await bench.cluster.sql("ALTER SYSTEM SET archive_command = 'exit 0 # mine'");
    const removed = await bench.setup(['uninstall', '--yes']);
    expect(removed.json).toMatchObject({ kept: [{ name: 'archive_command' }] });
    // PostgreSQL 17 and newer get their summarize_wal back.
    const command = expect.objectContaining({ name: 'archive_command' });
    expect(removed.json.restored).not.toContainEqual(command);
  });

  it('changes nothing where the hook cannot run on the server', async () => {
    const before = await setting(bench, 'archive_command');
    const PATH = `${join(projectDir, 'test/support/fixtures/no_zstd')}:${testEnvironment.PATH}`;
    const failed = await bench.setup(['--yes', '--force'], { PATH });
    expect(failed.status).toBe(3);
    expect(failed.stderr).toContain('zstd does not run');
    expect(failed.stderr).toContain('scripts/wal_stream.ts');
    expect(await setting(bench, 'archive_command')).toBe(before);
  });

  it('says which action it does not know', async () => {
    expect((await bench.setup(['instal'])).status).toBe(2);
    expect((await bench.setup(['status', 'print'])).status).toBe(2);
  });
});
