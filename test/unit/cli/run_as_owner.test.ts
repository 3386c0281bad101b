import { execFile } from 'node:child_process';
import { chmod, chown, cp, lstat, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRepository } from '../../../src/catalog/repository.ts';
import type { RootWish } from '../../../src/cli/command.ts';
import { runAsOwner } from '../../../src/cli/run_as_owner.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { createConsole } from '../../../src/process/console.ts';
import { findUserByName, isRoot, type OsUser } from '../../../src/process/user.ts';

const run = promisify(execFile);
const checkout = new URL('../../../', import.meta.url).pathname;
const nobodyHas = 3_999_999_999;

let folder: string;
let repository: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-owner-'));
  await chmod(folder, 0o755);
  repository = join(folder, 'repository');
  await openRepository(repository, { create: true, now: new Date() });
});
afterEach(() => rm(folder, { recursive: true }));

/** Everything below a folder, with the folder itself. */
async function everythingBelow(path: string): Promise<string[]> {
  const below = await readdir(path, { recursive: true });
  return [path, ...below.map((name) => join(path, name))];
}

async function ownersBelow(path: string): Promise<number[]> {
  const paths = await everythingBelow(path);
  return [...new Set(await Promise.all(paths.map(async (each) => (await lstat(each)).uid)))];
}

async function giveTo(uid: number, gid: number): Promise<void> {
  for (const path of await everythingBelow(repository)) await chown(path, uid, gid);
}

function nobody(): OsUser {
  const user = findUserByName('nobody');
  if (user === null) throw new Error('this machine has no user nobody');
  return user;
}

/** Lists the backups with a checkout's own command; gives its status and what it said. */
async function list(from: string) {
  const args = ['--backup-dir', repository];
  const env = { PATH: process.env.PATH ?? '', HOME: '/root' };
  return run(join(from, 'scripts/list_backups.ts'), args, { env }).then(
    ({ stderr }) => ({ status: 0, stderr }),
    ({ code, stderr }) => ({ status: Number(code), stderr: String(stderr) }),
  );
}

/** Calls it in this process, which stays what it is. */
async function runHere(backupDir: string, wish?: RootWish) {
  const flags = { 'backup-dir': backupDir };
  const config = await loadConfig({ flags, flagsOnly: true, cwd: folder, projectDir: folder });
  let said = '';
  const stream = { write: (line: string) => (said += line) } as unknown as NodeJS.WriteStream;
  const log = createConsole({ stream, verbosity: 'normal', clock: () => 0 });
  return { changed: await runAsOwner(config, log, wish), said };
}

describe('a command on a repository of one’s own', () => {
  it('runs as who started it, and says nothing about it', async () => {
    expect(await runHere(repository)).toEqual({ changed: {}, said: '' });
    expect(await list(checkout)).toMatchObject({ status: 0 });
    expect(await ownersBelow(repository)).toEqual([process.getuid?.()]);
  });

  it('that does not exist yet runs as who started it', async () => {
    expect((await runHere(join(folder, 'not yet'))).changed).toEqual({});
  });
});

describe('a command that root starts on the repository of another user', () => {
  it('runs as that user: no file of the repository ever belongs to root', async () => {
    if (!isRoot()) return;
    const { uid, gid } = nobody();
    await giveTo(uid, gid);
    const { status, stderr } = await list(checkout);
    expect(stderr).toContain(`running as nobody, who owns ${repository}\n`);
    expect(status).toBe(0);
    expect(await readdir(join(repository, 'logs'))).toHaveLength(1);
    expect(await ownersBelow(repository)).toEqual([uid]);
  });

  it('is refused where that user does not exist', async () => {
    if (!isRoot()) return;
    await giveTo(nobodyHas, 0);
    await expect(runHere(repository)).rejects.toMatchObject({
      code: 'WRONG_USER',
      message: `${repository} belongs to user ${nobodyHas}, who does not exist`,
    });
    const { status, stderr } = await list(checkout);
    expect(status).toBe(2);
    expect(stderr).toContain('hint: Give it to an existing user: chown -R');
    expect(await readdir(repository)).not.toContain('logs');
  });

  it('is refused where that user may not read the checkout', async () => {
    if (!isRoot()) return;
    const closed = join(folder, 'closed');
    for (const name of ['src', 'scripts', 'package.json']) {
      await cp(join(checkout, name), join(closed, name), { recursive: true });
    }
    await symlink(join(checkout, 'node_modules'), join(closed, 'node_modules'));
    await chmod(closed, 0o700);
    const { uid, gid } = nobody();
    await giveTo(uid, gid);
    const { status, stderr } = await list(closed);
    expect(stderr).toContain(`nobody may not read ${closed}`);
    expect(stderr).toContain('hint: Put the checkout where everybody may read it');
    expect(status).toBe(2);
  });
});

describe('a command that sets a system up', () => {
  const wishFor = (owner: string | null): RootWish => ({ keep: false, owner });

  it('works as who owns the repository, whom it may name', async () => {
    expect((await runHere(repository, wishFor(null))).changed).toEqual({});
    expect((await runHere(repository, wishFor(userInfo().username))).changed).toEqual({});
    await expect(runHere(repository, wishFor('somebody else'))).rejects.toMatchObject({
      code: 'WRONG_USER',
      message: expect.stringContaining('--run-as names "somebody else"'),
    });
  });

  it('has root begin a repository for the user who is named', async () => {
    if (!isRoot()) return;
    const fresh = join(folder, 'above/fresh');
    await expect(runHere(fresh, wishFor('no such user'))).rejects.toMatchObject({
      code: 'WRONG_USER',
      hint: 'Name the user that runs everything: --run-as NAME.',
    });
    expect((await runHere(fresh, wishFor('root'))).changed).toEqual({});
    expect((await lstat(fresh)).mode & 0o777).toBe(0o700);
    expect(await readdir(join(folder, 'above'))).toEqual(['fresh']);
    // Begun by root and named for nobody else: it stays root's.
    await openRepository(fresh, { create: true, now: new Date() });
    expect((await runHere(fresh, wishFor(null))).changed).toEqual({});
  });
});
