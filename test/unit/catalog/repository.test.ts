import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backupFolder, databaseFolder, openRepository } from '../../../src/catalog/repository.ts';
import { localSpec, type StoreSpec } from '../../../src/config/stores.ts';
import { failureOf } from '../../contract/storage.ts';

const now = new Date('2026-11-21T02:00:00.000Z');
let top: string;
let root: string;
beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-repository-'));
  root = join(top, 'deep', 'backups');
});
afterEach(() => rm(top, { recursive: true, force: true }));

const open = (create: boolean) => openRepository(root, { create, now });

describe('a repository', () => {
  it('is begun once and found again', async () => {
    const created = await open(true);
    expect(created).toMatchObject({ root, logsDir: `${root}/logs`, stateDir: `${root}/state` });
    const head = JSON.parse(await readFile(join(root, 'holdfast.json'), 'utf8'));
    expect(head).toEqual({
      format: 1,
      repository_id: created.id,
      created_at: '2026-11-21T02:00:00.000Z',
    });
    expect((await open(true)).id).toBe(created.id);
    expect((await open(false)).createdAt).toEqual(now);
  });

  it('gets one id from ten who begin it at the same time', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => open(true)));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  });

  it('is not made up when it is only read', async () => {
    const error = await failureOf(open(false));
    expect(error).toMatchObject({ code: 'BACKUP_NOT_FOUND', status: 5 });
    expect(error.message).toContain(root);
    expect(error.hint).toContain('BACKUP_DIR');
  });

  it('is known from another store on a machine that is new, if that one answers', async () => {
    const other = join(top, 'other');
    const there = await openRepository(other, { create: true, now });
    const nas = (path: string): StoreSpec => ({ ...localSpec(path), name: 'nas' });
    const open = (path: string, create: boolean) =>
      openRepository(root, { create, now: new Date(), stores: [localSpec(root), nas(path)] });
    expect(await open(other, false)).toMatchObject({ id: there.id, createdAt: now });
    const dead = join(top, 'dead');
    await mkdir(dead);
    await writeFile(join(dead, 'holdfast.json'), '{');
    expect((await failureOf(open(dead, false))).status).toBe(7);
    // A backup goes on without it.
    expect((await open(dead, true)).id).not.toBe(there.id);
  });

  it('is not begun among files of somebody else', async () => {
    for (const harmless of ['lost+found', 'logs', 'state']) {
      await mkdir(join(root, harmless), { recursive: true });
    }
    await open(true);
    await rm(join(root, 'holdfast.json'));
    await writeFile(join(root, 'thesis.tex'), 'years of work');
    const error = await failureOf(open(true));
    expect(error.code).toBe('STORE_REFUSED');
    expect(error.message).toContain('"thesis.tex"');
    expect(error.hint).toContain('empty');
  });

  it('is refused when a newer version has begun it, or its head is damaged', async () => {
    await mkdir(root, { recursive: true });
    const head = { format: 2, repository_id: 'x', created_at: 'x' };
    await writeFile(join(root, 'holdfast.json'), JSON.stringify(head));
    expect((await failureOf(open(true))).message).toContain('has the format 2');
    await writeFile(join(root, 'holdfast.json'), '{"format": 1');
    expect((await failureOf(open(false))).code).toBe('STORE_REFUSED');
  });

  it('encodes names, and takes no label that is none', async () => {
    expect(databaseFolder('main', '../etc')).toBe('full/main/..%2Fetc');
    expect(backupFolder('main', '..', '20261121T020000Z-daily-k3f9')).toBe(
      'full/main/%2E%2E/20261121T020000Z-daily-k3f9',
    );
    expect(() => backupFolder('main', 'db', '../../x')).toThrow('is not a backup');
  });
});
