/** scripts/restore_backup.ts reads a backup from whichever store has a good copy. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from '../../../support/command.ts';
import { openTwoStores, type StoreName, type TwoStores } from '../../../support/two_stores.ts';

let stores: TwoStores;
beforeEach(async () => {
  stores = await openTwoStores();
});
afterEach(() => stores.close());

const [old, young] = ['20261120T020000Z-daily-aaaa', '20261121T020000Z-daily-bbbb'];
const both: readonly StoreName[] = ['local', 'nas'];

/** No server is needed to read a backup whole. */
const read = (...argv: string[]) => stores.run('restore_backup', ['--verify-only', ...argv]);

async function checksIn(store: StoreName): Promise<string[]> {
  const names = await readdir(join(stores.path(store), 'checks'), { recursive: true }).catch(
    () => [],
  );
  return names.filter((name) => name.endsWith('.json'));
}

describe('a backup in several stores', () => {
  it('is read from the first that has it, which is told', async () => {
    await stores.sample(both, { label: old });
    const plain = await read(old);
    expect(plain.status, plain.stderr).toBe(0);
    expect(plain.stderr).toContain('from the store local\n');
    expect((await read(old, '--from-cloud')).stderr).toContain('from the store nas\n');
    expect((await read(old, '--store', 'nas')).stderr).toContain('from the store nas\n');
    await stores.breakNas();
    const local = await read(old, '--store', 'local');
    expect(local.stderr).not.toContain('warning');
    const cloud = await read(old, '--from-cloud');
    expect(cloud.status).toBe(0);
    expect(cloud.stderr).toMatch(/warning: the store nas is left out: .*from the store local\n/s);
    expect(await read(old, '--store', 'nas')).toMatchObject({ status: 7 });
    const neither = await read('20260101T020000Z-daily-zzzz');
    // The store that did not answer might have it.
    expect(neither.status).toBe(7);
  });

  it('that is the latest is found wherever it lies', async () => {
    await stores.sample(both, { label: old });
    await stores.sample(['nas'], { label: young });
    const latest = await read('--latest', 'shop');
    expect(latest.stderr).toContain(`from the store nas\nverified: every byte of ${young}`);
    const local = await read('--latest', 'shop', '--store', 'local');
    expect(local.stderr).toContain(`every byte of ${old}`);
    await stores.loseLocal();
    expect((await read('--latest', 'shop')).status).toBe(0);
    expect((await read('--latest', 'shop', '--store', 'local')).status).toBe(5);
    expect((await read('--latest', 'shpo')).stderr).toContain('Databases that have some: "shop"');
    await stores.breakNas();
    const lost = await read('--latest', 'shop');
    expect(lost.status).toBe(7);
    expect(lost.stdout).toBe('');
  });

  it('is read from the next store where a copy turns out damaged, which that store remembers', async () => {
    const key = await stores.sample(both, { label: old });
    await stores.flip('local', `${key}/database.dump.zst`);
    const first = await read('--latest', 'shop');
    expect(first.status, first.stderr).toBe(0);
    expect(first.stderr).toMatch(
      /warning: the copy of \S+ in the store local cannot be used: .*database\.dump\.zst.*; going on with the one in nas/,
    );
    expect(await checksIn('local')).toEqual([expect.stringContaining(`${old}/`)]);
    expect((await checksIn('local'))[0]).toMatch(/-damaged\.json$/);
    expect(await checksIn('nas')).toEqual([]);
    const known = await read(old);
    expect(known.stderr).toContain('from the store nas\n');
    expect(known.stderr).not.toContain('cannot be used');
    const only = await read(old, '--store', 'local');
    expect(only.status).toBe(4);
  });

  it('whose copies are all damaged ends with 4', async () => {
    const key = await stores.sample(both, { label: old });
    for (const store of both) await stores.flip(store, `${key}/globals.sql.zst`);
    const { status, stderr } = await read(old);
    expect(status).toBe(4);
    expect(stderr).toContain('going on with the one in nas');
    expect(stderr).toMatch(/error: the backup \S+ is damaged: globals\.sql\.zst/);
  });

  it('whose manifest is lost in one store is read from the other one', async () => {
    const key = await stores.sample(both, { label: old });
    await stores.flip('local', `${key}/manifest.json`);
    expect((await read('--latest', 'shop')).stderr).toContain('from the store nas\n');
    expect((await read(old)).stderr).toContain('from the store nas\n');
  });

  it('takes one of the two flags, and --from-cloud needs another store', async () => {
    expect((await read(old, '--store', 'nas', '--from-cloud')).status).toBe(2);
    const alone = await runCommand('restore_backup', [old, '--from-cloud', '--verify-only'], {
      environment: { BACKUP_DIR: stores.path('local'), PGHOST: stores.folder },
    });
    expect(alone.status).toBe(2);
    expect(alone.stderr).toContain('--from-cloud needs a store beside BACKUP_DIR');
  });
});
