/**
 * Killed between the two renames of a swap, by a restore and by a rollback: nothing of it is left
 * but the old state, exactly one database has the name, and the next run succeeds.
 */

import type { Client } from 'pg';
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
import { jsonOf } from '../support/workbench.ts';

const chance = createChance();
const restore = ['--latest', 'shop', '--force'] as const;
const rollback = ['--rollback', 'shop', '--force'] as const;
const ours = "application_name LIKE 'holdfast%'";
let scene: Scene;
let blows: Blows;
/** The fingerprints of the two databases that change places. */
let backedUp: string;
let live: string;

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 2_000);
  backedUp = await fingerprint(scene.cluster);
  const backup = await scene.run('backup_full', ['shop']);
  expect(backup.status, backup.stderr).toBe(0);
  await scene.cluster.sql("UPDATE state SET state = 'worked on'", 'shop');
  live = await fingerprint(scene.cluster);
  const restored = await scene.run('restore_backup', restore);
  expect(restored.status, restored.stderr).toBe(0);
  blows = await startBlows({
    scene,
    chance,
    command: 'restore_backup',
    argv: rollback,
    expectWhole,
    expectNext,
  });
});
afterAll(() => scene?.close());

async function databases(like: string): Promise<string[]> {
  const rows = await scene.cluster.sql(
    `SELECT datname AS name FROM pg_database WHERE datname LIKE '${like}' ORDER BY datname`,
  );
  return rows.map(({ name }) => String(name));
}

/** The content under the name, and that of the one old database. */
async function contents(): Promise<{ readonly now: string; readonly old: string }> {
  const before = await databases('shop!_!_before!_%'.replaceAll('!', '\\'));
  expect(before).toHaveLength(1);
  return {
    now: await fingerprint(scene.cluster),
    old: await fingerprint(scene.cluster, before[0]),
  };
}

/** Sessions of a dead client end when they next want to tell it something. */
async function sessionsGone(): Promise<void> {
  await until('the end of its sessions', async () => {
    const left = await scene.cluster.sql(`SELECT FROM pg_stat_activity WHERE ${ours}`);
    return left.length === 0 ? true : null;
  });
}

/** Both databases are there, whole, each once. */
async function expectWhole(victim: Victim, told: string): Promise<void> {
  const { status, stderr } = await victim.outcome;
  await scene.serverUp();
  await victim.expectGone();
  await sessionsGone();
  const { now, old } = await contents();
  expect([now, old].sort(), `${told}, status ${status}: ${stderr}`).toEqual(
    [backedUp, live].sort(),
  );
}

/** The next rollback goes through and changes the two. */
async function expectNext(told: string): Promise<void> {
  const before = await contents();
  const next = await scene.run('restore_backup', [...rollback, '--json']);
  expect(next.status, `the rollback after ${told}: ${next.stderr}`).toBe(0);
  expect(jsonOf(next)).toMatchObject({ database: 'shop', exit_status: 0 });
  expect(await contents(), told).toEqual({ now: before.old, old: before.now });
}

/** Keeps the rename of one database waiting, and nothing else: the catalog's row is being changed. */
async function holdRename(like: string): Promise<Client> {
  const session = await scene.cluster.connect('postgres');
  await session.query('BEGIN');
  await until(`a database ${like}`, async () => {
    const { rowCount } = await session.query(
      'UPDATE pg_database SET datconnlimit = datconnlimit WHERE datname LIKE $1',
      [like],
    );
    return rowCount === 1 ? true : null;
  });
  return session;
}

/** The first rename is done, and the second one waits. @returns its server process */
async function betweenRenames(victim: Victim): Promise<number> {
  return until('the second rename', async () => {
    if (victim.ended()) throw new Error(`it has ended: ${victim.stderr()}`);
    const [row] = await scene.cluster.sql(
      `SELECT pid FROM pg_stat_activity WHERE ${ours} AND wait_event_type = 'Lock'
          AND query LIKE 'ALTER DATABASE % RENAME TO "shop"'`,
    );
    return (row?.pid as number | undefined) ?? null;
  });
}

