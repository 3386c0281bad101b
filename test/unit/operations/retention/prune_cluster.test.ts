import { rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { baseBackupFolder } from '../../../../src/catalog/base_catalog.ts';
import { checksOf, writeCheck } from '../../../../src/catalog/checks.ts';
import { whileUsingCluster } from '../../../../src/catalog/in_use.ts';
import { beginRun } from '../../../../src/catalog/runs.ts';
import { incrementalFolder, walFolder } from '../../../../src/catalog/wal_archive.ts';
import { listWal } from '../../../../src/operations/archiving/wal_list.ts';
import { verifyWal } from '../../../../src/operations/archiving/wal_verify.ts';
import { holdBackup } from '../../../../src/operations/hold_backup.ts';
import {
  type ClusterPruneOptions,
  type ClusterPruneResult,
  pruneCluster,
} from '../../../../src/operations/retention/prune_cluster.ts';
import { planCluster } from '../../../../src/operations/retention/prune_cluster_plan.ts';
import {
  sceneCluster as cluster,
  type IncrementalScene,
  nameOf,
  openIncrementalScene,
} from '../../../support/incremental_scene.ts';
import { dayMs } from '../../../support/retention_scene.ts';

let scene: IncrementalScene;
beforeEach(async () => {
  scene = await openIncrementalScene();
});
afterEach(() => scene.close());

function pruned(more: Partial<ClusterPruneOptions> = {}, at?: Date): Promise<ClusterPruneResult> {
  return pruneCluster(scene.context(at), cluster, { force: false, agreed: null, ...more });
}

const plan = (at?: Date) => planCluster(scene.context(at), cluster);
const folderOf = (label: string) => baseBackupFolder(cluster, label);
const at = (key: string) => join(scene.repository.root, key);
const names = (first: number, last: number, timeline = 1) =>
  Array.from({ length: last - first + 1 }, (_, place) => nameOf(first + place, timeline));

/** The WAL that a prune of {@link weekly} leaves. */
const keptWeekly = [nameOf(5), nameOf(26), ...names(33, 40)];

async function reasons(): Promise<string[]> {
  const { bases } = await plan();
  return bases.map(({ action, reason }) => `${action}: ${reason}`);
}

/** `keep 5-9: why` for each range of WAL. */
async function ranges(timeline = 1): Promise<string[]> {
  const { wal } = await plan();
  const number = (name: string | undefined) => Number.parseInt(name?.slice(16, 24) ?? '', 16);
  return wal
    .filter((range) => range.timeline === timeline)
    .map((range) => {
      const from = number(range.names[0]);
      return `${range.action} ${from}-${number(range.names.at(-1))}: ${range.reason}`;
    });
}

/** A base backup a week, the youngest of yesterday, and a segment a day. */
async function weekly(): Promise<string[]> {
  await scene.wal(1, 40, 40, 1);
  const labels: string[] = [];
  for (const age of [36, 29, 22, 15, 8, 1]) {
    labels.push(await scene.base(age, { segment: 41 - age }));
  }
  return labels;
}

describe('a prune of base backups and WAL', () => {
  it('keeps the window with the base backup before it, and what the tiers need', async () => {
    const [first, second, third, fourth, fifth, sixth] = await weekly();
    expect(await reasons()).toEqual([
      'keep: monthly: kept for 62 days',
      'remove: 29 days old, and neither the window of 7 days nor a tier needs it',
      'remove: 22 days old, and neither the window of 7 days nor a tier needs it',
      'keep: weekly: kept for 21 days',
      'keep: the recovery window of timeline 1 begins behind it',
      'keep: the youngest good base backup of the cluster',
    ]);
    expect(await ranges()).toEqual([
      'remove 1-4: nothing that stays needs it',
      `keep 5-5: makes ${first} consistent`,
      'remove 6-25: nothing that stays needs it',
      `keep 26-26: makes ${fourth} consistent`,
      'remove 27-32: nothing that stays needs it',
      `keep 33-40: recoveries from ${fifth} read it`,
    ]);
    const { removed, walFiles, freedBytes, skipped } = await pruned();
    // Youngest first: what builds upon another one goes before it.
    expect(removed.map(({ label }) => label)).toEqual([third, second]);
    expect([walFiles, skipped]).toEqual([30, []]);
    expect(freedBytes).toBeGreaterThan(2000);
    expect(await scene.labels()).toEqual([first, fourth, fifth, sixth]);
    expect(await scene.segments()).toEqual(keptWeekly);
    // Nothing lies about beside what is gone.
    expect(await scene.walFiles()).toHaveLength(keptWeekly.length * 2);
    expect(await pruned()).toMatchObject({ removed: [], walFiles: 0, litter: [], freedBytes: 0 });
  });

  it('removes nothing without a base backup that can be used', async () => {
    await scene.wal(1, 60, 60, 1);
    expect(await ranges()).toEqual(['keep 1-60: no base backup can be used']);
    const label = await scene.base(30, { segment: 30 });
    await writeCheck(
      scene.repository.storage,
      folderOf(label),
      { kind: 'damaged', at: scene.now },
      {},
    );
    expect(await pruned()).toMatchObject({ removed: [], walFiles: 0 });
    expect(await scene.segments()).toHaveLength(60);
  });

  it('goes back to the last good one where younger ones are damaged or lack a file', async () => {
    const [, , , fourth = '', fifth = '', sixth = ''] = await weekly();
    const { storage } = scene.repository;
    await writeCheck(storage, folderOf(fifth), { kind: 'damaged', at: scene.now }, {});
    await rm(at(`${folderOf(sixth)}/base.tar.zst`));
    await pruned();
    expect(await scene.labels()).toEqual(expect.arrayContaining([fourth, fifth, sixth]));
    expect((await ranges()).at(-1)).toBe(`keep 26-40: recoveries from ${fourth} read it`);
  });

  it('counts one of a cluster with damaged pages for nothing, and keeps it', async () => {
    await scene.wal(1, 40, 40, 1);
    const good = await scene.base(30, { segment: 11 });
    const odd = await scene.base(9, { segment: 32, damagedPages: ['base/5/1259: block 0'] });
    expect(await scene.labels()).toEqual([good, odd]);
    await pruned();
    expect(await scene.labels()).toEqual([good, odd]);
    expect(await scene.segments()).toEqual(names(11, 40));
  });

  it('keeps what an increment builds upon, and removes a chain from its end', async () => {
    await scene.wal(1, 40, 40, 1);
    const old = await scene.base(30, { segment: 11 });
    const oldChild = await scene.base(29, { segment: 12, parent: old });
    const whole = await scene.base(12, { segment: 29 });
    const child = await scene.base(11, { segment: 30, parent: whole });
    const last = await scene.base(9, { segment: 32, parent: child });
    expect((await reasons()).slice(0, 4)).toEqual([
      'keep: weekly: one of the last 3',
      'remove: 29 days old, and neither the window of 7 days nor a tier needs it',
      'keep: the youngest good whole base backup of the cluster',
      `keep: ${last} builds upon it`,
    ]);
    expect((await pruned()).removed.map(({ label }) => label)).toEqual([oldChild]);
    expect(await scene.labels()).toEqual([old, whole, child, last]);
    expect(await scene.segments()).toEqual([nameOf(11), ...names(29, 40)]);
  });

  it('follows a failover: of the old timeline only what leads to the switch', async () => {
    await scene.wal(1, 25, 40, 1);
    // Left within segment 22; the old server went on for a while.
    await scene.put('00000002.history', '1\t0/1608000\tno recovery target specified\n', 18);
    await scene.wal(22, 39, 18, 1, 2);
    const before = await scene.base(20, { segment: 20 });
    expect((await ranges()).slice(-1)).toEqual([`keep 20-25: recoveries from ${before} read it`]);
    expect(await ranges(2)).toEqual([`keep 22-39: recoveries from ${before} read it`]);
    const since = await scene.base(8, { segment: 31, timeline: 2 });
    expect(await ranges(2)).toEqual([
      'remove 22-30: nothing that stays needs it',
      `keep 31-39: recoveries from ${since} read it`,
    ]);
    await pruned();
    // Kept as a weekly one: its own WAL is all that it needs.
    expect(await scene.segments()).toEqual([nameOf(20)]);
    expect(await scene.segments(2)).toEqual(names(31, 39, 2));
    expect(await scene.walFiles()).toContain('00000002.history');
  });

  it('keeps and names a timeline of which nobody knows where it comes from', async () => {
    await weekly();
    await scene.wal(3, 5, 39, 0.5, 7);
    await pruned();
    expect(await ranges(7)).toEqual([
      'keep 3-5: where timeline 7 comes from is not known: its history file is missing',
    ]);
  });

  it('removes no WAL where it may be that of another server', async () => {
    await weekly();
    await scene.base(2, { segment: 39, systemIdentifier: '42' });
    const [range, ...more] = await ranges();
    expect(range).toMatch(/^keep 1-40: nobody knows which of several servers wrote it .*42/);
    expect(more).toEqual([]);
  });
});

describe('what is left between the base backups of the tiers', () => {
  it('is no gap to anyone, but what is lost is', async () => {
    await weekly();
    await rm(at(`${walFolder(cluster)}/00000001/${nameOf(10)}.zst`));
    const [before] = await listWal(scene.context(), cluster);
    expect(before?.timelines[0]?.gaps).toMatchObject([{ first_segment: nameOf(10) }]);
    await pruned();
    const [listed] = await listWal(scene.context(), cluster);
    expect(listed?.timelines[0]).toMatchObject({
      gaps: [],
      ranges: [{ segments: 1 }, { segments: 1 }, { segments: 8 }],
    });
    const options = { deep: false, onBytes: () => undefined };
    const verified = await verifyWal(scene.context(), cluster, options);
    expect(verified.findings).toEqual([]);
    await rm(at(`${walFolder(cluster)}/00000001/${nameOf(36)}.zst`));
    const [torn] = await listWal(scene.context(), cluster);
    expect(torn?.timelines[0]?.gaps).toMatchObject([{ first_segment: nameOf(36), segments: 1 }]);
    expect((await verifyWal(scene.context(), cluster, options)).findings).toMatchObject([
      { check: 'missing', message: 'is missing' },
    ]);
  });
});

describe('what is in use', () => {
  it('stays with its WAL and with what it builds upon', async () => {
    const [, second = '', third = ''] = await weekly();
    const child = await scene.base(21, { segment: 20, parent: third });
    const place = { label: child, folder: folderOf(child) };
    const result = await holdBackup(scene.repository, place, () => pruned());
    expect(result.skipped).toEqual([
      { what: child, reason: expect.stringMatching(/^in use: process \d+ on /) },
    ]);
    expect(result.removed.map(({ label }) => label)).toEqual([second]);
    expect(await scene.labels()).toEqual(expect.arrayContaining([third, child]));
    expect(await scene.segments()).toEqual([nameOf(5), ...names(19, 40)]);
    const again = await pruned();
    expect(again.removed.map(({ label }) => label)).toEqual([child, third]);
    expect(await scene.segments()).toEqual(keptWeekly);
  });

  it('keeps all of the cluster: a base backup, a recovery, a verification of the WAL', async () => {
    await weekly();
    const { stateDir } = scene.repository;
    const result = await whileUsingCluster(stateDir, cluster, () => pruned());
    expect(result).toMatchObject({ removed: [], walFiles: 0, skipped: [{ what: cluster }] });
    expect(await scene.segments()).toHaveLength(40);
    expect((await pruned()).walFiles).toBe(30);
  });

  it('two at once remove everything once', async () => {
    await weekly();
    const results = await Promise.all([pruned(), pruned(), pruned()]);
    const removed = results.flatMap((each) => each.removed.map(({ label }) => label));
    const end = await pruned();
    removed.push(...end.removed.map(({ label }) => label));
    expect(removed).toHaveLength(2);
    expect(new Set(removed).size).toBe(2);
    expect(await scene.segments()).toEqual(keptWeekly);
  });
});

describe('what nobody knows', () => {
  it('stays: a manifest that cannot be read, with all that may belong to it', async () => {
    const [first = '', second = ''] = await weekly();
    await writeFile(at(`${folderOf(second)}/manifest.json`), '{"format": 99}');
    expect((await reasons())[1]).toMatch(/^keep: nobody knows what it is: /);
    await pruned();
    expect(await scene.labels()).toEqual(expect.arrayContaining([first, second]));
    expect((await ranges())[0]).toBe(`keep 5-40: recoveries from ${first} read it`);
  });

  it('stays: a folder with a file of somebody else', async () => {
    const [, second = ''] = await weekly();
    await writeFile(at(`${folderOf(second)}/notes.txt`), 'mine');
    expect((await reasons())[1]).toBe(
      'keep: its folder holds what is not of the backup: "notes.txt"',
    );
  });

  it('is named: other files below the cluster', async () => {
    await weekly();
    await writeFile(at(`${incrementalFolder}/main%20%27x%27%20%24%28id%29%20%C3%A9/mine`), '');
    await scene.put('README', 'mine', 30);
    expect((await plan()).foreign).toEqual([
      expect.stringMatching(/\/mine$/),
      expect.stringMatching(/\/wal\/README$/),
    ]);
    await pruned();
    expect(await scene.walFiles()).toContain('README');
  });
});

describe('litter', () => {
  it('goes when nobody can be writing it any more: its run is dead, or a day over', async () => {
    const [, , , , , youngest = ''] = await weekly();
    const { storage, stateDir } = scene.repository;
    for (const age of [0.5, 2]) {
      await scene.put(`00000001/.${nameOf(90)}.${age}.data.tmp`, 'cut', age);
      await scene.put(`.self-test-${age * 10}`, 'x', age);
      await scene.put(`00000001/${nameOf(80 + age * 2)}.index.json`, '{}', age);
    }
    await storage.put(`${incrementalFolder}/x/checks/y/z`, Buffer.from(''));
    for (const label of ['20310401T020000Z-base-aaaa', youngest]) {
      const check = { kind: 'verified', at: scene.now } as const;
      await writeCheck(storage, folderOf(label), check, {});
    }
    const begun = folderOf('20310402T020000Z-base-bbbb');
    const writer = await storage.createFolder(begun);
    await writer.put('base.tar.zst', Buffer.from('cut'));
    const young = folderOf('20310403T020000Z-base-cccc');
    await storage.createFolder(young);
    for (const folder of [begun, young]) {
      const time = new Date(scene.now.getTime() - (folder === begun ? 2 : 0.1) * dayMs);
      const files = folder === begun ? ['/base.tar.zst', ''] : [''];
      for (const file of files) await utimes(at(`${folder}.partial${file}`), time, time);
    }
    const { litter } = await pruned();
    expect(litter.map(({ key }) => key.split('/').slice(2).join('/')).sort()).toEqual([
      `base/20310402T020000Z-base-bbbb`,
      expect.stringMatching(/^checks\/20310401T020000Z-base-aaaa\/.*-verified\.json$/),
      'wal/.self-test-20',
      `wal/00000001/.${nameOf(90)}.2.data.tmp`,
      `wal/00000001/${nameOf(84)}.index.json`,
    ]);
    const left = await scene.walFiles();
    expect(left).toEqual(expect.arrayContaining([`.${nameOf(90)}.0.5.data.tmp`, '.self-test-5']));
    expect(await storage.children(checksOf(folderOf(youngest)))).toHaveLength(1);
    expect((await storage.unfinishedFolders(incrementalFolder)).map((each) => each.folder)).toEqual(
      [young],
    );
    expect((await pruned()).litter).toEqual([]);
    const run = await beginRun({
      stateDir,
      runId: 'alive',
      command: 'base backup',
      cluster,
      database: null,
      folder: young,
      startedAt: scene.now,
    });
    const later = new Date(scene.now.getTime() + 3 * dayMs);
    expect((await pruned({}, later)).litter.map(({ key }) => key)).not.toContain(young);
    await run.end();
    expect((await pruned({}, later)).litter.map(({ key }) => key)).toContain(young);
  });
});

describe('a guard stops', () => {
  it('a plan that would remove more than half of the base backups', async () => {
    await scene.wal(1, 80, 40, 0.5);
    for (const age of [34, 33.9, 33.8, 33.7, 33.6]) await scene.base(age, { segment: 13 });
    await scene.base(1, { segment: 79 });
    await scene.base(8, { segment: 65 });
    expect((await plan()).guards).toEqual(['4 of 7 base backups would go: more than half']);
    expect(await pruned()).toMatchObject({ removed: [], walFiles: 0 });
    expect((await pruned({ force: true })).removed).toHaveLength(4);
  });

  it('where one is dated in the future', async () => {
    await weekly();
    await scene.base(-300, { segment: 40 });
    expect((await plan()).guards).toEqual([
      expect.stringMatching(/ is dated in the future .*: a clock is or was wrong$/),
    ]);
    expect(await pruned()).toMatchObject({ removed: [], walFiles: 0 });
  });

  it('where the clock has jumped: no server leaves no trace for so long', async () => {
    await weekly();
    const jumped = new Date(scene.now.getTime() + 365 * dayMs);
    const { guards } = await plan(jumped);
    expect(guards).toEqual([expect.stringMatching(/^nothing was archived from 2031-05-13T12/)]);
    expect(await pruned({}, jumped)).toMatchObject({ removed: [], walFiles: 0 });
  });
});

describe('a plan that was agreed to', () => {
  it('is not exceeded by what the clock says now', async () => {
    const labels = await weekly();
    const agreed = await plan();
    const later = new Date(scene.now.getTime() + 7 * dayMs);
    const { removed, walFiles } = await pruned({ agreed }, later);
    expect(removed.map(({ label }) => label)).toEqual([labels[2], labels[1]]);
    expect(walFiles).toBe(30);
    expect(await scene.segments()).toEqual(keptWeekly);
  });

  it('is not carried out on what has changed since', async () => {
    await weekly();
    const agreed = await plan();
    const { storage } = scene.repository;
    // The one with which the window begins is found damaged: what comes before it stays.
    const fifth = (await scene.labels())[4] ?? '';
    await writeCheck(storage, folderOf(fifth), { kind: 'damaged', at: scene.now }, {});
    await pruned({ agreed });
    expect(await scene.segments()).toEqual(expect.arrayContaining(names(26, 40)));
  });

  it('finds nothing where the tree is lost', async () => {
    await scene.wal(1, 3, 30, 1);
    await rm(at(walFolder(cluster)), { recursive: true });
    expect(await plan()).toMatchObject({ bases: [], wal: [], litter: [], guards: [] });
  });
});
