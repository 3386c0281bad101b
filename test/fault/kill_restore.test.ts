/**
 * Whatever is killed at whatever moment of a restore: under the database's name lies the whole old
 * content or the whole new one, and the next restore succeeds and clears up.
 */

import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Blows,
  createChance,
  fillShop,
  fingerprint,
  killBackend,
  openScene,
  rounds,
  type Scene,
  send,
  startBlows,
  until,
  type Victim,
} from '../support/fault.ts';

const chance = createChance();
const restore = ['--latest', 'shop', '--force'] as const;
let scene: Scene;
/** The fingerprints of what was backed up, and of what was there when a restore began. */
let backedUp: string;
let current: string;
let blows: Blows;

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 60_000);
  backedUp = await fingerprint(scene.cluster);
  const backup = await scene.run('backup_full', ['shop']);
  expect(backup.status, backup.stderr).toBe(0);
  const command = 'restore_backup';
  const expectNext = expectNextRestore;
  blows = await startBlows({ scene, chance, command, argv: restore, expectWhole, expectNext });
  await workOn();
});
afterAll(async () => {
  await scene.close();
});

async function databases(): Promise<string[]> {
  const rows = await scene.cluster.sql(
    "SELECT datname AS name FROM pg_database WHERE datname LIKE 'shop%' ORDER BY oid",
  );
  return rows.map(({ name }) => String(name));
}

/** Life goes on after a restore: the database changes, and the one before is dropped. */
async function workOn(): Promise<void> {
  for (const name of await databases()) {
    if (name.includes('__before_')) await scene.cluster.sql(`DROP DATABASE "${name}"`);
  }
  await scene.cluster.sql(
    ["UPDATE state SET state = 'worked on'", 'DELETE FROM orders WHERE id <= 10'],
    'shop',
  );
  current = await fingerprint(scene.cluster);
  expect(current).not.toBe(backedUp);
}

/** What must hold after a restore, however it ended. @returns whether it was swapped in */
async function expectWhole(victim: Victim, told: string): Promise<boolean> {
  const { status, stderr } = await victim.outcome;
  await scene.serverUp();
  await victim.expectGone();
  const context = `${told}, status ${status}: ${stderr}`;
  expect(await databases(), context).toContain('shop');
  const found = await fingerprint(scene.cluster);
  expect([current, backedUp], context).toContain(found);
  const before = (await databases()).find((name) => name.includes('__before_'));
  expect(before !== undefined, context).toBe(found === backedUp);
  if (before !== undefined) {
    const old = await fingerprint(scene.cluster, before);
    expect(JSON.parse(old).state, context).toBe('worked on');
    expect(JSON.parse(old).rows, context).toBe(JSON.parse(current).rows);
  }
  if (status === 0) expect(found, context).toBe(backedUp);
  if (stderr.includes('is untouched')) expect(found, context).toBe(current);
  return found === backedUp;
}

/** The next restore has nothing to mend by hand before it, and leaves nothing of the dead one. */
async function expectNextRestore(told: string): Promise<void> {
  await workOn();
  const next = await scene.run('restore_backup', restore);
  expect(next.status, `the restore after ${told}: ${next.stderr}`).toBe(0);
  expect(await fingerprint(scene.cluster), told).toBe(backedUp);
  const left = (await databases()).filter((name) => name.includes('__restoring_'));
  expect(left, `${told}: ${next.stderr}`).toEqual([]);
  await workOn();
}

const round: Blows['round'] = (...args) => blows.round(...args);
const waitPart: Blows['waitPart'] = (...args) => blows.waitPart(...args);

/** Waits until the new database has been compared: analyze and the swap come next. */
async function waitSwap(victim: Victim): Promise<string> {
  await until('the comparison', () => {
    return victim.ended() || victim.stderr().includes('compared:') ? true : null;
  });
  const ms = chance.between(0, 160);
  await sleep(ms);
  return `${Math.round(ms)} ms after the comparison`;
}

describe('kill -9 of the script', () => {
  it.each(rounds(6))('at any moment, round %i', () =>
    round('kill -9 of the script', async (victim) => {
      const moment = await waitPart(0.2, 1);
      send(victim.pid, 'SIGKILL');
      return moment;
    }),
  );

  it.each(rounds(7))('around the swap, round %i', () =>
    round('kill -9 of the script', async (victim) => {
      const moment = await waitSwap(victim);
      send(victim.pid, 'SIGKILL');
      return moment;
    }),
  );
});

describe('kill -9 of the script with several jobs', () => {
  it('leaves an unpacked dump that the next such restore removes', async () => {
    const temporary = await mkdtemp(join(scene.folder, 'temporary-'));
    const jobs = ['--jobs', '2'];
    const victim = scene.start('restore_backup', [...restore, ...jobs], { TMPDIR: temporary });
    await victim.child('pg_restore');
    send(victim.pid, 'SIGKILL');
    await expectWhole(victim, 'kill -9 of the script with 2 jobs');
    expect((await readdir(temporary)).length).toBe(1);
    const environment = { TMPDIR: temporary };
    const next = await scene.run('restore_backup', [...restore, ...jobs], { environment });
    expect(next.status, next.stderr).toBe(0);
    expect(await readdir(temporary)).toEqual([]);
    expect((await databases()).length).toBe(2);
    await workOn();
  });
});

