import { cp, mkdir, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Catalog, createCatalog } from '../../../src/catalog/catalog.ts';
import { openRepository, type Repository } from '../../../src/catalog/repository.ts';
import { listBackups } from '../../../src/operations/full/list.ts';
import { failureOf } from '../../contract/storage.ts';
import { sampleContext, writeSampleBackup } from '../../support/sample_backup.ts';

let root: string;
let repository: Repository;
let catalog: Catalog;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-catalog-'));
  repository = await openRepository(root, { create: true, now: new Date() });
  catalog = createCatalog(repository.storage);
});
afterEach(() => rm(root, { recursive: true, force: true }));

const monday = '20261116T020000Z-daily-aaaa';
const sunday = '20261115T030000Z-weekly-bbbb';
const tuesday = '20261117T020000Z-daily-cccc';

async function backUp(label: string, database = 'shop', cluster = 'main'): Promise<string> {
  const tier = label.includes('weekly') ? ('weekly' as const) : ('daily' as const);
  return writeSampleBackup(repository.storage, { manifest: { label, tier, database, cluster } });
}

describe('the catalog', () => {
  it('is empty at first', async () => {
    expect(await catalog.listBackups()).toEqual([]);
    const error = await failureOf(catalog.latestBackup('shop'));
    expect(error).toMatchObject({ code: 'BACKUP_NOT_FOUND', status: 5 });
    expect(error.message).toBe('there is no backup of "shop", nor of any other database');
  });

  it('lists what there is by label, and chooses by database, cluster and tier', async () => {
    await backUp(monday);
    await backUp(sunday);
    await backUp(tuesday, '../odd "name"\n$(x)');
    await backUp('20261118T020000Z-daily-dddd', 'shop', 'standby host');
    const labels = async (filter = {}) =>
      (await catalog.listBackups(filter)).map(({ label }) => label.slice(0, 8));
    expect(await labels()).toEqual(['20261115', '20261116', '20261117', '20261118']);
    expect(await labels({ tier: 'weekly' })).toEqual(['20261115']);
    expect(await labels({ cluster: 'standby host' })).toEqual(['20261118']);
    expect(await labels({ database: '../odd "name"\n$(x)' })).toEqual(['20261117']);
    const entry = await catalog.findBackup(tuesday);
    expect(entry).toMatchObject({ cluster: 'main', database: '../odd "name"\n$(x)' });
    expect(entry.manifest?.label).toBe(tuesday);
  });

  it('finds the latest backup, also of a tier', async () => {
    await backUp(sunday);
    await backUp(monday);
    await backUp(tuesday);
    expect((await catalog.latestBackup('shop')).entry.label).toBe(tuesday);
    const weekly = await catalog.latestBackup('shop', { tier: 'weekly' });
    expect(weekly.entry.label).toBe(sunday);
    const error = await failureOf(catalog.latestBackup('shop', { tier: 'monthly' }));
    expect(error.message).toContain('no monthly backup of "shop"');
  });

  it('takes no safety backup for the latest, unless its tier is named or there is no other', async () => {
    const safety = { database: 'shop', cluster: 'main', tier: 'manual', safety: true } as const;
    const [older, younger] = ['20261118T020000Z-manual-dddd', '20261119T020000Z-manual-eeee'];
    await writeSampleBackup(repository.storage, { manifest: { ...safety, label: older } });
    await writeSampleBackup(repository.storage, { manifest: { ...safety, label: younger } });
    const only = await catalog.latestBackup('shop');
    expect([only.entry.label, only.skipped]).toEqual([younger, []]);
    await backUp(monday);
    const { entry, skipped } = await catalog.latestBackup('shop');
    expect(entry.label).toBe(monday);
    expect(skipped.map(({ label }) => label)).toEqual([younger, older]);
    const manual = await catalog.latestBackup('shop', { tier: 'manual' });
    expect(manual.entry.label).toBe(younger);
  });

  it('passes over damaged ones and says which', async () => {
    await backUp(sunday);
    await backUp(monday);
    const youngest = await backUp(tuesday);
    await truncate(join(root, youngest, 'manifest.json'), 100);
    const at = new Date('2026-11-20T00:00:00Z');
    await catalog.recordCheck(await catalog.findBackup(monday), { kind: 'damaged', at }, {});
    const { entry, skipped } = await catalog.latestBackup('shop');
    expect(entry.label).toBe(sunday);
    expect(skipped.map(({ label }) => label)).toEqual([tuesday, monday]);
    expect(skipped.map(({ problem }) => problem?.code ?? null)).toEqual(['MANIFEST_INVALID', null]);
    await catalog.recordCheck(entry, { kind: 'damaged', at }, {});
    expect((await failureOf(catalog.latestBackup('shop'))).message).toContain('all 3 are damaged');
    const later = new Date('2026-11-21T00:00:00Z');
    await catalog.recordCheck(entry, { kind: 'verified', at: later }, {});
    expect((await catalog.latestBackup('shop')).entry.check).toEqual({
      kind: 'verified',
      at: later,
    });
  });

  it('asks which cluster is meant when two have a database of that name', async () => {
    await backUp(monday, 'app', 'east');
    await backUp(tuesday, 'app', 'west');
    const error = await failureOf(catalog.latestBackup('app'));
    expect(error).toMatchObject({ code: 'USAGE', hint: 'Say which with --cluster.' });
    expect((await catalog.latestBackup('app', { cluster: 'east' })).entry.label).toBe(monday);
  });

  it('names the databases that have backups, the nearest first', async () => {
    await backUp(monday, 'warehouse');
    await backUp(monday, 'mastertrade');
    const error = await failureOf(catalog.latestBackup('mastertrad'));
    expect(error.hint).toBe('Databases that have some: "mastertrade", "warehouse".');
  });

  it('never takes for a backup what is none', async () => {
    const whole = join(root, await backUp(monday));
    const elsewhere = join(root, 'full', 'main', 'other', monday);
    await cp(whole, elsewhere, { recursive: true });
    await cp(whole, join(root, 'full', 'main', 'shop', tuesday), { recursive: true });
    await rename(whole, `${whole}.partial`);
    await cp(elsewhere, join(root, 'full', 'main', 'shop', sunday), { recursive: true });
    await rm(join(root, 'full', 'main', 'shop', sunday, 'manifest.json'));
    await writeFile(join(root, 'full', 'main', 'shop', 'README'), 'hello');
    const entries = await catalog.listBackups();
    expect(entries.map(({ label, database }) => `${database} ${label}`)).toEqual([
      `shop ${sunday}`,
      `other ${monday}`,
      `shop ${tuesday}`,
    ]);
    expect(entries.every(({ manifest }) => manifest === null)).toBe(true);
    expect(entries[0]?.problem?.message).toContain('there is no full/main/shop');
    expect(entries[1]?.problem?.message).toContain('belongs to full/main/shop');
    await failureOf(catalog.latestBackup('shop'));

    const list = await listBackups(sampleContext(repository, catalog));
    expect(list.backups.every(({ state }) => state === 'damaged')).toBe(true);
    expect(list.backups[0]).toMatchObject({ details: null, problem: { code: 'DAMAGED' } });
    expect(list.unfinished).toMatchObject([{ database: 'shop', cluster: 'main', label: monday }]);
    const others = await listBackups(sampleContext(repository, catalog), { database: 'other' });
    expect(others.unfinished).toEqual([]);
  });

  it('takes nothing for a backup that has neither the name nor a manifest of one', async () => {
    const whole = join(root, await backUp(monday));
    const shop = join(root, 'full', 'main', 'shop');
    await writeFile(join(shop, 'readme.txt'), 'ours, do not touch');
    await mkdir(join(shop, 'lost+found'));
    await writeFile(join(shop, 'lost+found', '#123'), 'found');
    await cp(whole, join(shop, 'good-one'), { recursive: true });
    const entries = await catalog.listBackups();
    expect(entries.map(({ label }) => label)).toEqual([monday, 'good-one']);
    expect(entries[1]?.problem?.message).toContain(`belongs to full/main/shop/${monday}`);
    const list = await listBackups(sampleContext(repository, catalog));
    expect(list.backups.map(({ state }) => state)).toEqual(['complete', 'damaged']);
    const { entry, skipped } = await catalog.latestBackup('shop');
    expect([entry.label, ...skipped.map(({ label }) => label)]).toEqual([monday, 'good-one']);
  });

  it('takes no path for a label, and asks when a label exists twice', async () => {
    await backUp(monday, 'one');
    await backUp(monday, 'two');
    expect((await failureOf(catalog.findBackup('../../etc/passwd'))).code).toBe('USAGE');
    expect((await failureOf(catalog.findBackup(tuesday))).code).toBe('BACKUP_NOT_FOUND');
    expect((await failureOf(catalog.findBackup(monday))).message).toContain('several databases');
    expect((await catalog.findBackup(monday, { database: 'two' })).database).toBe('two');
  });

  it('gives the facts for a list', async () => {
    await backUp(monday);
    const { backups } = await listBackups(sampleContext(repository, catalog));
    expect(backups).toMatchObject([
      {
        label: monday,
        state: 'complete',
        check: null,
        details: { tables: 2, rows: 40, databaseBytes: 8000000, warnings: ['only 12 GB are free'] },
      },
    ]);
  });
});
