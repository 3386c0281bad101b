import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  fsyncFolder,
  makeFolders,
  publishFile,
  replaceFile,
  temporaryPath,
  writeNewFile,
} from '../../../src/process/durable.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-durable-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** link(2) on a file system without hard links. */
async function noLink(): Promise<void> {
  throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' });
}

async function temporaryFile(path: string, text: string): Promise<string> {
  const temporary = temporaryPath(path);
  await writeFile(temporary, text);
  return temporary;
}

describe('durable files', () => {
  it('says so where a folder can never be made, and /proc says ENOENT for ever', async () => {
    await expect(makeFolders('/proc/x/y')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('replaces a file whole, for its owner alone', async () => {
    const path = join(folder, 'status.json');
    await replaceFile(path, Buffer.from('one'));
    await replaceFile(path, Buffer.from('two'));
    expect(await readFile(path, 'utf8')).toBe('two');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['status.json']);
  });

  it('leaves nothing behind where the place is taken by a folder', async () => {
    await mkdir(join(folder, 'taken', 'deep'), { recursive: true });
    await expect(replaceFile(join(folder, 'taken'), Buffer.from('x'))).rejects.toThrow();
    await expect(writeNewFile(join(folder, 'taken'), Buffer.from('x'))).rejects.toThrow('EEXIST');
    expect(await readdir(folder)).toEqual(['taken']);
  });

  it('makes folders, also at the same time, and refuses a file in their place', async () => {
    const path = join(folder, 'a/b/c');
    await Promise.all([makeFolders(path), makeFolders(path), makeFolders(join(folder, 'a/b/d'))]);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await writeFile(join(folder, 'file'), '');
    await expect(makeFolders(join(folder, 'file'))).rejects.toThrow('EEXIST');
    await expect(makeFolders(join(folder, 'file/below'))).rejects.toThrow('ENOTDIR');
    await expect(fsyncFolder(join(folder, 'missing'))).rejects.toThrow('ENOENT');
  });

  it.each([
    ['with hard links', undefined],
    ['without hard links', noLink],
  ])('never overwrites %s: of many who race one wins', async (_, makeLink) => {
    const path = join(folder, 'once');
    const temporaries = await Promise.all(
      Array.from({ length: 8 }, (_unused, index) => temporaryFile(path, `${index}`)),
    );
    const outcomes = await Promise.allSettled(
      temporaries.map((temporary) => publishFile(temporary, path, makeLink)),
    );
    const winner = outcomes.findIndex(({ status }) => status === 'fulfilled');
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('EEXIST');
    }
    expect(await readFile(path, 'utf8')).toBe(`${winner}`);
    expect((await readdir(folder)).filter((name) => name.includes('reserved'))).toEqual([]);
  });

  it('takes over the reservation that a crash has left', async () => {
    const path = join(folder, 'once');
    const reservation = `${path}.reserved.partial`;
    await mkdir(reservation);
    const longAgo = new Date(Date.now() - 3_600_000);
    await utimes(reservation, longAgo, longAgo);
    await publishFile(await temporaryFile(path, 'x'), path, noLink);
    expect(await readdir(folder)).toEqual(['once']);
  });

  it('tells any other failure of link(2) as it is', async () => {
    const failing = async () => {
      throw Object.assign(new Error('EIO: i/o error, link'), { code: 'EIO' });
    };
    const path = join(folder, 'once');
    await expect(publishFile(await temporaryFile(path, 'x'), path, failing)).rejects.toThrow('EIO');
  });
});
