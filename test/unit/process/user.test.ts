import { execFile } from 'node:child_process';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { findUserById, findUserByName, isRoot } from '../../../src/process/user.ts';

const run = promisify(execFile);
const module = new URL('../../../src/process/user.ts', import.meta.url).href;

describe('users of this machine', () => {
  it('are found by name and by number, as the system knows them', () => {
    const { username, uid, gid, homedir } = userInfo();
    const own = { name: username, uid, gid, home: homedir };
    expect(findUserByName(username)).toEqual(own);
    expect(findUserById(uid)).toEqual(own);
    expect(findUserByName('root')).toMatchObject({ uid: 0, gid: 0 });
  });

  it('that do not exist are not found', () => {
    expect(findUserByName('')).toBeNull();
    expect(findUserByName('no such user')).toBeNull();
    expect(findUserByName('root:x')).toBeNull();
    expect(findUserById(4_000_000_000)).toBeNull();
  });

  it('root is the one with the number 0', () => {
    expect(isRoot()).toBe(userInfo().uid === 0);
  });
});

describe('becoming another user', () => {
  const script = `
    const { becomeUser, findUserByName } = await import(${JSON.stringify(module)});
    const environment = becomeUser(findUserByName('nobody'));
    let back = 'refused';
    try { process.setuid(0); back = 'root again'; } catch {}
    const { getuid, getgid, geteuid, getegid, getgroups } = process;
    const ids = [getuid(), getgid(), geteuid(), getegid()];
    console.log(JSON.stringify({ environment, ids, groups: getgroups(), back }));`;
  const become = () => run(process.execPath, ['--input-type=module', '--eval', script]);

  it("is for good, with that user's groups and home; nobody but root can", async () => {
    if (!isRoot()) {
      await expect(become()).rejects.toThrow('EPERM');
      return;
    }
    const nobody = findUserByName('nobody');
    if (nobody === null) throw new Error('this machine has no user nobody');
    const { uid, gid, home } = nobody;
    expect(JSON.parse((await become()).stdout)).toEqual({
      environment: { HOME: home, USER: 'nobody', LOGNAME: 'nobody' },
      ids: [uid, gid, uid, gid],
      groups: [gid],
      back: 'refused',
    });
  });
});

describe('acting as another user', () => {
  const script = `
    const { asRoot, borrowUser, findUserByName } = await import(${JSON.stringify(module)});
    const environment = borrowUser(findUserByName('nobody'));
    const { geteuid, getegid } = process;
    const ids = () => [geteuid(), getegid()];
    const before = ids();
    const within = await asRoot(async () => [ids(), await asRoot(async () => ids())]);
    const failed = await asRoot(async () => { throw new Error('no'); }).catch(() => ids());
    console.log(JSON.stringify({ environment, before, within, failed, after: ids() }));`;
  const borrow = () => run(process.execPath, ['--input-type=module', '--eval', script]);

  it('leaves root at hand, for as long as it is asked for', async () => {
    if (!isRoot()) {
      await expect(borrow()).rejects.toThrow('EPERM');
      return;
    }
    const nobody = findUserByName('nobody');
    if (nobody === null) throw new Error('this machine has no user nobody');
    const { uid, gid, home } = nobody;
    const root = [0, 0];
    expect(JSON.parse((await borrow()).stdout)).toEqual({
      environment: { HOME: home, USER: 'nobody', LOGNAME: 'nobody' },
      before: [uid, gid],
      within: [root, root],
      failed: [uid, gid],
      after: [uid, gid],
    });
  });
});
