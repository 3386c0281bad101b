/** scripts/prune_backups.ts: each store by its own retention, and with a guard of its own. */

import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { beginRun, deadRuns } from '../../../src/catalog/runs.ts';
import { HoldfastError } from '../../../src/core/errors.ts';
import { applyRetention } from '../../../src/operations/retention/apply_retention.ts';
import { prune } from '../../../src/operations/retention/prune.ts';
import { planPrune } from '../../../src/operations/retention/prune_plan.ts';
import { inStore } from '../../../src/operations/store_choice.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { retentionSettings } from '../../support/retention_scene.ts';
import { openTwoStores, type StoreName, type TwoStores } from '../../support/two_stores.ts';

const dayMs = 86_400_000;
let stores: TwoStores;
beforeEach(async () => {
  stores = await openTwoStores({ retention_daily: 2 });
});
afterEach(() => stores.close());

const both: readonly StoreName[] = ['local', 'nas'];
const runPrune = (...argv: string[]) => stores.run('prune_backups', argv);

/** Backups of the last nights, oldest first. @returns the labels */
async function nightly(count: number, where: readonly StoreName[] = both): Promise<string[]> {
  const labels: string[] = [];
  for (let night = count; night > 0; night -= 1) {
    const at = new Date(Date.now() - (night - 0.5) * dayMs).toISOString();
    const label = `${at.replaceAll(/[-:]|\.\d+/g, '')}-daily-a0${String(night).padStart(2, '0')}`;
    await stores.sample(where, { label, started_at: at });
    labels.push(label);
  }
  return labels;
}

async function labelsIn(store: StoreName): Promise<string[]> {
  const names = await readdir(join(stores.path(store), 'full/main/shop'));
  return names.filter((name) => !name.endsWith('.partial')).sort();
}

