/** Retention on a real server: what is left after it is restored from, while the server goes on. */

import { execFile } from 'node:child_process';
import { readdir, readFile, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BaseManifest } from '../../src/core/base_manifest.ts';
import { serializeBaseManifest } from '../../src/core/base_manifest_codec.ts';
import { compactTime } from '../../src/core/label.ts';
import { sumsOf } from '../../src/core/sums.ts';
import { asServerUser } from '../support/base_backup.ts';
import { type ChainScene, openChainScene } from '../support/chain_scene.ts';
import { dayMs } from '../support/retention_scene.ts';
import { jsonOf } from '../support/workbench.ts';

const prune = join(import.meta.dirname, '../../scripts/prune_backups.ts');

interface Pruned {
  readonly clusters: readonly {
    readonly base_backups: readonly { label: string; action: string; reason: string }[];
    readonly wal: readonly { action: string; files: number; reason: string }[];
  }[];
  readonly pruned_clusters?: readonly {
    readonly removed: readonly { label: string }[];
    readonly wal_files: number;
    readonly skipped: readonly { what: string; reason: string }[];
  }[];
}

let scene: ChainScene;
/** Of the last marker before each base backup, and the one behind all of them. */
const markers: { marker: number; xid: string }[] = [];
const labels: string[] = [];

async function mark(): Promise<void> {
  const xid = await scene.work();
  markers.push({ marker: scene.markers(), xid });
}

/** The folder of base backups. */
const bases = () => join(scene.wal.archive, '../base');

async function handOver(): Promise<void> {
  const { osUser } = scene.wal.cluster;
  if (osUser === null) return;
  const owner = `${osUser.uid}:${osUser.gid}`;
  await promisify(execFile)('chown', ['-R', owner, scene.wal.bench.repository]);
}

/** Gives a base backup and all WAL that has come since the last one another age. */
async function age(label: string, days: number, seen: Set<string>): Promise<string> {
  const time = new Date(Date.now() - days * dayMs);
  const folder = join(bases(), label);
  const manifest: BaseManifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
  const aged = `${compactTime(time)}${label.slice(label.indexOf('-'))}`;
  const changed = {
    ...manifest,
    label: aged,
    started_at: time.toISOString(),
    finished_at: time.toISOString(),
  };
  const bytes = serializeBaseManifest(changed);
  await writeFile(join(folder, 'manifest.json'), bytes);
  await writeFile(join(folder, 'SHA256SUMS'), sumsOf(changed, bytes));
  await rename(folder, join(bases(), aged));
  const timeline = join(scene.wal.archive, '00000001');
  for (const name of await readdir(timeline)) {
    if (!seen.has(name)) await utimes(join(timeline, name), time, time);
    seen.add(name);
  }
  return aged;
}

/** Runs scripts/prune_backups.ts as the server's user, with short tiers. */
async function run(...flags: string[]): Promise<Pruned> {
  const words = ['BACKUP_RETENTION_WEEKS=1', 'BACKUP_RETENTION_MONTHS=1', prune, ...flags];
  const argv = [...words, '--json', '--backup-dir', scene.wal.bench.repository];
  const outcome = await asServerUser(scene.wal.cluster, 'env', argv);
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<Pruned>(outcome);
}

beforeAll(async () => {
  scene = await openChainScene();
  const seen = new Set<string>();
  for (const days of [40, 9, 2]) {
    await mark();
    const { manifest } = await scene.take('full');
    await mark();
    await scene.wal.switchSegment();
    labels.push(await age(manifest.label, days, seen));
  }
  await handOver();
});
afterAll(() => scene.close());

describe('retention of a cluster', () => {
  it('says first what goes and why, and removes the rest of an old base backup', async () => {
    const [planned] = (await run('--dry-run')).clusters;
    expect(planned?.base_backups.map(({ action, reason }) => `${action}: ${reason}`)).toEqual([
      'remove: 40 days old, and neither the window of 7 days nor a tier needs it',
      'keep: the recovery window of timeline 1 begins behind it',
      'keep: the youngest good base backup of the cluster',
    ]);
    expect(planned?.wal.map(({ action }) => action)).toEqual(['remove', 'keep']);
    const [result] = (await run('--yes')).pruned_clusters ?? [];
    expect(result?.removed.map(({ label }) => label)).toEqual(labels.slice(0, 1));
    expect(result?.wal_files).toBe(planned?.wal[0]?.files);
    expect((await run('--yes')).pruned_clusters ?? []).toEqual([]);
  });

  it('leaves what a server recovers from, to any moment of the window', async () => {
    for (const { marker, xid } of markers.slice(3)) {
      const found = await scene.recover('--target-xid', xid);
      expect(found.marker).toBe(marker);
    }
    expect((await scene.recover()).marker).toBe(scene.markers());
  });

  it('refuses what lies before it, and says what can be reached', async () => {
    const outcome = await scene.restore(scene.newFolder(), '--target-xid', markers[0]?.xid ?? '');
    expect(outcome.status).toBe(5);
    expect(jsonOf<{ error: { code: string } }>(outcome).error.code).toBe('TARGET_UNREACHABLE');
  });

  it('and a base backup at once: it waits, or the prune leaves all as it is', async () => {
    const seen = new Set(await readdir(join(scene.wal.archive, '00000001')));
    const { manifest } = await scene.take('full');
    // A segment in which nothing is written would not be switched.
    await scene.work();
    await scene.wal.switchSegment();
    // The window begins behind this one now, so that the one before it goes.
    await age(manifest.label, 8, seen);
    await handOver();
    // The backup begins first: with dates that were made up, what is right after a prune depends
    // on whether the server has written since.
    const taking = scene.take('full');
    taking.catch(() => undefined);
    await expect
      .poll(() => readdir(bases()), { timeout: 60_000 })
      .toContainEqual(expect.stringMatching(/\.partial$/));
    const pruned = await run('--yes', '--force', '--cluster', scene.wal.name);
    const taken = await taking;
    await scene.work();
    await scene.wal.switchSegment();
    await handOver();
    for (const { reason } of pruned.pruned_clusters?.flatMap(({ skipped }) => skipped) ?? []) {
      expect(reason).toMatch(/^in use: /);
    }
    const verified = await scene.run('verify_backups', [taken.manifest.label]);
    expect(verified.status, verified.stderr).toBe(0);
    const wal = await scene.run('verify_backups', ['--wal']);
    expect(wal.status, wal.stderr).toBe(0);
    expect(pruned.clusters[0]?.wal.map(({ action }) => action)).toEqual(['keep', 'remove', 'keep']);
    await run('--yes');
    const [left] = (await run('--dry-run')).clusters;
    expect(left?.wal.map(({ reason }) => reason)).toEqual([
      `makes ${labels[1]} consistent`,
      expect.stringMatching(/^recoveries from /),
    ]);
    expect((await scene.recover()).marker).toBe(scene.markers());
  });

  it('keeps of a monthly base backup what makes it consistent: that can be restored', async () => {
    const text = await readFile(join(bases(), labels[1] ?? '', 'manifest.json'), 'utf8');
    const { stop_lsn: stop }: BaseManifest = JSON.parse(text);
    const found = await scene.recover('--target-lsn', stop);
    expect([found.plan.label, found.marker]).toEqual([labels[1], markers[2]?.marker]);
  });
});
