/** scripts/verify_backups.ts: each copy by itself, and what is found kept where the copy lies. */

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyBackup } from '../../../src/operations/full/verify.ts';
import { inStore } from '../../../src/operations/store_choice.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { failureOf } from '../../contract/storage.ts';
import { openTwoStores, type StoreName, type TwoStores } from '../../support/two_stores.ts';

let stores: TwoStores;
beforeEach(async () => {
  stores = await openTwoStores();
});
afterEach(() => stores.close());

const label = '20261121T020000Z-daily-aaaa';
const both: readonly StoreName[] = ['local', 'nas'];
const verify = (...argv: string[]) => stores.run('verify_backups', argv);

async function checkIn(store: StoreName): Promise<string[]> {
  const folder = join(stores.path(store), 'checks/main/shop', label);
  const names = await readdir(folder).catch(() => []);
  return names.map((name) => name.replace(/^.*-|\.json$/g, ''));
}

describe('verifying copies', () => {
  it('in every store keeps of each what was found, where it lies', async () => {
    const key = await stores.sample(both, { label });
    await stores.flip('nas', `${key}/globals.sql.zst`);
    const { status, stdout, stderr } = await verify(label, '--all-stores', '--json');
    expect(status).toBe(4);
    expect(stderr).toContain(`${label} of shop in local: verified`);
    expect(stderr).toContain(`${label} of shop in nas is DAMAGED`);
    expect(stderr).toContain('1 of 2 copies are good');
    expect(JSON.parse(stdout).backups).toMatchObject([
      { store: 'local', ok: true },
      { store: 'nas', ok: false, findings: [{ file: 'globals.sql.zst' }, {}] },
    ]);
    expect(await checkIn('local')).toEqual(['verified']);
    expect(await checkIn('nas')).toEqual(['damaged']);
  });

  it('in the first store that has them, or in the one that is named', async () => {
    await stores.sample(both, { label });
    expect((await verify('--all')).stderr).toContain(
      `from the store local\n${label} of shop in local`,
    );
    expect((await verify(label, '--store', 'nas')).stderr).toContain(`${label} of shop in nas: `);
    await stores.loseLocal();
    for (const argv of [['--all'], ['--latest', 'shop'], [label]]) {
      const found = await verify(...argv);
      expect(found.status, found.stderr).toBe(0);
      expect(found.stderr).toContain(`from the store nas\n${label} of shop in nas: verified`);
    }
    expect((await verify(label, '--store', 'local')).status).toBe(5);
    const everywhere = await verify(label, '--all-stores');
    expect(everywhere.stderr).toContain(`not in the store local: there is no backup ${label}`);
    expect(everywhere.status).toBe(0);
    expect((await verify('20260101T020000Z-daily-zzzz', '--all-stores')).status).toBe(5);
  });

  it('of a backup that another host removes meanwhile says so, and calls nothing damaged', async () => {
    const key = await stores.sample(['nas'], { label });
    const { nas } = stores.storages;
    const [, second] = stores.repository.stores;
    if (second === undefined) throw new Error('there are two stores');
    const view = await inStore(stores.context(), second);
    const entry = await view.catalog.findBackup(label);
    // No lock of this host keeps another host from it: gone between its manifest and its dump.
    const get: Storage['get'] = async (wanted, range) => {
      if (wanted.endsWith('.zst'))
        await rm(join(stores.path('nas'), key), { recursive: true, force: true });
      return nas.get(wanted, range);
    };
    const storage = new Proxy(nas, {
      get: (target, name) => {
        const value: unknown = name === 'get' ? get : Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const repository = { ...view.repository, storage };
    const error = await failureOf(
      verifyBackup({ ...view, repository }, entry, { depth: 'stored' }),
    );
    expect(error).toMatchObject({ code: 'BACKUP_NOT_FOUND' });
    expect(await checkIn('nas')).toEqual([]);
  });
});
