/**
 * Whatever is killed at whatever moment of a backup: the catalog shows whole backups only, the
 * database is as it was, no child lives on, and the next run succeeds and clears up.
 */

import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Blows,
  createChance,
  fillShop,
  fingerprint,
  killBackend,
  type Listing,
  openScene,
  rounds,
  type Scene,
  send,
  startBlows,
  until,
  type Victim,
} from '../support/fault.ts';

const chance = createChance();
let scene: Scene;
let whole: string;
let listing: Listing;
/** The folder of the database in the repository. */
let backups: string;
let blows: Blows;

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 120_000);
  whole = await fingerprint(scene.cluster);
  const command = 'backup_full';
  const expectNext = expectNextRun;
  blows = await startBlows({ scene, chance, command, argv: ['shop'], expectWhole, expectNext });
  listing = await scene.list();
  const [backup] = listing.backups;
  backups = dirname(join(scene.repository, backup?.folder ?? ''));
});
afterAll(async () => {
  await scene.close();
});

/** Files of the backup that is being written, without waiting for anything. */
function unfinishedFiles(): string[] {
  return readdirSync(backups)
    .filter((name) => name.endsWith('.partial'))
    .flatMap((name) => {
      try {
        return readdirSync(join(backups, name));
      } catch {
        return ['renamed'];
      }
    });
}

/** What must hold after a run, however it ended. @returns how many backups it has added */
async function expectWhole(victim: Victim, told: string): Promise<number> {
  const { status, stderr } = await victim.outcome;
  await scene.serverUp();
  await victim.expectGone();
  const before = new Set(listing.backups.map(({ label }) => label));
  listing = await scene.list();
  const added = listing.backups.filter(({ label }) => !before.has(label));
  const context = `${told}, status ${status}: ${stderr}`;
  expect(added.length, context).toBeLessThanOrEqual(1);
  if (status >= 0) expect(added.length, context).toBe(status === 0 ? 1 : 0);
  expect(
    listing.backups.filter(({ state, problem }) => state !== 'complete' || problem !== null),
    context,
  ).toEqual([]);
  expect(listing.unfinished.length, context).toBeLessThanOrEqual(1);
  for (const { label } of added) {
    const verified = await scene.run('verify_backups', [label]);
    expect(verified.status, `${context}\n${verified.stderr}`).toBe(0);
  }
  expect(await fingerprint(scene.cluster), context).toBe(whole);
  return added.length;
}

/** The records of runs. One that was killed while it was written goes after a day. */
function runRecords(): string[] {
  const names = readdirSync(join(scene.repository, 'state', 'runs'));
  return names.filter((name) => name.endsWith('.json'));
}

/** The next run has nothing to mend by hand before it. */
async function expectNextRun(told: string): Promise<void> {
  const next = await scene.run('backup_full', ['shop']);
  expect(next.status, `the run after ${told}: ${next.stderr}`).toBe(0);
  listing = await scene.list();
  expect(listing.unfinished, told).toEqual([]);
  expect(
    readdirSync(backups).filter((name) => name.endsWith('.partial')),
    told,
  ).toEqual([]);
  expect(runRecords(), told).toEqual([]);
}

const round: Blows['round'] = (...args) => blows.round(...args);
const waitPart: Blows['waitPart'] = (...args) => blows.waitPart(...args);

describe('kill -9 of the script', () => {
  it.each(rounds(8))('at any moment, round %i', () =>
    round('kill -9 of the script', async (victim) => {
      const moment = await waitPart(0.15, 1);
      send(victim.pid, 'SIGKILL');
      return moment;
    }),
  );

  it.each(rounds(5))('around the commit, round %i', () =>
    round('kill -9 of the script', async (victim) => {
      await until('SHA256SUMS', () => {
        return victim.ended() || unfinishedFiles().includes('SHA256SUMS') ? true : null;
      });
      const ms = chance.between(0, 12);
      const deadlineMs = performance.now() + ms;
      while (performance.now() < deadlineMs);
      const files = unfinishedFiles();
      send(victim.pid, 'SIGKILL');
      return `${ms.toFixed(1)} ms after SHA256SUMS, with ${files.join(', ')}`;
    }),
  );
});

