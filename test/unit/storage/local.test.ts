import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLocalStorage } from '../../../src/storage/local.ts';
import { openFolder } from '../../../src/storage/open.ts';
import { failureOf, keysOf } from '../../contract/storage.ts';

const run = promisify(execFile);
const childScript = join(import.meta.dirname, '../../support/store_child.ts');
const bytes = (text: string) => Buffer.from(text, 'utf8');

let top: string;
let root: string;
beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-local-'));
  root = join(top, 'repository');
});
afterEach(() => rm(top, { recursive: true, force: true }));

/** How to run a shell command with some 1 MB of space at `root`, as whoever runs the tests. */
async function withLittleSpace(): Promise<(command: readonly string[]) => string[]> {
  const mount = 'mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@"';
  for (const user of [[], ['--map-root-user']]) {
    const wrap = (command: readonly string[]) => [
      'unshare',
      ...user,
      '--mount',
      'sh',
      '-c',
      mount,
      'sh',
      root,
      ...command,
    ];
    const [program = '', ...args] = wrap(['true']);
    const works = await run(program, args).then(
      () => true,
      () => false,
    );
    if (works) return wrap;
  }
  // Where nothing may be mounted: no file may grow larger than 1 MB.
  const limit = 'trap \'\' XFSZ; ulimit -f 1024; exec "$@"';
  return (command) => ['sh', '-c', limit, 'sh', ...command];
}

describe('a store in a folder', () => {
  it('keeps its files for its owner alone', async () => {
    const storage = openFolder(root);
    await storage.put('a/b', bytes('x'));
    const folder = await storage.createFolder('f/g');
    await folder.commit('manifest.json', bytes('{}'));
    const mode = async (path: string) => ((await stat(join(root, path))).mode & 0o777).toString(8);
    expect(await mode('')).toBe('700');
    for (const path of ['a', 'f', 'f/g']) expect(await mode(path), path).toBe('700');
    for (const path of ['a/b', 'f/g/manifest.json']) expect(await mode(path), path).toBe('600');
  });

  it('leaves no temporary file behind, whatever became of a put', async () => {
    const storage = createLocalStorage({ root });
    await storage.put('a/b', bytes('x'));
    await failureOf(storage.put('a/b', bytes('y')));
    expect(await readdir(join(root, 'a'))).toEqual(['b']);
  });

  it('follows no symbolic link, neither out of the repository nor within it', async () => {
    const storage = createLocalStorage({ root });
    await storage.put('real/file', bytes('inside'));
    await mkdir(join(top, 'outside'));
    await writeFile(join(top, 'outside', 'secret'), 'secret');
    await symlink(join(top, 'outside'), join(root, 'link'));
    await symlink(join(top, 'outside', 'secret'), join(root, 'file-link'));
    await symlink(join(root, 'real'), join(root, 'inner'));
    await symlink(join(top, 'nowhere'), join(root, 'dangling'));
    const attempts = [
      storage.get('link/secret'),
      storage.get('file-link'),
      storage.stat('link/secret'),
      storage.stat('file-link'),
      storage.put('link/new', bytes('x')),
      storage.put('dangling/new', bytes('x')),
      storage.remove('link/secret'),
      storage.removeFolder('link/x', 'secret'),
      storage.createFolder('link/folder'),
      storage.children('link'),
      storage.unfinishedFolders('link'),
      storage.get('inner/file'),
    ];
    const codes = (await Promise.all(attempts.map(failureOf))).map(({ code }) => code);
    expect(codes).toEqual(attempts.map(() => 'PATH_REFUSED'));
    expect(await keysOf(storage)).toEqual(['real/file']);
    expect(await storage.children('')).toEqual(['real']);
    expect(await readdir(join(top, 'outside'))).toEqual(['secret']);
    await storage.remove('file-link');
    expect((await failureOf(storage.put('file-link', bytes('x')))).code).toBe('STORE_EXISTS');
  });

  it('may itself lie behind a symbolic link', async () => {
    await mkdir(join(top, 'disk'));
    await symlink(join(top, 'disk'), root);
    const storage = createLocalStorage({ root });
    await storage.put('a/b', bytes('x'));
    expect(await keysOf(storage)).toEqual(['a/b']);
  });

  it('says what it is when a file lies where a folder belongs, or a name is too long', async () => {
    await writeFile(root, 'a file');
    const storage = createLocalStorage({ root });
    const error = await failureOf(storage.put('a/b', bytes('x')));
    expect(error.code).toBe('STORE_REFUSED');
    expect(error.message).toContain(root);
    expect(error.hint).toBeDefined();
    await rm(root);
    expect((await failureOf(storage.put('n'.repeat(300), bytes('x')))).code).toBe('PATH_REFUSED');
  });

  it('shows nothing of what a killed process was writing, and cleans it up', async () => {
    const child: ChildProcess = spawn(process.execPath, [childScript, root, 'slowly'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.stdout === null) throw new Error('the child has no output');
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const storage = createLocalStorage({ root });
    expect(await keysOf(storage)).toEqual([]);
    expect(await storage.children('a')).toEqual([]);
    expect(await storage.stat('a/object')).toBeNull();
    const unfinished = await storage.unfinishedFolders('full');
    expect(unfinished.map(({ folder }) => folder)).toEqual(['full/c/d/label']);
    expect((await failureOf(storage.createFolder('full/c/d/label'))).code).toBe('STORE_EXISTS');
    await storage.removeUnfinished('full/c/d/label');
    expect(await readdir(join(root, 'full/c/d'))).toEqual([]);
    await storage.put('a/object', bytes('the next run'));
    expect(await keysOf(storage)).toEqual(['a/object']);
  });

  it('says that the disk is full, and leaves nothing of what did not fit', async () => {
    await mkdir(root);
    const wrap = await withLittleSpace();
    const [program = '', ...args] = wrap([process.execPath, childScript, root, 'much']);
    const { stdout } = await run(program, args);
    const told = JSON.parse(stdout.slice(stdout.indexOf('{')));
    for (const outcome of [told.object, told.inFolder, told.commit]) {
      expect(outcome).toMatch(/^NO_SPACE: /);
      expect(outcome).toContain(root);
    }
    expect(told.object).toContain('a/object');
    expect(told.keys).toEqual([]);
    expect(told.unfinished).toEqual([]);
  });
});
