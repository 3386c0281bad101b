import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freeBytesAt, inspectTree, nearestExisting } from '../../../src/process/file_facts.ts';

let root: string;
const uid = process.geteuid?.() ?? 0;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-facts-'));
  await mkdir(join(root, 'a'), { mode: 0o700 });
  await writeFile(join(root, 'a', 'file'), '12345', { mode: 0o600 });
});

afterEach(() => rm(root, { recursive: true, force: true }));

describe('a walk through a folder', () => {
  it('adds up what lies in it', async () => {
    const tree = await inspectTree(root, uid, 100);
    expect(tree).toEqual({ bytes: 5, entries: 3, isCut: false, foreign: [], open: [], closed: [] });
  });

  it('tells what others may use, and what belongs to somebody else', async () => {
    await chmod(join(root, 'a', 'file'), 0o640);
    expect((await inspectTree(root, uid, 100)).open).toEqual([join(root, 'a', 'file')]);
    expect((await inspectTree(root, uid + 1, 100)).foreign).toHaveLength(3);
  });

  it('follows no link and ends where it is told to', async () => {
    await symlink('/', join(root, 'out'));
    expect((await inspectTree(root, uid, 100)).entries).toBe(4);
    expect(await inspectTree(root, uid, 2)).toMatchObject({ entries: 2, isCut: true });
  });

  it('of a folder that is not there fails', async () => {
    await expect(inspectTree(join(root, 'none'), uid, 10)).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});

describe('a path that is not there yet', () => {
  it('lies below the nearest folder that is, with the room of that one', async () => {
    const path = join(root, 'a', 'b', 'c');
    expect(await nearestExisting(path)).toBe(join(root, 'a'));
    expect(await nearestExisting(root)).toBe(root);
    expect(await freeBytesAt(path)).toBeGreaterThan(0);
  });
});
