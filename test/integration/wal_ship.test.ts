/** The helper beside the archiver: what it stores ahead, and what becomes of it on a bad day. */

import { execFile } from 'node:child_process';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { waitFor } from '../support/archiving_bench.ts';
import { testEnvironment } from '../support/cluster.ts';
import { outcomeOf, spawnCommand } from '../support/command.ts';
import { createChance, rounds, send } from '../support/fault.ts';
import { endHelper, openShipScene, type ShipScene } from '../support/ship_scene.ts';

const execute = promisify(execFile);

let scene: ShipScene;
beforeAll(async () => {
  scene = await openShipScene();
}, 120_000);
afterAll(() => scene.bench.close());
afterEach(() => scene.endAll());
beforeEach(async () => {
  await scene.hold(false);
  await scene.archived();
});

/** The markers that say that a file is stored. */
async function marked(): Promise<string[]> {
  const names = await readdir(scene.markers).catch(() => []);
  const lines = await Promise.all(
    names.map((name) => readFile(join(scene.markers, name), 'utf8').catch(() => '')),
  );
  return names.filter((_, index) => lines[index]?.startsWith('stored ')).sort();
}

describe('wal_ship.ts', () => {
  it('stores what waits, so that the server finds it done', async () => {
    await scene.hold(true);
    const names = await scene.fill(5);
    const { status, result, stderr } = await scene.once('--jobs', '3');
    expect(status, stderr).toBe(0);
    expect(result).toMatchObject({ stored: 5, already: 0, failures: [] });
    expect(await marked()).toEqual(names);
    expect(await scene.verified()).toEqual(expect.arrayContaining(names));
    // Again there is nothing to do, and the markers still hold.
    expect((await scene.once()).result).toMatchObject({ stored: 0, already: 0 });
    const before = await scene.compressions();
    await scene.hold(false);
    await scene.archived();
    expect(await scene.compressions()).toBe(before);
    expect((await scene.once()).result).toMatchObject({ stored: 0, already: 0 });
    expect(await readdir(scene.markers)).toEqual([]);
  });

  it('archives everything once under load, with the server calling meanwhile', async () => {
    const { cluster } = scene.bench;
    const helper = await scene.start('--jobs', '2');
    const pgbench = (...args: string[]) =>
      execute(join(cluster.binDirectory, 'pgbench'), [...args, 'postgres'], {
        env: { ...testEnvironment, ...cluster.environment() },
      });
    await pgbench('-i', '-q', '-s', '2');
    await pgbench('-n', '-c', '4', '-t', '400');
    // The server goes away and comes back meanwhile.
    await cluster.restart();
    const last = (await scene.fill(3)).at(-1);
    await scene.archived();
    await waitFor('its markers go', async () => (await readdir(scene.markers)).length === 0);
    expect(await endHelper(helper), helper.stderrTail()).toBe(0);
    expect(helper.stderrTail()).toMatch(/stored \d+ files?, \d+ had been stored before\n$/);
    expect(helper.stderrTail()).not.toContain('warning');
    const names = await scene.verified();
    expect(names.at(-1)).toBe(last);
    expect(await scene.unfinished()).toEqual([]);
    const { failed_count: failed } =
      (await cluster.sql('SELECT failed_count FROM pg_stat_archiver'))[0] ?? {};
    expect(Number(failed)).toBeGreaterThanOrEqual(0);
    const verified = await scene.bench.run('verify_backups', ['--wal']);
    expect(verified.status, verified.stderr).toBe(0);
  });

  it('killed at any moment loses nothing and stores nothing twice', async () => {
    const chance = createChance();
    await scene.hold(true);
    for (const round of rounds(4)) {
      await scene.fill(6);
      const victim = await scene.start('--jobs', '3');
      await sleep(chance.between(0, 150));
      send(victim.pid, 'SIGKILL');
      await victim.exited;
      // What is there is whole, whenever it was killed: this throws where it is not.
      expect((await scene.verified(true)).length, `round ${round}`).toBeGreaterThan(0);
    }
    const waiting = await scene.waiting();
    expect(waiting).toHaveLength(24);
    // The next one takes over at once, also what is half done.
    const { status, result, stderr } = await scene.once();
    expect(status, stderr).toBe(0);
    expect(result.failures).toEqual([]);
    expect(await marked()).toEqual(waiting.sort());
    await scene.hold(false);
    await scene.archived();
    expect(await scene.verified()).toEqual(expect.arrayContaining(waiting));
  });

  it('runs once for a cluster: a second one says who does', async () => {
    const helper = await scene.start();
    const second = await scene.bench.run('wal_ship', []);
    expect(second.status).toBe(6);
    expect(second.stderr).toContain(`process ${helper.pid} on `);
    expect(await endHelper(helper)).toBe(0);
    expect((await scene.once()).status).toBe(0);
  });

  it('stops when the claim moves, says so, and goes on when it comes back', async () => {
    const claim = join(scene.bench.archive, 'claim.json');
    const own = await readFile(claim, 'utf8');
    const moved = JSON.stringify({ ...JSON.parse(own), host: 'db2', claim_id: 'moved' });
    const helper = await scene.start();
    await scene.hold(true);
    try {
      await writeFile(claim, `${moved}\n`);
      const names = await scene.fill(2);
      await waitFor('it says so', async () => helper.stderrTail().includes('host db2'));
      expect(await marked()).toEqual([]);
      const once = await scene.bench.run('wal_ship', ['--once']);
      expect(once.status).toBe(6);
      await writeFile(claim, own);
      await waitFor('it goes on', async () => (await marked()).length === names.length);
      expect(await endHelper(helper)).toBe(0);
      await writeFile(claim, `${moved}\n`);
      expect((await scene.bench.run('wal_ship', ['--once'])).status).toBe(7);
    } finally {
      await writeFile(claim, own);
    }
  });

  it('waits while the data directory is away', async () => {
    const { cluster } = scene.bench;
    const status = join(cluster.dataDirectory, 'pg_wal', 'archive_status');
    await scene.hold(true);
    const helper = await scene.start();
    await rename(status, `${status}.away`);
    await waitFor('it says so', async () => helper.stderrTail().includes('there is no '));
    await rename(`${status}.away`, status);
    const names = await scene.fill(2);
    await waitFor('it goes on', async () => (await marked()).length === names.length);
    expect(await endHelper(helper)).toBe(0);
    expect(helper.stderrTail().match(/there is no /g)).toHaveLength(1);
  });

  it('says of a segment that the archive holds with other content what is wrong', async () => {
    await scene.hold(true);
    const [good = '', bad = ''] = await scene.fill(2);
    const stored = join(scene.bench.archive, '00000001', `${bad}.zst`);
    await scene.once();
    await rm(join(scene.markers, bad));
    await writeFile(stored, await readFile(join(scene.bench.archive, '00000001', `${good}.zst`)));
    const { status, result } = await scene.once();
    expect(status).toBe(3);
    expect(result.failures).toMatchObject([{ name: bad, code: 'STORE_EXISTS' }]);
    expect(await marked()).toEqual([good]);
    await rm(stored);
    await rm(join(scene.bench.archive, '00000001', `${bad}.sha256`));
  });

  it('writes the indexes that are missing, also as a resident in an idle moment', async () => {
    const indexed = async () => {
      const files = await readdir(join(scene.bench.archive, '00000001'));
      return files.filter((name) => name.endsWith('.index.json'));
    };
    await scene.fill(1);
    await scene.archived();
    const outcome = await scene.bench.run('wal_ship', ['--index', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    const names = await scene.verified();
    expect((await indexed()).length).toBeGreaterThanOrEqual(names.length - 1);
    const before = (await indexed()).length;
    await scene.fill(2);
    await scene.archived();
    const helper = await scene.start();
    await waitFor('the indexes', async () => (await indexed()).length >= before + 2);
    expect(await endHelper(helper)).toBe(0);
  });

  it('refuses what makes no sense', async () => {
    for (const argv of [['--jobs', '0'], ['main'], ['--index', '--once']]) {
      expect((await scene.bench.run('wal_ship', argv)).status, argv.join(' ')).toBe(2);
    }
    const elsewhere = await scene.bench.run('wal_ship', ['--once'], { CLUSTER: 'other' });
    expect(elsewhere.status).toBe(7);
    const child = spawnCommand('wal_ship', ['--once', '--json'], {
      environment: { BACKUP_DIR: scene.bench.repository },
    });
    // Without CLUSTER it finds the only one of this host.
    const { status, stdout } = await outcomeOf(child);
    expect(status).toBe(0);
    expect(JSON.parse(stdout).cluster).toBe('main cluster');
  });
});