/** The second store by itself. */
async function nasView(overrides: Partial<Storage> = {}) {
  const [, second] = stores.repository.stores;
  if (second === undefined) throw new Error('there are two stores');
  const config = { settings: retentionSettings } as ReturnType<TwoStores['context']>['config'];
  const view = await inStore(stores.context({ config, clock: () => new Date() }), second);
  const storage = new Proxy(view.repository.storage, {
    get: (target, name) => {
      const value: unknown = Reflect.get(overrides, name) ?? Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { ...view, repository: { ...view.repository, storage } };
}

describe('a prune of several stores', () => {
  it('goes by the retention of each, says so for each, and asks once', async () => {
    const labels = await nightly(5);
    const { stdout } = await runPrune('--dry-run');
    expect(stdout).toContain('in the store local:\nlabel ');
    expect(stdout).toMatch(/in the store local:.*0 of 5 backups to remove.*in the store nas:/s);
    expect(stdout).toMatch(
      /in the store nas:.*2 younger good daily ones stay.*3 of 5 backups to r/s,
    );
    const asked = await stores.run('prune_backups', [], { typed: 'no' });
    expect(asked.stderr).toMatch(/Remove 3 backups \(\S+ \S+\) in nas for good\?/);
    const { status, stdout: json, stderr } = await runPrune('--yes', '--json');
    expect(status, stderr).toBe(0);
    expect(stderr).toContain(`removed ${labels[0]} of shop in nas, `);
    expect(await labelsIn('local')).toEqual(labels);
    expect(await labelsIn('nas')).toEqual(labels.slice(3));
    expect(JSON.parse(json)).toMatchObject({
      stores: [
        { store: 'local', policy: { daily: { days: 7 } } },
        { store: 'nas', policy: { daily: { days: 2 } } },
      ],
      databases: [{ store: 'local' }, { store: 'nas', database: 'shop' }],
      removed: labels.slice(0, 3).map((label) => ({ store: 'nas', label })),
      stores_missing: [],
    });
  });

  it('holds back one store by its guard and prunes the other one', async () => {
    const labels = await nightly(9, ['local']);
    await nightly(9, ['nas']);
    const { status, stderr } = await runPrune('--yes');
    expect(status).toBe(3);
    expect(stderr).toMatch(/error: retention of shop in nas is held back: 7 of 9 .*more than half/);
    expect(stderr).toContain("prune_backups.ts 'shop' --cluster 'main' --store 'nas' --dry-run");
    expect(await labelsIn('local')).toEqual(labels.slice(2));
    expect(await labelsIn('nas')).toHaveLength(9);
    const only = await runPrune('--yes', '--force', '--store', 'nas');
    expect(only.status, only.stderr).toBe(0);
    expect(await labelsIn('nas')).toHaveLength(2);
  });

  it('prunes the others where one does not answer, and ends with 7 if runs need that one', async () => {
    const labels = await nightly(9, ['local']);
    await stores.breakNas();
    const { status, stderr } = await runPrune('--yes', '--quiet');
    expect(status).toBe(7);
    expect(stderr).toContain('warning: the store nas is left out: ');
    expect(await labelsIn('local')).toEqual(labels.slice(2));
    expect((await runPrune('--yes', '--store', 'nas')).status).toBe(7);
  });

  it('leaves what a store keeps itself, as a normal state, and counts it as there', async () => {
    const labels = await nightly(4, ['nas']);
    const until = new Date(Date.now() + 9 * dayMs);
    const view = await nasView({
      retainedUntil: async (key) => (key.includes(labels[0] ?? '') ? until : null),
    });
    const [plan] = (await planPrune(view, {})).databases;
    expect(plan?.decisions.map(({ action }) => action)).toEqual(['keep', 'remove', 'keep', 'keep']);
    expect(plan?.decisions[0]?.reason).toBe(
      `retained until ${until.toISOString().slice(0, 10)} by the store`,
    );
  });

  it('that meets a lock which it did not know of goes on with the others', async () => {
    const labels = await nightly(4, ['nas']);
    const { nas } = stores.storages;
    const view = await nasView({
      removeFolder: async (folder, commitName) => {
        if (!folder.includes(labels[0] ?? '')) return nas.removeFolder(folder, commitName);
        const details = { retained_until: '2030-01-01T00:00:00.000Z' };
        throw new HoldfastError('STORE_REFUSED', 'it is locked', { details });
      },
    });
    const done = await prune(view, { filter: {}, force: false, agreed: null });
    expect(done.removed.map(({ label }) => label)).toEqual([labels[1]]);
    expect(done.skipped).toEqual([
      { label: labels[0], reason: 'retained until 2030-01-01 by the store' },
    ]);
  });

  it('from two hosts at once is harmless', async () => {
    const labels = await nightly(5, ['nas']);
    const views = [await nasView(), await nasView()];
    // Another host has another folder for its locks.
    const results = await Promise.all(
      views.map((view, host) => {
        const stateDir = join(stores.folder, `state${host}`);
        const repository = { ...view.repository, stateDir };
        return prune({ ...view, repository }, { filter: {}, force: false, agreed: null });
      }),
    );
    expect(await labelsIn('nas')).toEqual(labels.slice(3));
    const removed = results.flatMap((result) => result.removed.map(({ label }) => label));
    expect(new Set(removed).size).toBeLessThanOrEqual(3);
  });
});

describe('the retention after a backup', () => {
  it('is applied in every store, and a store that does not answer is a warning', async () => {
    const labels = await nightly(4);
    const config = { settings: retentionSettings } as ReturnType<TwoStores['context']>['config'];
    const context = stores.context({ config, clock: () => new Date() });
    const names = { cluster: 'main', database: 'shop' };
    expect(await applyRetention(context, names)).toMatchObject({
      removed: labels.slice(0, 2),
      stores: { local: { removed: [] }, nas: { removed: labels.slice(0, 2) } },
      warnings: [],
    });
    await stores.breakNas();
    const applied = await applyRetention(context, names);
    expect(Object.keys(applied.stores)).toEqual(['local']);
    expect(applied.warnings).toEqual([
      expect.stringMatching(/^the retention of shop was not applied in the store nas: .*link/),
    ]);
  });

  it('removes what a killed run has left in every store, before it forgets that run', async () => {
    const folder = 'full/main/shop/20261121T020000Z-daily-dead';
    const { stateDir } = stores.repository;
    await nightly(1);
    for (const store of both) {
      await (await stores.storages[store].createFolder(folder)).put('f', Buffer.from('begun'));
    }
    const names = { command: 'backup_full', cluster: 'main', database: 'shop', folder };
    await beginRun({ stateDir, runId: 'dead', ...names, startedAt: new Date() });
    const path = join(stateDir, 'runs/dead.json');
    const record = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(
      path,
      JSON.stringify({ ...record, process: { ...record.process, pid: 2 ** 22 } }),
    );
    expect(await deadRuns(stateDir)).toHaveLength(1);
    // One store alone does not know what the other one holds.
    await runPrune('--yes', '--store', 'local');
    expect(await deadRuns(stateDir)).toHaveLength(1);
    await runPrune('--yes');
    expect(await stores.storages.nas.unfinishedFolders('')).toEqual([]);
    expect(await stores.storages.local.unfinishedFolders('')).toEqual([]);
    expect(await deadRuns(stateDir)).toEqual([]);
  });

  it('leaves what another host is writing into a store, until it is a day old', async () => {
    const folder = 'full/main/shop/20261121T020000Z-daily-live';
    await nightly(1);
    await (await stores.storages.nas.createFolder(folder)).put('f', Buffer.from('begun'));
    await runPrune('--yes');
    expect(await stores.storages.nas.unfinishedFolders('')).toHaveLength(1);
    const partial = join(stores.path('nas'), `${folder}.partial`);
    const past = new Date(Date.now() - 2 * dayMs);
    for (const path of [join(partial, 'f'), partial]) await utimes(path, past, past);
    await runPrune('--yes');
    expect(await stores.storages.nas.unfinishedFolders('')).toEqual([]);
  });
});
