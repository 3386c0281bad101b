/** scripts/list_backups.ts where copies lie in several stores. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTwoStores, type StoreName, type TwoStores } from '../../../support/two_stores.ts';

const dayMs = 86_400_000;
let stores: TwoStores;
beforeEach(async () => {
  stores = await openTwoStores();
});
afterEach(() => stores.close());

/** A label of so many days ago. */
function labelOf(ageDays: number, random: string): string {
  const at = new Date(Date.now() - ageDays * dayMs).toISOString();
  return `${at.replaceAll(/[-:]|\.\d+/g, '')}-daily-${random}`;
}

const [old, middle, young] = [labelOf(3, 'aaaa'), labelOf(2, 'bbbb'), labelOf(1, 'cccc')];
const both: readonly StoreName[] = ['local', 'nas'];

const list = (...argv: string[]) => stores.run('list_backups', argv);
async function listed(...argv: string[]) {
  const outcome = await list('--json', ...argv);
  expect(outcome.status, outcome.stderr).toBe(0);
  return JSON.parse(outcome.stdout);
}

describe('the list of backups in two stores', () => {
  it('is one, and tells of each where its copies lie and where one is missing', async () => {
    await stores.sample(both, { label: old });
    await stores.sample(['local'], { label: middle });
    await stores.sample(['nas'], { label: young });
    const { stdout, status } = await list();
    expect(status).toBe(0);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/ took +copies$/);
    expect(lines[1]).toMatch(new RegExp(`^${old} .* local, nas$`));
    expect(lines[2]).toMatch(new RegExp(`^${middle} .* local, NOT in nas$`));
    expect(lines[3]).toMatch(new RegExp(`^${young} .* nas, NOT in local$`));
    expect(await listed()).toMatchObject({
      backups: [
        { label: old, stores: both, damaged_in: [], missing_in: [] },
        { label: middle, stores: ['local'], missing_in: ['nas'] },
        { label: young, stores: ['nas'], missing_in: ['local'] },
      ],
      stores_missing: [],
    });
  });

  it('misses no copy that the retention of the store would not keep', async () => {
    await stores.close();
    stores = await openTwoStores({ retention_daily: 1 });
    for (const label of [old, middle]) await stores.sample(['local'], { label });
    await stores.sample(both, { label: young });
    const { backups } = await listed();
    expect(backups.map((each: { missing_in: string[] }) => each.missing_in)).toEqual([[], [], []]);
  });

  it('misses no copy in a store that the runs can do without', async () => {
    await stores.close();
    stores = await openTwoStores({ required: false });
    await stores.sample(['local'], { label: young });
    expect((await listed()).backups).toMatchObject([{ stores: ['local'], missing_in: [] }]);
  });

  it('tells which copy is damaged, and calls the backup damaged only where all of them are', async () => {
    const key = await stores.sample(both, { label: old });
    await stores.flip('local', `${key}/manifest.json`);
    expect((await list()).stdout).toMatch(/not verified, 1 warning .* local \(DAMAGED\), nas/);
    await stores.flip('nas', `${key}/manifest.json`);
    expect((await listed()).backups).toMatchObject([{ state: 'damaged', damaged_in: both }]);
  });

  it('of one store shows what lies there alone, and a name that none has is told', async () => {
    await stores.sample(['local'], { label: old });
    await stores.sample(['nas'], { label: young });
    const { stdout } = await list('--store', 'nas');
    expect(stdout).toContain(young);
    expect(stdout).not.toContain(old);
    expect(stdout).not.toContain('copies');
    const unknown = await list('--store', 'nsa');
    expect(unknown).toMatchObject({ status: 2 });
    expect(unknown.stderr).toContain('there is no store "nsa"');
    expect(unknown.stderr).toContain('local, nas');
  });

  it('is there without a store that does not answer, but not of that store alone', async () => {
    await stores.sample(both, { label: old });
    await stores.breakNas();
    const { status, stdout, stderr } = await list();
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^${old} .* local$`, 'm'));
    expect(stderr).toMatch(/warning: the store nas is left out: .*symbolic link/);
    expect((await listed()).stores_missing).toMatchObject([{ store: 'nas' }]);
    expect((await list('--store', 'nas')).status).toBe(7);
    expect((await list('--store', 'local')).stderr).not.toContain('nas');
  });

  it('is there at once on a machine that took the place of a lost one', async () => {
    await stores.sample(both, { label: old });
    await stores.loseLocal();
    expect((await list()).stdout).toMatch(new RegExp(`^${old} .* nas, NOT in local$`, 'm'));
    const tables = await list(old);
    expect(tables.stdout).toContain('documents');
    const unknown = await list('shpo');
    expect(unknown.status).toBe(5);
    expect(unknown.stderr).toContain('"shop"');
  });
});
