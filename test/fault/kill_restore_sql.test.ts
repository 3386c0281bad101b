/** Whatever is killed while SQL is restored, the live database is whole, and the next restore works. */

import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fillShop, fingerprint, openScene, type Scene, send, until } from '../support/fault.ts';
import { programOutput } from '../support/workbench.ts';

let scene: Scene;
let path: string;
let live: string;

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 120_000);
  path = join(scene.folder, 'shop.sql');
  await writeFile(path, await programOutput(scene.cluster, 'pg_dump', ['shop']));
  await scene.cluster.sql("UPDATE state SET state = 'live'", 'shop');
  live = await fingerprint(scene.cluster);
});
afterAll(() => scene?.close());

/** Starts a restore, and waits until psql has its session in the new database. */
async function startFilling(file: string) {
  const victim = scene.start('restore_backup', [file, 'shop', '--force']);
  await until('the session of psql', async () => {
    if (victim.ended()) return true;
    const rows = await scene.cluster.sql(
      "SELECT 1 FROM pg_stat_activity WHERE application_name = 'holdfast' " +
        "AND datname LIKE 'shop\\_\\_restoring%'",
    );
    return rows.length > 0 ? true : null;
  });
  return victim;
}

const argv = () => [path, 'shop', '--force'];

async function databases(): Promise<string[]> {
  const rows = await scene.cluster.sql(
    "SELECT datname AS name FROM pg_database WHERE datname LIKE 'shop%' ORDER BY oid",
  );
  return rows.map(({ name }) => String(name));
}

describe('killed in the middle', () => {
  it.each(['SIGKILL', 'SIGTERM'] as const)(
    'psql, with %s: status 3, nothing is left',
    async (signal) => {
      const victim = await startFilling(path);
      const psql = await victim.child('psql');
      send(psql?.pid, 'SIGSTOP');
      send(psql?.pid, signal);
      send(psql?.pid, 'SIGCONT');
      const { status, stderr } = await victim.outcome;
      const told = `${signal}: ${stderr}`;
      expect(status, told).toBe(3);
      expect(stderr).toMatch(new RegExp(`psql of database .* was ended by ${signal}`));
      expect(stderr).toContain('"shop" is untouched');
      expect(await databases(), told).toEqual(['shop']);
      expect(await fingerprint(scene.cluster), told).toBe(live);
    },
  );

  it('its session on the server: status 8, nothing is left', async () => {
    const victim = await startFilling(path);
    await scene.cluster.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast' " +
        "AND datname LIKE 'shop\\_\\_restoring%'",
    );
    const { status, stderr } = await victim.outcome;
    expect(status, stderr).toBe(8);
    expect(await databases(), stderr).toEqual(['shop']);
    expect(await fingerprint(scene.cluster), stderr).toBe(live);
  });

  it('the script: the next restore drops what it has left', async () => {
    const victim = await startFilling(path);
    send(victim.pid, 'SIGKILL');
    await victim.expectGone();
    expect(await fingerprint(scene.cluster)).toBe(live);
    const next = await scene.run('restore_backup', [...argv(), '--target-database', 'shop_copy']);
    expect(next.status, next.stderr).toBe(0);
    const again = await scene.run('restore_backup', argv());
    expect(again.status, again.stderr).toBe(0);
    const left = (await databases()).filter((name) => name.includes('__restoring_'));
    expect(left, again.stderr).toEqual([]);
  });

  it('a file that is written to meanwhile: status 4, nothing is swapped', async () => {
    live = await fingerprint(scene.cluster);
    const before = await databases();
    // Its first statement waits for a database, so that the rest of the file waits to be read.
    const go = 'PERFORM FROM pg_database WHERE datname = $go$go$go$; EXIT WHEN FOUND';
    const wait = `DO $$ BEGIN LOOP ${go}; PERFORM pg_sleep(0.02); END LOOP; END $$;\n`;
    const waiting = join(scene.folder, 'waiting.sql');
    await writeFile(waiting, Buffer.concat([Buffer.from(wait), await readFile(path)]));
    const victim = await startFilling(waiting);
    await appendFile(waiting, '-- one more line\n');
    await scene.cluster.sql('CREATE DATABASE go');
    const { status, stderr } = await victim.outcome;
    expect(status, stderr).toBe(4);
    expect(stderr).toContain('was changed while it was restored');
    expect(await databases()).toEqual(before);
    expect(await fingerprint(scene.cluster)).toBe(live);
  });
});
