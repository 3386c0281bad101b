/**
 * Whatever is killed at whatever moment of a restore in place: the old database is whole, or the
 * new one is, or a verified safety backup is there and the command that was printed brings it back.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { typeCommand } from '../support/command.ts';
import {
  createChance,
  fillShop,
  fingerprint,
  openScene,
  type Scene,
  send,
  until,
  type Victim,
} from '../support/fault.ts';

const chance = createChance();
const restore = ['--latest', 'shop', '--type', 'daily', '--in-place', '--force'] as const;
const timeoutMs = 120_000;
let scene: Scene;
/** The fingerprints of what was backed up, and of what was there when a restore began. */
let backedUp: string;
let current: string;
/** How long a whole restore takes here, from its start. */
let durationMs: number;
let generation = 0;
/** How often the blow fell before the drop, between drop and rename, after the rename. */
const met = { before: 0, between: 0, after: 0 };

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 30_000);
  backedUp = await fingerprint(scene.cluster);
  const backup = await scene.run('backup_full', ['shop']);
  expect(backup.status, backup.stderr).toBe(0);
  const started = performance.now();
  const first = await scene.start('restore_backup', restore).outcome;
  durationMs = performance.now() - started;
  expect(first.status, first.stderr).toBe(0);
  await workOn();
}, timeoutMs);
afterAll(async () => {
  await scene.close();
});

/** All databases of the shop; those that a broken DROP has left are none. */
async function databases(): Promise<string[]> {
  const rows = await scene.cluster.sql(
    `SELECT datname AS name FROM pg_database
      WHERE datname LIKE 'shop%' AND datconnlimit <> -2 ORDER BY oid`,
  );
  return rows.map(({ name }) => String(name));
}

/** Life goes on after a restore: the database is another one than ever before. */
async function workOn(): Promise<void> {
  generation += 1;
  await scene.cluster.sql([`UPDATE state SET state = 'generation ${generation}'`], 'shop');
  current = await fingerprint(scene.cluster);
}

/** The command that was printed before the drop, typed as it stands. */
async function bringBack(stderr: string, told: string): Promise<void> {
  const [command = '', label = ''] =
    /^ {2}(scripts\/restore_backup\.ts (\S+) .*)$/m.exec(stderr)?.slice(1) ?? [];
  expect(label, told).toMatch(/-manual-/);
  const verified = await scene.run('verify_backups', [label]);
  expect(verified.status, `${told}: ${verified.stderr}`).toBe(0);
  await typeCommand(`${command} --force`);
  expect(await fingerprint(scene.cluster), told).toBe(current);
  // An ordinary restore keeps what was there before it.
  for (const name of await databases()) {
    if (name.includes('__before_')) await scene.cluster.sql(`DROP DATABASE "${name}"`);
  }
}

/** A statement goes on in the server when who sent it is dead: DROP DATABASE, or the commit. */
async function expectNoSessions(): Promise<void> {
  await until('the end of every session', async () => {
    const sql = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'holdfast%'";
    return (await scene.cluster.sql(sql)).length === 0 ? true : null;
  });
}

/**
 * It is renamed before it is dropped: a blow between the two leaves the old database whole under
 * its other name, and nothing under its own. An operator drops it.
 *
 * @returns the databases without it
 */
async function takeAway(names: readonly string[], context: string): Promise<string[]> {
  const aside = names.filter((name) => name.includes('__before_'));
  for (const name of aside) {
    expect(names, context).not.toContain('shop');
    expect(await fingerprint(scene.cluster, name), context).toBe(current);
    await scene.cluster.sql(`DROP DATABASE "${name}"`);
  }
  expect(aside.length, context).toBeLessThanOrEqual(1);
  return names.filter((name) => !aside.includes(name));
}

/** What must hold after a restore, however it ended. */
async function expectSafe(victim: Victim, told: string): Promise<void> {
  const { status, stderr } = await victim.outcome;
  await scene.serverUp();
  await victim.expectGone();
  await expectNoSessions();
  const context = `${told}, status ${status}: ${stderr}`;
  const names = await takeAway(await databases(), context);
  if (!names.includes('shop')) {
    met.between += 1;
    expect(status, context).not.toBe(0);
    expect(stderr, context).not.toContain('is untouched');
    // Half of the time the restore is started again first, and the way back is still open.
    if (chance.next() < 0.5) await expectNextRestore(told);
    return bringBack(stderr, context);
  }
  const found = await fingerprint(scene.cluster);
  expect([current, backedUp], context).toContain(found);
  if (status === 0) expect(found, context).toBe(backedUp);
  if (stderr.includes('is untouched')) expect(found, context).toBe(current);
  if (found === current) met.before += 1;
  else {
    met.after += 1;
    await bringBack(stderr, context);
  }
}

/** The next restore has nothing to mend by hand before it, and leaves nothing of the dead one. */
async function expectNextRestore(told: string): Promise<void> {
  const next = await scene.run('restore_backup', restore);
  expect(next.status, `the restore after ${told}: ${next.stderr}`).toBe(0);
  expect(await fingerprint(scene.cluster), told).toBe(backedUp);
  expect(await databases(), `${told}: ${next.stderr}`).toEqual(['shop']);
}