describe('kill -9 of a program', () => {
  it.each([
    'pg_dump',
    'zstd',
    'pg_dump',
    'zstd',
    'pg_dump',
    'zstd',
    'pg_dump',
    'zstd',
    'pg_dumpall',
  ])('of %s', (program) =>
    round(`kill -9 of ${program}`, async (victim) => {
      const child = await victim.child(program);
      const ms = chance.between(0, program === 'pg_dumpall' ? 5 : blows.durationMs() * 0.35);
      await sleep(ms);
      const hit = send(child?.pid, 'SIGKILL');
      const { status, stderr } = await victim.outcome;
      if (hit && program !== 'pg_dumpall') {
        expect([0, 3], `status ${status}: ${stderr}`).toContain(status);
      }
      return `${Math.round(ms)} ms after its start`;
    }),
  );
});

describe('kill -9 of the server', () => {
  it.each(rounds(5))('of one of its backends, round %i', () =>
    round('kill -9 of a backend', async () => {
      const moment = await waitPart(0.25, 0.95);
      return `${moment}, ${await killBackend(scene, chance, "datname = 'shop'")}`;
    }),
  );

  it.each(rounds(3))('of the postmaster, round %i', () =>
    round('kill -9 of the postmaster', async () => {
      const moment = await waitPart(0.25, 0.95);
      await scene.cluster.kill9();
      return moment;
    }),
  );
});

describe('an interruption in order', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGINT'] as const)(
    'by %s ends with 130, leaves nothing, and says so',
    async (signal) => {
      const victim = scene.start('backup_full', ['shop']);
      await victim.child('pg_dump');
      // Stopped meanwhile, so that on a busy machine too the signal comes in the middle.
      send(victim.pid, 'SIGSTOP');
      await sleep(chance.between(0, 60));
      send(victim.pid, signal);
      send(victim.pid, 'SIGCONT');
      const { status, stderr } = await victim.outcome;
      const told = `${signal} (HOLDFAST_FAULT_SEED=${chance.seed}): ${stderr}`;
      expect(status, told).toBe(130);
      expect(stderr).toContain(`interrupted by ${signal}`);
      expect(await expectWhole(victim, told)).toBe(0);
      expect(listing.unfinished, told).toEqual([]);
      expect(unfinishedFiles(), told).toEqual([]);
      expect(runRecords(), told).toEqual([]);
    },
  );
});

describe('the lock', () => {
  /** Keeps pg_dump waiting: a backup that has begun does not end meanwhile. */
  async function holdTable() {
    const session = await scene.cluster.connect('shop');
    await session.query('BEGIN');
    await session.query('LOCK TABLE orders IN ACCESS EXCLUSIVE MODE');
    return { release: () => session.end() };
  }

  it('lets one of two backups of a database win; the other ends with 6 and says who has it', async () => {
    const table = await holdTable();
    const both = [1, 2].map(() => scene.start('backup_full', ['shop', '--json']));
    const first = await Promise.race(both.map((victim) => victim.outcome));
    expect(first.status, first.stderr).toBe(6);
    expect(JSON.parse(first.stdout).databases[0].error.code).toBe('LOCKED');
    expect(first.stderr).toMatch(/backup|full/);
    const winner = both.find((victim) => !victim.ended());
    expect(first.stderr).toContain(String(winner?.pid));
    await table.release();
    const statuses = await Promise.all(both.map(async (victim) => (await victim.outcome).status));
    expect(statuses.sort()).toEqual([0, 6]);
    expect((await scene.list()).backups.length).toBe(listing.backups.length + 1);
    listing = await scene.list();
  });

  it('is missed before the commit when its session was ended: status 6, no backup', async () => {
    const table = await holdTable();
    const victim = scene.start('backup_full', ['shop', '--json']);
    await victim.child('pg_dump');
    const [row] = await scene.cluster.sql(
      "SELECT pg_terminate_backend(pid) AS ended FROM pg_locks WHERE locktype = 'advisory'",
    );
    expect(row).toEqual({ ended: true });
    const { status, stdout, stderr } = await victim.outcome;
    await table.release();
    expect(status, stderr).toBe(6);
    expect(JSON.parse(stdout).databases[0].error.code).toBe('LOCK_LOST');
    expect(await expectWhole(victim, 'the lock was lost')).toBe(0);
    expect(unfinishedFiles()).toEqual([]);
  });
});

describe('after all this', () => {
  it('every backup verifies, and most blows have met a run that was under way', async () => {
    const verified = await scene.run('verify_backups', ['--all']);
    expect(verified.status, verified.stderr).toBe(0);
    expect(listing.backups.length).toBeGreaterThan(30);
    expect(blows.missed(), `HOLDFAST_FAULT_SEED=${chance.seed}`).toBeLessThan(15);
  });
});
