import { readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunOptions, runCommand } from '../../support/command.ts';
import {
  type IncrementalScene,
  nameOf,
  openIncrementalScene,
} from '../../support/incremental_scene.ts';
import { openRetentionScene, type RetentionScene } from '../../support/retention_scene.ts';

let scene: RetentionScene;
beforeEach(async () => {
  scene = await openRetentionScene();
});
afterEach(() => scene.close());

function run(argv: readonly string[], options: RunOptions = {}) {
  const environment = { BACKUP_DIR: scene.repository.root, ...options.environment };
  return runCommand('prune_backups', argv, { ...options, environment });
}

async function labels(database = 'shop'): Promise<string[]> {
  return (await readdir(join(scene.repository.root, 'full/main', database))).sort();
}

const labelsOf = (folders: readonly string[]) => folders.map((folder) => basename(folder));

describe('prune_backups.ts', () => {
  it('--dry-run says of every backup what becomes of it and why, and changes nothing', async () => {
    const folders = await scene.nightly(8);
    await scene.backUp(2, { database: 'odd\x9bname', tier: 'weekly' });
    await writeFile(join(scene.repository.root, 'notes.txt'), 'mine');
    const { status, stdout, stderr } = await run(['--dry-run']);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^label +database +age +stored +plan +reason$/);
    const first = labelsOf(folders)[0];
    const ours = lines.filter((line) => line.startsWith(`${first} `));
    expect(ours).toEqual([
      expect.stringMatching(/ shop +8 days +\S+ \S+ +remove +7 days old, and 7 younger good daily/),
    ]);
    expect(stdout).toContain('"odd\\u009bname"');
    expect(stdout).toContain('keep    the youngest good backup of the database');
    expect(lines.at(-2)).toBe('not of Holdfast, and not touched: notes.txt');
    expect(lines.at(-1)).toMatch(/^1 of 9 backups to remove, \d/);
    expect(await labels()).toHaveLength(8);
  });

  it('--json has the whole plan, and what was removed', async () => {
    const [oldest = ''] = await scene.nightly(8);
    const planned = JSON.parse((await run(['--dry-run', '--json'])).stdout);
    expect(planned).toMatchObject({
      dry_run: true,
      policy: { daily: { days: 7, count: 7 }, manual: { days: 30, count: 1 } },
      databases: [{ cluster: 'main', database: 'shop', guards: [] }],
      litter: [],
      foreign: [],
    });
    expect(planned.databases[0].backups[0]).toMatchObject({
      label: basename(oldest),
      tier: 'daily',
      health: 'good',
      action: 'remove',
      reason: '7 days old, and 7 younger good daily ones stay',
    });
    const done = JSON.parse((await run(['--yes', '--json'])).stdout);
    expect(done).toMatchObject({ exit_status: 0, removed: [{ label: basename(oldest) }] });
    expect(done.freed_bytes).toBe(planned.bytes_to_free);
    const again = await run(['--yes', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ removed: [], freed_bytes: 0 });
    expect(again.stderr).toContain('nothing to remove');
  });

  it('asks on a terminal, and without one wants --yes', async () => {
    await scene.nightly(8);
    const silent = await run([]);
    expect(silent.status).toBe(2);
    expect(silent.stderr).toContain('--yes');
    expect(silent.stderr).toMatch(/ remove +7 days old/);
    const refused = await run([], { typed: 'no' });
    expect(refused.status).toBe(2);
    expect(await labels()).toHaveLength(8);
    const typed = await run([], { typed: 'yes' });
    expect(typed.stderr).toMatch(/Remove 1 backup \(.+\) for good\? Type yes/);
    expect(typed.stderr).toMatch(/1 backup removed, .* freed/);
    expect(typed.status).toBe(0);
    expect(await labels()).toHaveLength(7);
    expect((await run([])).status).toBe(0);
  });

  it('holds a database back that a guard stops, does the others, and says what to type', async () => {
    await scene.nightly(40);
    await scene.nightly(8, { database: 'few' });
    const stopped = await run(['--yes', '--json']);
    expect(stopped.status).toBe(3);
    expect(stopped.stderr).toContain('33 of 40 backups would go: more than half');
    const held = await run(['--yes', 'shop']);
    expect(held.stderr).toContain('nothing is removed');
    expect(held.stderr).not.toContain('nothing to remove');
    expect(stopped.stderr).toContain("scripts/prune_backups.ts 'shop' --cluster 'main' --dry-run");
    expect(JSON.parse(stopped.stdout)).toMatchObject({
      exit_status: 3,
      error: { code: 'RETENTION_GUARD', database: 'shop' },
      removed: [{ database: 'few' }],
    });
    expect(await labels()).toHaveLength(40);
    expect((await run(['--yes', '--force', 'few'])).status).toBe(0);
    expect(await labels()).toHaveLength(40);
    const forced = await run(['--yes', '--force', 'shop', '--cluster', 'main']);
    expect(forced.status, forced.stderr).toBe(0);
    expect(await labels()).toHaveLength(7);
  });

  it('takes the settings under both of their names, and refuses a 0', async () => {
    await scene.nightly(12);
    const planned = async (environment: Record<string, string>) =>
      JSON.parse((await run(['--dry-run', '--json'], { environment })).stdout).policy;
    expect(await planned({ BACKUP_RETENTION_DAYS: '10' })).toMatchObject({ daily: { count: 10 } });
    expect(await planned({ BACKUP_RETENTION_DAILY: '9' })).toMatchObject({ daily: { days: 9 } });
    expect(await planned({ RETENTION_DAYS: '90' })).toEqual({
      daily: { days: 90, count: 7 },
      weekly: { days: 90, count: 4 },
      monthly: { days: 372, count: 12 },
      manual: { days: 90, count: 1 },
    });
    const zero = await run(['--dry-run'], { environment: { BACKUP_RETENTION_DAYS: '0' } });
    expect(zero.status).toBe(2);
    expect(zero.stderr).toContain('BACKUP_RETENTION_DAYS');
  });

  it('says which databases there are when one is named that has no backups', async () => {
    await scene.nightly(1);
    const wrong = await run(['shob', '--yes']);
    expect(wrong.status).toBe(5);
    expect(wrong.stderr).toContain('"shop"');
    expect((await run(['shop', 'other'])).status).toBe(2);
    expect((await run(['--dry-run', '--cluster', 'none'])).stdout).toContain('no backups');
  });
});

