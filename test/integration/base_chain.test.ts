/**
 * Base backups that build upon each other, of a cluster with tablespaces under work. On servers
 * before PostgreSQL 17 each of them is a whole one that says why, and all else holds there too.
 */

import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asServerUser, copyBackup, startRestored, type TakenBase } from '../support/base_backup.ts';
import { type ChainPlan, spaceOf } from '../support/chain_restores.ts';
import { type ChainScene, openChainScene } from '../support/chain_scene.ts';
import { until } from '../support/fault.ts';
import { flipped, jsonOf } from '../support/workbench.ts';

let scene: ChainScene;
const bases: TakenBase[] = [];
/** Of each base backup: how many markers there were when it began, and a transaction after it. */
const moments: { before: number; xid: string; marker: number }[] = [];
const labels = () => bases.map(({ manifest }) => manifest.label);

beforeAll(async () => {
  scene = await openChainScene();
  await scene.work();
  for (const mode of ['full', ...Array<'incremental'>(4).fill('incremental')] as const) {
    const before = scene.markers();
    const load = scene.workOn();
    bases.push(await scene.take(mode));
    await load.stop();
    const xid = await scene.work();
    moments.push({ before, xid, marker: scene.markers() });
    await scene.work();
  }
  await scene.wal.switchSegment();
}, 300_000);
afterAll(() => scene?.close());

function pathOf(at: number, file = ''): string {
  return join(scene.wal.bench.repository, bases[at]?.folder ?? '', file);
}

const verify = (...argv: string[]) => scene.run('verify_backups', argv);

interface Listed {
  label: string;
  state: string;
  problem: string | null;
  details: { kind: string; parent: string | null } | null;
}

async function listed(): Promise<Listed[]> {
  const outcome = await scene.run('list_backups', ['--json']);
  return jsonOf<{ base_backups: Listed[] }>(outcome).base_backups;
}

describe('five base backups in a row', () => {
  it('build upon each other, or say why they cannot', async () => {
    const { isIncremental } = scene;
    const kind = isIncremental ? 'incr' : 'base';
    const parents = labels().map((_, at) => (isIncremental ? (labels()[at - 1] ?? null) : null));
    expect(bases.map(({ manifest }) => manifest.parent)).toEqual(parents);
    expect(bases.map(({ manifest }) => manifest.kind)).toEqual(['base', kind, kind, kind, kind]);
    const reasons = bases.slice(1).map(({ fullInstead }) => fullInstead);
    for (const reason of reasons) {
      if (isIncremental) expect(reason).toBeNull();
      else expect(reason).toContain('has no incremental base backups');
    }
    // What the cluster holds is told, not what has changed in it.
    const sizes = bases.map(({ manifest }) => manifest.cluster_bytes);
    expect(Math.min(...sizes)).toBeGreaterThan(Math.max(...sizes) / 2);
  });

  it('are told with what they build upon', async () => {
    const bases = await listed();
    expect(bases.map(({ state }) => state)).toEqual(Array(5).fill('complete'));
    const table = await scene.run('list_backups', []);
    const [, fourth = '', fifth = ''] = labels().slice(2);
    const line = table.stdout.split('\n').find((each) => each.startsWith(fifth));
    expect(line?.includes(fourth)).toBe(scene.isIncremental);
  });

  it('are recovered from, to a transaction after the third and to the newest point', async () => {
    const third = moments[2];
    const between = await scene.recover('--target-xid', third?.xid ?? '');
    expect(between.marker).toBe(third?.marker);
    const chain = scene.isIncremental ? labels().slice(0, 3) : labels().slice(2, 3);
    expect(between.plan.chain).toEqual(chain);
    const newest = await scene.recover();
    expect(newest.marker).toBe(scene.markers());
    expect(newest.plan.label).toBe(labels()[4]);
    expect(newest.plan.chain).toHaveLength(scene.isIncremental ? 5 : 1);
    expect(newest.plan.passed_over).toEqual([]);
    expect(newest.tablespaces).toHaveLength(1);
  }, 300_000);

  it('tell how much room putting them together takes, and look for it', async () => {
    const outcome = await scene.restore(scene.newFolder(), '--dry-run');
    expect(outcome.status, outcome.stderr).toBe(0);
    const { plan } = jsonOf<{ plan: ChainPlan }>(outcome);
    const size = bases[4]?.manifest.cluster_bytes ?? 0;
    expect(plan.needed_bytes).toBeGreaterThan(size * (scene.isIncremental ? 2 : 1));
    expect(outcome.stderr.includes(`put together from ${labels()[0]}`)).toBe(scene.isIncremental);
  });
});