const blowsBetween: Readonly<Record<string, (victim: Victim, pid: number) => Promise<unknown>>> = {
  'of the script': async (victim) => send(victim.pid, 'SIGKILL'),
  'of the backend': async (_victim, pid) => send(pid, 'SIGKILL'),
  'of the postmaster': () => scene.cluster.kill9(),
};

describe('kill -9 between the two renames', () => {
  it.each(Object.entries(blowsBetween))('of a rollback, %s', async (what, blow) => {
    const before = await contents();
    const gate = await holdRename('shop\\_\\_before\\_%');
    const victim = scene.start('restore_backup', rollback);
    await blow(victim, await betweenRenames(victim));
    await victim.outcome;
    await gate.end().catch(() => undefined);
    await expectWhole(victim, what);
    expect((await victim.outcome).status).not.toBe(0);
    expect(await contents()).toEqual(before);
    await expectNext(what);
  });

  it.each(Object.entries(blowsBetween))('of a restore, %s', async (what, blow) => {
    const dropped = await scene.run('restore_backup', ['--drop-old', 'shop', '--force']);
    expect(dropped.status, dropped.stderr).toBe(0);
    await scene.cluster.sql("UPDATE state SET state = 'worked on'", 'shop');
    const victim = scene.start('restore_backup', restore);
    const gate = await holdRename('shop\\_\\_restoring\\_%');
    await blow(victim, await betweenRenames(victim));
    const { status, stderr } = await victim.outcome;
    await gate.end().catch(() => undefined);
    expect(status, `${what}: ${stderr}`).not.toBe(0);
    await scene.serverUp();
    await sessionsGone();
    expect(await fingerprint(scene.cluster), stderr).toBe(live);
    expect(await databases('shop\\_\\_before\\_%'), stderr).toEqual([]);
    const next = await scene.run('restore_backup', restore);
    expect(next.status, next.stderr).toBe(0);
    expect(await databases('shop\\_\\_restoring\\_%'), next.stderr).toEqual([]);
    expect(await contents()).toEqual({ now: backedUp, old: live });
  });
});

describe('kill -9 at any moment of a rollback', () => {
  it.each(rounds(5))('of the script, round %i', () =>
    blows.round('kill -9 of the script', async (victim) => {
      const moment = await blows.waitPart(0.4, 1);
      send(victim.pid, 'SIGKILL');
      return moment;
    }),
  );

  it.each(rounds(4))('of one of its backends, round %i', () =>
    blows.round('kill -9 of a backend', async () => {
      const moment = await blows.waitPart(0.5, 1);
      return `${moment}, ${await killBackend(scene, chance, ours)}`;
    }),
  );

  it.each(rounds(2))('of the postmaster, round %i', () =>
    blows.round('kill -9 of the postmaster', async () => {
      const moment = await blows.waitPart(0.5, 1);
      await scene.cluster.kill9();
      return moment;
    }),
  );
});

describe('the lock', () => {
  it('lets no rollback begin while a restore is running, and no restore during a rollback', async () => {
    const gate = await holdRename('shop\\_\\_before\\_%');
    const victim = scene.start('restore_backup', rollback);
    await betweenRenames(victim);
    for (const argv of [restore, rollback, ['--drop-old', 'shop', '--force']]) {
      const second = await scene.run('restore_backup', [...argv, '--json']);
      expect(second.status, second.stderr).toBe(6);
      expect(second.stderr).toContain(`locked by rollback`);
      expect(second.stderr).toContain(String(victim.pid));
    }
    await gate.query('ROLLBACK');
    await gate.end();
    const { status, stderr } = await victim.outcome;
    expect(status, stderr).toBe(0);
  });

  it('when it is lost ends the rollback with 6; nothing has changed', async () => {
    const before = await contents();
    const gate = await holdRename('shop\\_\\_before\\_%');
    const victim = scene.start('restore_backup', [...rollback, '--json']);
    await betweenRenames(victim);
    const [row] = await scene.cluster.sql(
      "SELECT pg_terminate_backend(pid) AS ended FROM pg_locks WHERE locktype = 'advisory'",
    );
    expect(row).toEqual({ ended: true });
    const { status, stdout, stderr } = await victim.outcome;
    await gate.end();
    expect(status, stderr).toBe(6);
    expect(JSON.parse(stdout).error.code).toBe('LOCK_LOST');
    expect(await contents()).toEqual(before);
  });
});
