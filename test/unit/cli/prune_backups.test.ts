import { readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunOptions, runCommand } from '../../support/command.ts';
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
