/** kill -9 while WAL is carried into another store, and while a recovery brings it from there. */

import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import { asServerUser, makeServerFolder } from '../support/base_backup.ts';
import { type CommandName, spawnCommand } from '../support/command.ts';
import { digestsBelow, writeStores } from '../support/copies_scene.ts';
import { send, until } from '../support/fault.ts';
import { jsonOf } from '../support/workbench.ts';

const port = 5478;
const segments = 12;
let bench: ArchivingBench;
let folder: string;
let config: string;

const near = () => join(folder, 'near/incremental/main%20cluster/wal');
const run = (name: CommandName, ...argv: string[]) =>
  bench.run(name, [...argv, '--config', config, '--json']);

/** The store beside BACKUP_DIR, at this rate. */
const setRate = (rate?: number) =>
  writeStores(config, {
    near: {
      path: join(folder, 'near'),
      ...(rate === undefined ? {} : { max_rate_mb: rate }),
    },
  });

/** Names of whole segments in a folder of WAL, wherever it lies. */
function segmentsIn(place: string): string[] {
  if (!existsSync(place)) return [];
  const names = readdirSync(place, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => /(^|\/)[0-9A-F]{24}\.zst$/.test(name));
}

/** What lies in an archive; what was only begun goes with a prune, a day later. */
function whole(place: string): Readonly<Record<string, string>> {
  const all = Object.entries(digestsBelow(place));
  return Object.fromEntries(all.filter(([name]) => !name.endsWith('.partial')));
}

/** Starts a command, and kills it when something has come to pass. */
async function killWhen(what: string, has: () => boolean, name: CommandName, ...argv: string[]) {
  const { environment } = bench;
  const child = spawnCommand(name, [...argv, '--config', config], { environment });
  let isOver = false;
  child.exited.finally(() => {
    isOver = true;
  });
  await until(what, () => isOver || has() || null, 120_000);
  expect(isOver, child.stderrTail()).toBe(false);
  send(child.pid, 'SIGKILL');
  await child.exited;
}

async function move(base: 'now' | 'none') {
  const outcome = await run('backup_incremental', '--base', base, '--no-retention');
  expect(outcome.status, outcome.stderr).toBe(0);
}

beforeAll(async () => {
  const settings = { archive_mode: 'on', wal_level: 'replica' };
  bench = await openArchivingBench(settings, { walSegmentMb: 1 });
  folder = await makeServerFolder(bench.cluster);
  config = join(folder, 'holdfast.yaml');
  await setRate();
  const installed = await run('setup_archiving', 'install', '--yes');
  expect(installed.status, installed.stderr).toBe(0);
  await move('now');
  await bench.cluster.sql('CREATE TABLE noise (n int, bytes bytea)');
  for (let n = 1; n <= segments; n += 1) {
    // What cannot be compressed takes its time at a low rate.
    await bench.cluster.sql([
      `INSERT INTO noise SELECT ${n}, uuid_send(gen_random_uuid()) FROM generate_series(1, 6000)`,
      'SELECT pg_switch_wal()',
    ]);
  }
}, 300_000);

afterAll(async () => {
  await bench?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

describe('kill -9', () => {
  it('of a carry leaves nothing that is not whole, and the next one goes on', async () => {
    await setRate(0.5);
    for (let round = 1; round <= 2; round += 1) {
      const before = segmentsIn(near()).length;
      const argv = ['--base', 'none', '--no-retention'];
      const hasMoved = () => segmentsIn(near()).length >= before + 2;
      await killWhen('two segments', hasMoved, 'backup_incremental', ...argv);
      const [here, there] = [whole(bench.archive), whole(near())];
      for (const [name, digest] of Object.entries(there)) expect(here[name], name).toBe(digest);
    }
    expect(segmentsIn(near()).length).toBeLessThan(segmentsIn(bench.archive).length);
    await setRate();
    await move('none');
    expect(whole(near())).toEqual(whole(bench.archive));
    const verified = await run('verify_backups', '--wal', '--store', 'near');
    expect(verified.status, verified.stderr).toBe(0);
  });

  it('of a recovery that brings its WAL leaves no cluster, and the same again goes on', async () => {
    const pgdata = join(folder, 'restored');
    const argv = ['--pgdata', pgdata, '--store', 'near'];
    await setRate(1);
    const hasBrought = () => segmentsIn(`${pgdata}.wal`).length >= 2;
    await killWhen('some WAL', hasBrought, 'restore_pitr', ...argv);
    expect(existsSync(join(pgdata, 'global/pg_control'))).toBe(false);
    await setRate();
    const again = await run('restore_pitr', ...argv, '--start', '--port', String(port));
    expect(again.status, again.stderr).toBe(0);
    const { socket } = jsonOf<{ socket: string }>(again);
    const program = (name: string, ...args: string[]) =>
      asServerUser(bench.cluster, join(bench.cluster.binDirectory, name), args);
    const server = ['-h', socket, '-p', String(port), '-U', 'postgres', '-d', 'postgres'];
    const sql = 'SELECT count(*), max(n) FROM noise';
    const { stdout } = await program('psql', '-XqAt', ...server, '-c', sql);
    await program('pg_ctl', '-D', pgdata, '-m', 'immediate', '-w', 'stop');
    expect(stdout.trim()).toBe(`${6000 * segments}|${segments}`);
    expect(existsSync(`${pgdata}.wal`)).toBe(false);
  });
});