describe('kill -9 of pg_restore', () => {
  it.each([1, 1, 1, 2, 2])('with %i jobs', (jobs) =>
    round(
      `kill -9 of pg_restore with ${jobs} jobs`,
      async (victim) => {
        const child = await victim.child('pg_restore');
        const ms = chance.between(0, blows.durationMs() * 0.3);
        await sleep(ms);
        send(child?.pid, 'SIGKILL');
        const { status, stderr } = await victim.outcome;
        expect([0, 3], `status ${status}: ${stderr}`).toContain(status);
        return `${Math.round(ms)} ms after its start`;
      },
      ['--jobs', String(jobs)],
    ),
  );
});

describe('kill -9 of the server', () => {
  it.each(rounds(4))('of one of its backends, round %i', () =>
    round('kill -9 of a backend', async () => {
      const moment = await waitPart(0.3, 1);
      const others = "backend_type = 'client backend' AND pid <> pg_backend_pid()";
      return `${moment}, ${await killBackend(scene, chance, others)}`;
    }),
  );

  it.each(rounds(4))('of a backend around the swap, round %i', () =>
    round('kill -9 of a backend', async (victim) => {
      const moment = await waitSwap(victim);
      const ours = "application_name LIKE 'holdfast%'";
      return `${moment}, ${await killBackend(scene, chance, ours)}`;
    }),
  );

  it.each(['at any moment', 'at any moment', 'around the swap', 'around the swap'])(
    'of the postmaster %s',
    (when) =>
      round('kill -9 of the postmaster', async (victim) => {
        const moment = when === 'at any moment' ? await waitPart(0.3, 0.9) : await waitSwap(victim);
        await scene.cluster.kill9();
        return moment;
      }),
  );
});

describe('an interruption in order', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGINT'] as const)(
    'by %s ends with 130, drops the new database and leaves the old one',
    async (signal) => {
      const victim = scene.start('restore_backup', restore);
      await victim.child('pg_restore');
      // Stopped meanwhile, so that on a busy machine too the signal comes in the middle.
      send(victim.pid, 'SIGSTOP');
      await sleep(chance.between(0, 60));
      send(victim.pid, signal);
      send(victim.pid, 'SIGCONT');
      const { status, stderr } = await victim.outcome;
      const told = `${signal} (HOLDFAST_FAULT_SEED=${chance.seed}): ${stderr}`;
      expect(status, told).toBe(130);
      expect(stderr).toContain(`interrupted by ${signal}`);
      expect(stderr).toContain('"shop" is untouched');
      expect(await expectWhole(victim, told)).toBe(false);
      expect(await databases(), told).toEqual(['shop']);
    },
  );
});

describe('the lock', () => {
  it('lets one of two restores of a database win; the other ends with 6 and touches nothing', async () => {
    const first = scene.start('restore_backup', restore);
    await first.child('pg_restore');
    send(first.pid, 'SIGSTOP');
    const second = await scene.run('restore_backup', [...restore, '--json']);
    expect(second.status, second.stderr).toBe(6);
    expect(JSON.parse(second.stdout).error.code).toBe('LOCKED');
    expect(second.stderr).toContain(String(first.pid));
    send(first.pid, 'SIGCONT');
    const { status, stderr } = await first.outcome;
    expect(status, stderr).toBe(0);
    await workOn();
  });

  it('when it is lost ends the restore with 6; the old database is untouched', async () => {
    const victim = scene.start('restore_backup', [...restore, '--json']);
    await victim.child('pg_restore');
    send(victim.pid, 'SIGSTOP');
    const [row] = await scene.cluster.sql(
      "SELECT pg_terminate_backend(pid) AS ended FROM pg_locks WHERE locktype = 'advisory'",
    );
    expect(row).toEqual({ ended: true });
    send(victim.pid, 'SIGCONT');
    const { status, stdout, stderr } = await victim.outcome;
    expect(status, stderr).toBe(6);
    expect(JSON.parse(stdout).error.code).toBe('LOCK_LOST');
    expect(await expectWhole(victim, 'the lock was lost')).toBe(false);
    expect(await databases()).toEqual(['shop']);
  });
});

describe('what dead restores have left', () => {
  const leftover = 'shop__restoring_20200101T000000Z';
  const restoringComment = `'holdfast: being restored as "shop"'`;

  it('is dropped when it was killed right after it was created', async () => {
    await scene.cluster.sql(`CREATE DATABASE "${leftover}"`);
    await expectNextRestore('a death right after CREATE DATABASE');
  });

  it('is dropped when the server was killed while it was dropping it', async () => {
    await scene.cluster.sql([
      `CREATE DATABASE "${leftover}"`,
      `COMMENT ON DATABASE "${leftover}" IS ${restoringComment}`,
      // How DROP DATABASE marks a database before it removes its files (PostgreSQL 15.4).
      `UPDATE pg_database SET datconnlimit = -2 WHERE datname = '${leftover}'`,
    ]);
    await expectNextRestore('a death within DROP DATABASE');
  });

  it('is left alone when somebody else has made it', async () => {
    await scene.cluster.sql(`CREATE DATABASE "${leftover}"`);
    await scene.cluster.sql('CREATE TABLE mine AS SELECT 1 AS one', leftover);
    const next = await scene.run('restore_backup', restore);
    expect(next.status, next.stderr).toBe(0);
    expect(await databases()).toContain(leftover);
    await scene.cluster.sql(`DROP DATABASE "${leftover}"`);
    await workOn();
  });
});

describe('after all this', () => {
  it('most blows have met a restore that was under way', () => {
    expect(blows.missed(), `HOLDFAST_FAULT_SEED=${chance.seed}`).toBeLessThan(15);
  });
});