describe('restore.sh of the fifth', () => {
  it('puts it together with stock programs alone', async () => {
    const { cluster } = scene.wal;
    const copies = join(scene.folder, "it's a copy");
    for (const at of bases.keys()) await copyBackup(pathOf(at), copies);
    const fifth = join(copies, labels()[4] ?? '', 'restore.sh');
    const pgdata = join(scene.folder, "by 'restore.sh'");
    const [space] = bases[4]?.manifest.tablespaces ?? [];
    const to = join(scene.folder, "space = of 'it'");
    const args = [fifth, '--tablespace', `${space?.oid}=${to}`, pgdata];
    const restored = await asServerUser(cluster, 'sh', args);
    expect(restored.status, restored.stderr).toBe(0);
    expect((await readdir(scene.folder)).filter((name) => name.includes('.restoring'))).toEqual([]);
    const server = await startRestored(cluster, pgdata, scene.folder);
    try {
      const found = await scene.look((sql) => server.query(sql));
      expect(found.marker).toBeGreaterThanOrEqual(moments[4]?.before ?? 0);
      expect(found.marker).toBeLessThan(moments[4]?.marker ?? 0);
      expect(found.tablespaces).toEqual([to]);
    } finally {
      await server.stop();
    }
    // Without one of the others it says which, and touches nothing.
    const needed = scene.isIncremental ? 1 : 4;
    await rm(join(copies, labels()[needed] ?? '', 'SHA256SUMS'));
    const again = await asServerUser(cluster, 'sh', [fifth, ...args.slice(1, 3), `${pgdata} 2`]);
    expect(again.status).toBe(2);
    expect(again.stderr).toContain('is not empty');
    await rm(to, { recursive: true });
    const missing = await asServerUser(cluster, 'sh', [fifth, ...args.slice(1, 3), `${pgdata} 2`]);
    expect(missing.status, missing.stderr).toBe(4);
    expect(missing.stderr).toContain(`SHA256SUMS is missing in`);
    expect(missing.stderr).toContain(labels()[needed]);
    await expect(stat(`${pgdata} 2`)).rejects.toThrow('ENOENT');
  }, 300_000);
});

describe('verify_backups.ts', () => {
  it('with --deep lets PostgreSQL check what they are put together to', async () => {
    const outcome = await verify(labels()[4] ?? '', '--deep', '--json');
    expect(outcome.status, outcome.stderr).toBe(0);
    const { backups } = jsonOf<{ backups: { ok: boolean; deep: string[] }[] }>(outcome);
    const chain = scene.isIncremental ? labels() : labels().slice(4);
    expect(backups).toMatchObject([{ ok: true, deep: chain }]);
  }, 300_000);
});

describe('a chain that is broken', () => {
  /** The third of them where there is a chain, else the last: what needs it cannot be restored. */
  const victim = () => (scene.isIncremental ? 2 : 4);

  async function withoutFile(at: number, file: string, work: () => Promise<void>): Promise<void> {
    const path = pathOf(at, file);
    await rename(path, `${dirname(path)}.kept`);
    try {
      await work();
    } finally {
      await rename(`${dirname(path)}.kept`, path);
    }
  }

  it('by a flipped bit that nobody knew of: an older way is taken, and told', async () => {
    const path = pathOf(victim(), 'base.tar.zst');
    const whole = await readFile(path);
    await writeFile(path, flipped(whole));
    try {
      const found = await scene.recover();
      expect(found.marker).toBe(scene.markers());
      expect(found.plan.label).toBe(labels()[victim() - 1]);
      expect(found.stderr).toContain(`${labels()[victim()]} cannot be used`);
      expect(found.plan.passed_over.at(-1)).toMatchObject({ label: labels()[victim()] });
      expect(found.plan.passed_over).toHaveLength(5 - victim());
      const deep = await verify(labels()[4] ?? '', '--deep');
      expect(deep.status, deep.stderr).toBe(4);
      expect(deep.stderr).toContain(labels()[victim()]);
    } finally {
      await writeFile(path, whole);
    }
  }, 300_000);

  it('by a lost archive: the same', async () => {
    await withoutFile(victim(), 'base.tar.zst', async () => {
      const outcome = await scene.restore(scene.newFolder(), '--target-xid', moments[4]?.xid ?? '');
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(jsonOf<{ plan: ChainPlan }>(outcome).plan.label).toBe(labels()[victim() - 1]);
    });
  }, 300_000);

  it('by a lost manifest: the list, the check and the plan tell what needs it', async () => {
    const gone = labels()[victim()] ?? '';
    await withoutFile(victim(), 'manifest.json', async () => {
      const states = (await listed()).map(({ label, state }) => [label, state === 'complete']);
      expect(states).toEqual(labels().map((label, at) => [label, at < victim()]));
      const outcome = await scene.restore(scene.newFolder(), '--dry-run');
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(jsonOf<{ plan: ChainPlan }>(outcome).plan.label).toBe(labels()[victim() - 1]);
      expect(outcome.stderr).toContain(`${gone} is passed over: it is damaged`);
      const checked = await verify(labels()[4] ?? '');
      expect(checked.status, checked.stderr).toBe(4);
      expect(checked.stderr).toContain(scene.isIncremental ? `needs ${gone}` : 'manifest.json');
    });
    // What was wrong with another one is not kept as damage of its own.
    const again = await verify(labels()[4] ?? '');
    expect(again.status, again.stderr).toBe(0);
    expect((await listed()).map(({ state }) => state)).toEqual(Array(5).fill('complete'));
  }, 300_000);
});

