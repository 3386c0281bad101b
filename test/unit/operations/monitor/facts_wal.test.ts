import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatIndex } from '../../../../src/core/wal_index.ts';
import { recoveryGroup } from '../../../../src/operations/monitor/facts_wal.ts';
import {
  type IncrementalScene,
  nameOf,
  openIncrementalScene,
  sceneCluster,
} from '../../../support/incremental_scene.ts';
import { watch } from '../../../support/watched_scene.ts';

const minuteDays = 1 / 1440;
let scene: IncrementalScene;
beforeEach(async () => {
  scene = await openIncrementalScene();
});
afterEach(() => scene.close());

/** What the monitor finds by the catalog alone: no program of PostgreSQL is there either. */
async function look() {
  const { root } = scene.repository;
  const none = join(root, 'state', 'no programs');
  await mkdir(none, { recursive: true });
  const aheadSeconds = (scene.now.getTime() - Date.now()) / 1000;
  const environment = { BACKUP_DIR: root, PG_BIN_DIR: none };
  const found = await watch({ environment, groups: [recoveryGroup], aheadSeconds });
  return { point: found.one('recovery_point', sceneCluster), gaps: found.one('wal_gaps') };
}

/** Keeps the index of a segment. @param ageDays of the only commit in it; `null`: it has none */
async function index(number: number, ageDays: number | null, timeline = 1): Promise<void> {
  const name = nameOf(number, timeline);
  const lsn = `0/${(number * 0x100000 + 0x100).toString(16).toUpperCase()}`;
  const end = `0/${(number * 0x100000 + 0x140).toString(16).toUpperCase()}`;
  const time = new Date(scene.now.getTime() - (ageDays ?? 0) * 86_400_000).toISOString();
  const at = time.replace('Z', '000Z');
  const commit = ageDays === null ? null : { at, xid: 700 + number, lsn, end_lsn: end };
  const bytes = formatIndex({
    format: 1,
    segment: name,
    last_record_lsn: lsn,
    end_lsn: end,
    commits: commit === null ? 0 : 1,
    aborts: 0,
    first_commit: commit,
    last_commit: commit,
    earliest_at: commit?.at ?? null,
    latest_at: commit?.at ?? null,
    xids: commit === null ? [] : [[commit.xid, commit.xid]],
    restore_points: [],
  });
  await scene.put(`${name.slice(0, 8)}/${name}.index.json`, Buffer.from(bytes).toString(), 0);
}

const ageOf = ({ values }: { values: Readonly<Record<string, number>> }) =>
  Math.round((values.age_seconds ?? -1) / 60);

describe('the recovery point of an archive', () => {
  it('is its last commit, however many segments without one come behind', async () => {
    await scene.base(5, { segment: 3 });
    await scene.wal(1, 40, 6, 6 / 40);
    for (let number = 11; number <= 40; number += 1) await index(number, null);
    await index(10, 30 * minuteDays);
    const { point, gaps } = await look();
    expect(point.level).toBe('ok');
    expect(ageOf(point)).toBe(30);
    expect(point.found).toContain(nameOf(40));
    expect(gaps).toMatchObject({ level: 'ok', cluster: sceneCluster });
  });

  it('is about the time at which the last segment came where nobody can read it', async () => {
    await scene.base(5, { segment: 3 });
    await scene.wal(3, 10, 5, 5 / 7 - minuteDays * 30);
    const { point } = await look();
    expect(ageOf(point)).toBe(210);
    expect(point).toMatchObject({ level: 'warning' });
    expect(point.message).toContain('about');
  });

  it('is the base backup itself before its WAL has come, and while there is none behind', async () => {
    await scene.wal(1, 2, 5, 1);
    await scene.base(1 / 24, { segment: 9 });
    const { point } = await look();
    expect(ageOf(point)).toBe(59);
    expect(point.level).toBe('ok');
  });

  it.each([
    ['damaged pages', { damagedPages: ['base/1/1259 block 3'] }],
    ['no parent any more', { parent: '20310101T000000Z-base-zzzz' }],
  ])('is none by a base backup with %s', async (_, wish) => {
    await scene.wal(1, 9, 5, 0.5);
    await scene.base(4, { segment: 3, ...wish });
    const { point } = await look();
    expect(point).toMatchObject({ level: 'critical', values: {} });
    expect(point.message).toContain('no good base backup');
  });

  it('lies on the newest timeline, with a base backup of the one before', async () => {
    await scene.base(5, { segment: 3 });
    await scene.wal(1, 10, 6, 0.5);
    await scene.put('00000002.history', '1\t0/A80000\tno recovery target specified\n', 1);
    await scene.wal(10, 15, 1, 0.2, 2);
    await index(15, 20 * minuteDays, 2);
    const { point, gaps } = await look();
    expect(ageOf(point)).toBe(20);
    expect(point.found).toContain(nameOf(15, 2));
    expect(gaps.level).toBe('ok');
  });
});

describe('a gap of an archive', () => {
  it('is critical behind the newest base backup, and ends the recovery point', async () => {
    await scene.base(5, { segment: 3 });
    await scene.wal(1, 9, 6, 0.5);
    await scene.wal(12, 20, 1, 0.1);
    await index(9, 2);
    await index(20, 0);
    const { point, gaps } = await look();
    expect(gaps).toMatchObject({ level: 'critical', found: `${nameOf(10)} to ${nameOf(11)}` });
    expect(gaps.since).toBe(new Date(scene.now.getTime() - 2 * 86_400_000).toISOString());
    expect(point).toMatchObject({ level: 'critical' });
    expect(ageOf(point)).toBe(2 * 1440);
  });

  it('is of the past before it, also where a failover came behind', async () => {
    await scene.base(7, { segment: 2 });
    await scene.wal(1, 4, 8, 0.5);
    await scene.base(4, { segment: 7 });
    await scene.wal(6, 10, 5, 0.5);
    await index(10, 20 * minuteDays);
    const before = await look();
    expect(before.gaps).toMatchObject({ level: 'ok', values: { gaps: 0 } });
    expect(before.gaps.message).toContain('1 gap before it');
    expect(ageOf(before.point)).toBe(20);
    await scene.put('00000002.history', '1\t0/A80000\tno recovery target specified\n', 1);
    await scene.wal(10, 12, 1, 0.2, 2);
    await index(12, 10 * minuteDays, 2);
    const after = await look();
    expect(after.gaps.level).toBe('ok');
    expect(ageOf(after.point)).toBe(10);
  });
});