/** One round: a restore, a blow, the look around, the next restore. */
async function round(what: string, blow: (victim: Victim) => Promise<string>): Promise<void> {
  const victim = scene.start('restore_backup', restore);
  const moment = await blow(victim);
  const told = `${what} at ${moment} (HOLDFAST_FAULT_SEED=${chance.seed})`;
  // The machine is faster than it was when the time was taken.
  if ((await victim.outcome).status === 0) durationMs *= 0.85;
  await expectSafe(victim, told);
  await expectNextRestore(told);
  await workOn();
}

const rounds = (count: number) => Array.from({ length: count }, (_, number) => number + 1);

/** Waits for a part of a whole restore's time. */
async function waitPart(low: number, high: number): Promise<string> {
  const ms = durationMs * chance.between(low, high);
  await sleep(ms);
  return `${Math.round(ms)} of ${Math.round(durationMs)} ms`;
}

/** Waits until it has said something, and a moment more. */
async function waitWords(victim: Victim, words: string, msMax: number): Promise<string> {
  await until(
    words,
    () => (victim.ended() || victim.stderr().includes(words) ? true : null),
    timeoutMs,
  );
  const ms = chance.between(0, msMax);
  await sleep(ms);
  return `${Math.round(ms)} ms after ${JSON.stringify(words)}`;
}

const moments: readonly (readonly [string, (victim: Victim) => Promise<string>])[] = [
  ['at any moment', () => waitPart(0.2, 1)],
  ['around the drop', (victim) => waitWords(victim, 'dropping "shop"', 120)],
  ['after the drop', (victim) => waitWords(victim, 'dropping "shop"', durationMs * 0.4)],
  ['around the rename', (victim) => waitWords(victim, 'compared:', 160)],
];

describe('kill -9 of the script', () => {
  it.each(rounds(2).flatMap(() => moments))(
    '%s',
    (_when, wait) =>
      round('kill -9 of the script', async (victim) => {
        const moment = await wait(victim);
        send(victim.pid, 'SIGKILL');
        return moment;
      }),
    timeoutMs,
  );
});

describe('kill -9 of a program', () => {
  it.each(['pg_dump', 'pg_restore', 'pg_restore'])(
    '%s',
    (program) =>
      round(`kill -9 of ${program}`, async (victim) => {
        const child = await victim.child(program);
        const ms = chance.between(0, durationMs * 0.1);
        await sleep(ms);
        send(child?.pid, 'SIGKILL');
        return `${Math.round(ms)} ms after its start`;
      }),
    timeoutMs,
  );
});

describe('kill -9 of the server', () => {
  it.each(moments)(
    'of one of its backends %s',
    (_when, wait) =>
      round('kill -9 of a backend', async (victim) => {
        const moment = await wait(victim);
        const sessions = await scene.cluster.sql(
          'SELECT pid, application_name AS name FROM pg_stat_activity ' +
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
        const session = sessions[Math.floor(chance.between(0, sessions.length))];
        send(session?.pid as number | undefined, 'SIGKILL');
        return `${moment}, ${session?.name}`;
      }),
    timeoutMs,
  );

  it.each(moments)(
    'of the postmaster %s',
    (_when, wait) =>
      round('kill -9 of the postmaster', async (victim) => {
        const moment = await wait(victim);
        await scene.cluster.kill9();
        return moment;
      }),
    timeoutMs,
  );
});

/** Interrupts a restore while that program runs; again where the machine was slow to do it. */
async function interrupt(program: string, signal: NodeJS.Signals, isLate: RegExp): Promise<string> {
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    const victim = scene.start('restore_backup', restore);
    const child = await victim.child(program);
    for (const pid of [victim.pid, child?.pid]) send(pid, 'SIGSTOP');
    send(victim.pid, signal);
    for (const pid of [child?.pid, victim.pid]) send(pid, 'SIGCONT');
    const { status, stderr } = await victim.outcome;
    if (status === 130 && !isLate.test(stderr)) return stderr;
    await expectSafe(victim, `${signal} that came late`);
    if ((await fingerprint(scene.cluster)) === backedUp) await workOn();
  }
  throw new Error(`${signal} never met ${program}`);
}

describe('an interruption in order', () => {
  it(
    'before the drop leaves the old database alone',
    async () => {
      const stderr = await interrupt('pg_dump', 'SIGINT', /dropping "shop"/);
      expect(stderr).toContain('"shop" is untouched');
      expect(await databases()).toEqual(['shop']);
      expect(await fingerprint(scene.cluster)).toBe(current);
    },
    timeoutMs,
  );

  it(
    'after the drop says how to get the old database back',
    async () => {
      const stderr = await interrupt('pg_restore', 'SIGTERM', /compared:/);
      expect(stderr).toMatch(/warning: "shop" was dropped.*safety backup \S+-manual-\S+ brings it/);
      expect(await databases()).toEqual([]);
      await bringBack(stderr, 'SIGTERM after the drop');
    },
    timeoutMs,
  );
});

describe('after all this', () => {
  it('blows have met restores before the drop, and between the drop and the rename', () => {
    const told = `${JSON.stringify(met)} (HOLDFAST_FAULT_SEED=${chance.seed})`;
    expect(met.before, told).toBeGreaterThan(0);
    expect(met.between, told).toBeGreaterThan(2);
  });
});
