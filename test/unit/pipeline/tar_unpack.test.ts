import { execFile } from 'node:child_process';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256Of } from '../../../src/core/sums.ts';
import { createTarUnpacker } from '../../../src/pipeline/tar_unpack.ts';
import { listTree } from '../../../src/process/file_tree.ts';

const run = promisify(execFile);
let folder: string;
let from: string;
let into: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-unpack-'));
  [from, into] = [join(folder, 'from'), join(folder, 'into')];
  await mkdir(from);
  await mkdir(into);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** What a folder holds: kinds, modes, times, links and digests. */
async function treeOf(root: string): Promise<Record<string, unknown>> {
  const tree: Record<string, unknown> = {};
  for await (const { path: name } of listTree(root)) {
    const path = Buffer.concat([Buffer.from(`${root}/`), name]);
    const stats = await lstat(path);
    const mode = (stats.mode & 0o7777).toString(8);
    tree[name.toString('latin1')] = stats.isSymbolicLink()
      ? { link: await readlink(path) }
      : { mode, seconds: Math.floor(stats.mtimeMs / 1000), sha256: await digestOf(path, stats) };
  }
  return tree;
}

async function digestOf(path: Buffer, stats: { isFile(): boolean }): Promise<string | null> {
  return stats.isFile() ? sha256Of(await readFile(path)) : null;
}

/** An archive of {@link from}, and the same bytes in pieces of whatever size. */
async function archive(...flags: string[]): Promise<Buffer> {
  const { stdout } = await run('tar', ['--create', ...flags, `--directory=${from}`, '.'], {
    encoding: 'buffer',
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

function* piecesOf(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const unpack = (bytes: Buffer, size = 65_536) =>
  pipeline(Readable.from(piecesOf(bytes, size)), createTarUnpacker(into));

/** What a data directory never holds at once: modes, times, names, links, large and empty ones. */
async function fill(): Promise<void> {
  const long = 'a'.repeat(120);
  await mkdir(join(from, 'base', long), { recursive: true });
  await mkdir(join(from, 'empty folder'));
  await writeFile(join(from, 'base', 'large'), Buffer.alloc(9 * 1024 * 1024, 'large and dull '));
  await writeFile(join(from, 'base', long, `${'b'.repeat(110)} 'x' "$(id)"\n`), 'long');
  await writeFile(join(from, 'nothing'), '');
  await writeFile(join(from, 'ümlaut é'), 'unicode');
  await writeFile(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0x62, 0xff])]), 'bytes');
  await symlink('/nonexistent/elsewhere', join(from, 'base', 'link'));
  await chmod(join(from, 'nothing'), 0o400);
  await chmod(join(from, 'ümlaut é'), 0o640);
  const longAgo = new Date('2001-09-09T01:46:40Z');
  await utimes(join(from, 'base', 'large'), longAgo, longAgo);
  await utimes(join(from, 'empty folder'), longAgo, longAgo);
  await chmod(join(from, 'empty folder'), 0o500);
}

describe('what is unpacked', () => {
  it.each(['gnu', 'pax'])('is what was packed (%s)', async (format) => {
    await fill();
    const packed = await archive(`--format=${format}`);
    await unpack(packed);
    expect(await treeOf(into)).toEqual(await treeOf(from));
    await rm(into, { recursive: true });
    await mkdir(into);
    await unpack(packed, 511 * 1024 + 7);
    expect(await treeOf(into)).toEqual(await treeOf(from));
  });

  it('takes the place of a file that lies there, and writes through no link', async () => {
    await writeFile(join(from, 'recovery.signal'), 'from the archive');
    await writeFile(join(folder, 'elsewhere'), 'mine');
    await symlink(join(folder, 'elsewhere'), join(into, 'recovery.signal'));
    await unpack(await archive('--format=gnu'));
    expect(await readFile(join(into, 'recovery.signal'), 'utf8')).toBe('from the archive');
    expect(await readFile(join(folder, 'elsewhere'), 'utf8')).toBe('mine');
  });
});

describe('what is refused', () => {
  it.each(['../outside', '/outside', 'a/../../outside'])('leads out: %s', async (name) => {
    await writeFile(join(from, 'file'), 'x');
    const packed = await archive(
      '--format=gnu',
      '--absolute-names',
      `--transform=s,.*file,${name},`,
    );
    await expect(unpack(packed)).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(await readdir(folder)).toEqual(['from', 'into']);
  });

  it('is neither file, folder nor link', async () => {
    await run('mkfifo', [join(from, 'pipe')]);
    const packed = await archive('--format=gnu');
    await expect(unpack(packed)).rejects.toMatchObject({ code: 'DAMAGED', message: /"pipe"/ });
  });

  it('is cut', async () => {
    await fill();
    const packed = await archive('--format=gnu');
    await expect(unpack(packed.subarray(0, 5_000_000))).rejects.toMatchObject({ code: 'DAMAGED' });
  });

  it('cannot be written: the system says why', async () => {
    await mkdir(join(into, 'file'));
    await writeFile(join(from, 'file'), 'x');
    await expect(unpack(await archive('--format=gnu'))).rejects.toThrow(/unpacking|EISDIR|EPERM/);
  });
});
