/**
 * A WAL archive that somebody or something has been at. The plan, the verification and the replay
 * each say exactly what is wrong, and no server ever opens with data missing.
 */

import { copyFile, cp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import { asServerUser } from '../support/base_backup.ts';
import type { Outcome } from '../support/command.ts';
import { until } from '../support/fault.ts';
import { type Restorers, startRestorers } from '../support/restorers.ts';
import { flipped, jsonOf } from '../support/workbench.ts';

let bench: ArchivingBench;
let restorers: Restorers;
/** One behind the other, each with one transaction: of that number, from 1 on. */
const segments: string[] = [];
const xids: string[] = [];
/** The archive as it was. */
let kept: string;

const nameOf = (number: number) => segments[number - 1] ?? '';
const fileOf = (number: number) => `00000001/${nameOf(number)}.zst`;
const stored = (number: number) => join(bench.archive, fileOf(number));

beforeAll(async () => {
  const settings = { archive_mode: 'on', wal_level: 'replica', max_connections: '20' };
  bench = await openArchivingBench(settings, { walSegmentMb: 1 });
  const { cluster } = bench;
  const installed = await bench.setup(['install', '--yes']);
  expect(installed.status, installed.stderr).toBe(0);
  await cluster.sql('CREATE TABLE mark (number int)');
  await bench.moveForward('now');
  for (let number = 1; number <= 6; number += 1) {
    const client = await cluster.connect();
    const { rows } = await client.query(
      `INSERT INTO mark VALUES (${number}) RETURNING pg_current_xact_id()::text AS xid`,
    );
    await client.end();
    xids.push(rows[0].xid);
    segments.push((await bench.moveForward('none')).segment);
  }
  kept = join(bench.folder, 'kept');
  await cp(bench.archive, kept, { recursive: true, preserveTimestamps: true });
  restorers = await startRestorers(cluster, bench.repository, 2);
}, 240_000);
afterEach(async () => {
  // In place: the files keep their owner.
  for (const name of segments.map((each) => `00000001/${each}`)) {
    for (const suffix of ['.zst', '.sha256', '.index.json']) {
      await copyFile(join(kept, `${name}${suffix}`), join(bench.archive, `${name}${suffix}`));
    }
  }
});
afterAll(async () => {
  await restorers?.close();
  await bench?.close();
});

interface Finding {
  readonly file: string;
  readonly check: string;
  readonly message: string;
}

async function verify(): Promise<{ status: number; findings: [string, string][] }> {
  const outcome = await bench.run('verify_backups', ['--wal', '--json']);
  const { archives } = jsonOf<{ archives: { findings: Finding[] }[] }>(outcome);
  const findings = archives[0]?.findings ?? [];
  return { status: outcome.status, findings: findings.map(({ file, check }) => [file, check]) };
}

/** Only says what it would do. */
const plan = (...flags: string[]): Promise<Outcome> =>
  restorers.run(['--pgdata', restorers.newFolder(), '--dry-run', ...flags]);

const toMark = (number: number) => ['--target-xid', xids[number - 1] ?? ''];

/** Restores and starts, which must fail. @returns what it said; the server has never opened */
async function failedReplay(...flags: string[]): Promise<string> {
  const pgdata = restorers.newFolder();
  const start = ['--start', '--port', '5441'];
  const outcome = await restorers.run(['--pgdata', pgdata, ...flags, ...start]);
  expect([outcome.status, outcome.stderr]).toEqual([4, expect.stringContaining('error: ')]);
  const bin = (name: string) => join(bench.cluster.binDirectory, name);
  const control = await asServerUser(bench.cluster, bin('pg_controldata'), [pgdata]);
  expect(control.stdout).toMatch(/Database cluster state: +(shut down )?in (archive )?recovery/);
  expect(control.stdout).toMatch(/Latest checkpoint's TimeLineID: +1\n/);
  const runs = await asServerUser(bench.cluster, bin('pg_ctl'), ['--pgdata', pgdata, 'status']);
  expect(runs.status).not.toBe(0);
  await rm(pgdata, { recursive: true });
  return jsonOf<{ error: { message: string } }>(outcome).error.message;
}

async function recovered(...flags: string[]): Promise<unknown[]> {
  return restorers.recover(flags, async ({ rows }) => {
    return (await rows('SELECT number FROM mark ORDER BY number')).map(({ number }) => number);
  });
}

async function dropIndexes(): Promise<void> {
  const folder = join(bench.archive, '00000001');
  for (const name of await readdir(folder)) {
    if (name.endsWith('.index.json')) await rm(join(folder, name));
  }
}

async function remove(...numbers: number[]): Promise<void> {
  for (const number of numbers) await rm(stored(number));
}

/** What the plan says of a target behind the damage. */
async function expectRefused(outcome: Outcome, words: string): Promise<void> {
  expect([outcome.status, outcome.stderr]).toEqual([5, expect.stringContaining(words)]);
}

describe('missing segments', () => {
  it.each([
    ['one', [4], () => `${nameOf(4)} is missing`],
    ['two in a row', [3, 4], () => `${nameOf(3)} to ${nameOf(4)} are missing`],
  ] as const)(
    '%s: nothing behind them is promised, all before them is there',
    async (_, gone, words) => {
      await remove(...gone);
      await expectRefused(await plan(...toMark(5)), words());
      // The newest point lies behind the gap: a part of it is not what was asked for.
      const newest = await plan();
      await expectRefused(newest, words());
      const before = Number(gone[0]) - 1;
      const [, last] = /the last transaction, (\d+), at /.exec(newest.stderr) ?? [];
      expect(await recovered('--target-xid', String(last))).toEqual([1, 2, 3].slice(0, before));
      expect(await recovered(...toMark(before))).toEqual([1, 2, 3].slice(0, before));
      const { status, findings } = await verify();
      expect([status, findings]).toEqual([4, [[fileOf(Number(gone[0])), 'missing']]]);
    },
  );

  it('that go between the plan and the replay end it, with the name of the segment', async () => {
    const outcome = await restorers.run(['--pgdata', restorers.newFolder()]);
    expect(outcome.status, outcome.stderr).toBe(0);
    const { plan: planned } = jsonOf<{ plan: { pgdata: string; last_segment: string } }>(outcome);
    expect(planned.last_segment).toBe(nameOf(6));
    await remove(3, 4, 5);
    const pgCtl = join(bench.cluster.binDirectory, 'pg_ctl');
    const log = `${planned.pgdata}.log`;
    const options = `-c unix_socket_directories='' -c listen_addresses=localhost -c port=5449`;
    await asServerUser(bench.cluster, pgCtl, [
      ...['--pgdata', planned.pgdata, '--log', log, '--options', options, '--wait', 'start'],
    ]);
    // It may have let queries in before it got so far.
    const said = await until('the end of the server', async () => {
      const text = await readFile(log, 'utf8');
      return / FATAL: .*restore/.test(text) ? text : null;
    });
    expect(said).toContain(`${nameOf(3)} is missing in the archive, and ${nameOf(6)} is there`);
    expect(said).not.toContain('selected new timeline ID');
    await rm(planned.pgdata, { recursive: true });
  });
});

describe('damaged segments', () => {
  const damages = [
    ['flipped', async () => writeFile(stored(4), flipped(await readFile(stored(4)))), 'bytes'],
    ['cut', () => truncate(stored(4), 3000), 'bytes'],
    ['empty', () => truncate(stored(4), 0), 'bytes'],
    ['of another number', () => copyFile(stored(5), stored(4)), 'digest'],
  ] as const;

  it.each(damages)('%s: the verification and the plan tell', async (_, damage, check) => {
    await damage();
    expect(await verify()).toEqual({ status: 4, findings: [[fileOf(4), check]] });
    await dropIndexes();
    await expectRefused(await plan(...toMark(5)), nameOf(4));
    expect((await plan(...toMark(3))).status).toBe(0);
  });

  it('that were known before: the replay tells, and all before them is there', async () => {
    await truncate(stored(4), 3000);
    expect((await plan(...toMark(5))).status).toBe(0);
    expect(await failedReplay(...toMark(5))).toContain(nameOf(4));
    expect(await recovered(...toMark(3))).toEqual([1, 2, 3]);
  });

  it('at the end of the WAL: the newest point is no earlier one without a word', async () => {
    await writeFile(stored(6), flipped(await readFile(stored(6))));
    expect(await failedReplay()).toContain(nameOf(6));
    expect(await recovered(...toMark(5))).toEqual([1, 2, 3, 4, 5]);
  });

  it('with another content whose digest is its own: its header tells', async () => {
    await copyFile(stored(5), stored(4));
    const digest = join(bench.archive, `00000001/${nameOf(4)}.sha256`);
    const other = await readFile(join(bench.archive, `00000001/${nameOf(5)}.sha256`), 'utf8');
    await writeFile(digest, other.replace(nameOf(5), nameOf(4)));
    expect(await verify()).toEqual({ status: 4, findings: [[fileOf(4), 'header']] });
    expect(await failedReplay(...toMark(5))).toContain(nameOf(4));
  });
});

describe('a segment that is pushed again', () => {
  /** Calls the hook as the archiver does. */
  async function push(bytes: Buffer, name: string): Promise<Outcome> {
    const path = join(bench.folder, 'again');
    await writeFile(path, bytes, { mode: 0o644 });
    const hook = join(bench.repository, 'hooks/main%20cluster/wal_push');
    const call = ['-c', 'cd "$1" && exec "$2" "$3" "$4"', 'sh'];
    const args = [bench.cluster.dataDirectory, hook, path, name];
    return asServerUser(bench.cluster, 'sh', [...call, ...args]);
  }

  it('is a success with the same content, and refused with another: nothing changes', async () => {
    const before = await readFile(stored(4));
    const plain = zstdDecompressSync(before);
    expect(await push(plain, nameOf(4))).toMatchObject({ status: 0 });
    const other = await push(flipped(plain), nameOf(4));
    expect([other.status, other.stderr]).toEqual([
      1,
      expect.stringContaining('the archive holds other bytes under this name'),
    ]);
    const foreign = await push(zstdDecompressSync(await readFile(stored(5))), nameOf(4));
    expect(foreign.status).toBe(1);
    expect(await readFile(stored(4))).toEqual(before);
    expect(await verify()).toEqual({ status: 0, findings: [] });
    expect(await recovered()).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('comes again where it was lost, as long as the server has it', async () => {
    const plain = zstdDecompressSync(await readFile(stored(4)));
    await rename(stored(4), join(bench.folder, 'lost'));
    await rm(join(bench.archive, `00000001/${nameOf(4)}.sha256`));
    expect((await verify()).status).toBe(4);
    expect(await push(plain, nameOf(4))).toMatchObject({ status: 0 });
    expect(await verify()).toEqual({ status: 0, findings: [] });
    expect(await recovered(...toMark(6))).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