describe('prune_backups.ts, of base backups and WAL', () => {
  let bases: IncrementalScene;
  beforeEach(async () => {
    bases = await openIncrementalScene(new Date());
    await bases.wal(1, 60, 60, 1);
    for (const age of [50, 9, 2]) await bases.base(age, { segment: 61 - age });
  });
  afterEach(() => bases.close());

  const prune = (argv: readonly string[], options: RunOptions = {}) => {
    const environment = {
      BACKUP_DIR: bases.repository.root,
      BACKUP_RETENTION_WEEKS: '1',
      BACKUP_RETENTION_MONTHS: '1',
    };
    return runCommand('prune_backups', argv, { ...options, environment });
  };

  it('--dry-run names every base backup and every range of WAL, with the reason', async () => {
    const { status, stdout, stderr } = await prune(['--dry-run']);
    expect([status, stderr]).toEqual([0, '']);
    const [old, anchor] = await bases.labels();
    expect(stdout).toMatch(/^base backup +cluster +age +stored +plan +reason$/m);
    expect(stdout).toMatch(new RegExp(`^${old} +.* remove +50 days old, and neither`, 'm'));
    expect(stdout).toMatch(/ keep +the recovery window of timeline 1 begins behind it$/m);
    expect(stdout).toMatch(/^WAL from +to +cluster +files +plan +reason$/m);
    const range = (first: number, last: number) => `^${nameOf(first)} +${nameOf(last)} +`;
    expect(stdout).toMatch(new RegExp(`${range(1, 51)}.* 51 +remove +nothing that stays`, 'm'));
    const read = `recoveries from ${anchor} read it`;
    expect(stdout).toMatch(new RegExp(`${range(52, 60)}.* 9 +keep +${read}`, 'm'));
    const sum = /^1 of 3 base backups and 51 files of the WAL of .* to remove, \d/m;
    expect(stdout).toMatch(sum);
    expect(await bases.segments()).toHaveLength(60);
  });

  it('asks about them, removes them, and says the same as JSON', async () => {
    const silent = await prune([]);
    expect(silent.status).toBe(2);
    const asked = await prune([], { typed: 'no' });
    expect(asked.stderr).toMatch(/Remove 1 base backup and 51 files of WAL \(.+\) for good\?/);
    expect(await bases.segments()).toHaveLength(60);
    const done = await prune(['--yes', '--json']);
    expect(done.status, done.stderr).toBe(0);
    const result = JSON.parse(done.stdout);
    expect(result).toMatchObject({
      clusters: [
        {
          guards: [],
          base_backups: [{ action: 'remove' }, { action: 'keep' }, { action: 'keep' }],
          wal: [
            { timeline: 1, first: nameOf(1), last: nameOf(51), files: 51, action: 'remove' },
            { first: nameOf(52), last: nameOf(60), files: 9, action: 'keep' },
          ],
        },
      ],
      pruned_clusters: [{ wal_files: 51, skipped: [] }],
    });
    expect(result.pruned_clusters[0].freed_bytes).toBe(result.clusters[0].bytes_to_free);
    expect(await bases.segments()).toHaveLength(9);
    expect((await prune([])).stderr).toContain('nothing to remove');
  });

  it('are not meant by the name of a database, nor by that of another cluster', async () => {
    const named = await prune(['--dry-run', '--json', '--cluster', 'other']);
    expect(JSON.parse(named.stdout)).toMatchObject({ clusters: [] });
    expect((await prune(['--yes', 'shop'])).status).toBe(5);
    expect(await bases.segments()).toHaveLength(60);
  });

  it('are held back by a guard: status 3, and what to type', async () => {
    await bases.base(-300, { segment: 60 });
    const held = await prune(['--yes', '--json']);
    expect(held.status).toBe(3);
    expect(held.stderr).toMatch(/retention of the base backups and the WAL of .* is held back/);
    expect(held.stderr).toContain('--cluster');
    expect(JSON.parse(held.stdout)).toMatchObject({ error: { code: 'RETENTION_GUARD' } });
    expect(await bases.segments()).toHaveLength(60);
    expect((await prune(['--yes', '--force'])).status).toBe(0);
    expect(await bases.segments()).toHaveLength(9);
  });

  it('are told with what keeps each by list_backups.ts', async () => {
    const environment = { BACKUP_DIR: bases.repository.root };
    const { stdout } = await runCommand('list_backups', [], { environment });
    expect(stdout).toMatch(/ retention$/m);
    expect(stdout).toMatch(/ the recovery window of timeline 1 begins behind it$/m);
    const document = JSON.parse(
      (await runCommand('list_backups', ['--json'], { environment })).stdout,
    );
    expect(document.base_backups.at(-1).retention).toEqual({
      action: 'keep',
      reason: 'the youngest good base backup of the cluster',
    });
  });
});