describe('a restore that is killed while it puts them together', () => {
  it('leaves a folder that never looks whole', async () => {
    const pgdata = scene.newFolder();
    const child = scene.spawnRestore(pgdata);
    const begun = join(pgdata, scene.isIncremental ? 'holdfast_chain/3' : 'base');
    await until('its work', async () => (await stat(begun).catch(() => null)) ?? null, 60_000);
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    await child.exited;
    expect(await readdir(pgdata)).toContain('holdfast_restore_unfinished');
    const again = await scene.restore(pgdata);
    expect(again.status).toBe(2);
    expect(jsonOf<{ error: { message: string } }>(again).error.message).toContain('not ended');
  }, 120_000);
});

describe('pg_combinebackup', () => {
  let programs: string;
  beforeAll(async () => {
    programs = join(scene.folder, 'programs');
    const { cluster } = scene.wal;
    await asServerUser(cluster, 'cp', ['-r', cluster.binDirectory, programs]);
    // Older servers have none.
    await rename(join(programs, 'pg_combinebackup'), join(programs, 'real')).catch(() => undefined);
  });

  /** Restores with a program in its place that does this; `"$real" "$@"` is the program. */
  async function restoreWith(lines: string) {
    const path = join(programs, 'pg_combinebackup');
    await writeFile(path, `#!/bin/sh\nreal=\${0%/*}/real\n${lines}\n`, { mode: 0o755 });
    const pgdata = scene.newFolder();
    return { pgdata, outcome: await scene.restoreWith({ PG_BIN_DIR: programs }, pgdata) };
  }

  it('after which the restore is killed leaves no folder that a server starts on', async () => {
    const { pgdata, outcome } = await restoreWith('"$real" "$@" && kill -KILL "$PPID"');
    expect(outcome.status === 0).toBe(!scene.isIncremental);
    const names = await readdir(pgdata);
    expect(names.includes('holdfast_restore_unfinished')).toBe(scene.isIncremental);
    expect(names.includes('global')).toBe(!scene.isIncremental);
  }, 120_000);

  it('that finds the disk full is told, and nothing of the parts is left', async () => {
    const words = 'could not write to file "x": No space left on device';
    const { pgdata, outcome } = await restoreWith(
      `echo 'pg_combinebackup: error: ${words}' >&2; exit 1`,
    );
    expect(outcome.status).toBe(scene.isIncremental ? 3 : 0);
    expect(outcome.stdout.includes('NO_SPACE')).toBe(scene.isIncremental);
    const left = [...(await readdir(pgdata)), ...(await readdir(spaceOf(pgdata)))];
    expect(left.length === 0).toBe(scene.isIncremental);
  }, 120_000);

  it('that warns of checksums is heard, and what it took to put together is gone', async () => {
    const words = 'only some backups have checksums enabled';
    const { pgdata, outcome } = await restoreWith(
      `"$real" "$@" && echo 'pg_combinebackup: warning: ${words}' >&2`,
    );
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf<{ warnings: string[] }>(outcome).warnings).toEqual(
      scene.isIncremental ? [words] : [],
    );
    const names = [...(await readdir(pgdata)), ...(await readdir(spaceOf(pgdata)))];
    expect(names.filter((name) => name.startsWith('holdfast_'))).toEqual([]);
    // No file shares its blocks with another one.
    const control = await stat(join(pgdata, 'global/pg_control'));
    const version = await stat(join(pgdata, 'PG_VERSION'));
    expect([control.nlink, version.nlink]).toEqual([1, 1]);
  }, 120_000);
});

describe('a disk that is too small', () => {
  it('is told before anything is written', async () => {
    const path = pathOf(4, 'manifest.json');
    const whole = await readFile(path, 'utf8');
    const manifest = jsonOf<TakenBase['manifest']>({ status: 0, stdout: whole, stderr: '' });
    const files = manifest.files.map((file) =>
      file.role === 'base' ? { ...file, plain: { ...file.plain, bytes: 1e15 } } : file,
    );
    await writeFile(path, JSON.stringify({ ...manifest, files }));
    try {
      const pgdata = scene.newFolder();
      const outcome = await scene.restore(pgdata);
      const { error } = jsonOf<{ error: { code: string; message: string } }>(outcome);
      expect([outcome.status, error.code]).toEqual([3, 'NO_SPACE']);
      expect(error.message.includes('a chain of 5 backups')).toBe(scene.isIncremental);
      await expect(stat(pgdata)).rejects.toThrow('ENOENT');
    } finally {
      await writeFile(path, whole);
    }
  });
});
