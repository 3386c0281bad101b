import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isClaimed, withFileLock } from '../../../src/catalog/lock.ts';
import { ownIdentity } from '../../../src/process/identity.ts';
import { failureOf } from '../../contract/storage.ts';

const child = join(import.meta.dirname, '../../support/lock_child.ts');
let folder: string;
let lock: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-lock-'));
  lock = join(folder, 'state', 'status.lock');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const take = (waitMs = 0) => withFileLock(lock, { waitMs }, async () => 'taken');

/** Leaves the claim of another process, as old as told. */
async function leaveClaim(pid: number, host: string, ageMs: number): Promise<void> {
  await mkdir(lock, { recursive: true });
  const path = join(lock, `00~${pid}~1~${ownIdentity().boot}~${host}`);
  await writeFile(path, '');
  const then = new Date(Date.now() - ageMs);
  await utimes(path, then, then);
}

describe('the lock between processes', () => {
  it('lets one process in at a time, however many want to', async () => {
    const file = join(folder, 'number');
    await writeFile(file, '0');
    const count = () => promisify(execFile)(process.execPath, [child, lock, 'count', file, '15']);
    await Promise.all([count(), count(), count(), count()]);
    expect(await readFile(file, 'utf8')).toBe('60');
    await expect(access(lock)).rejects.toThrow('ENOENT');
  });

  it('also keeps the tasks of one process apart, and is free after a failure', async () => {
    let inside = 0;
    const work = async () => {
      inside += 1;
      expect(inside).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 2));
      inside -= 1;
    };
    await Promise.all(
      Array.from({ length: 8 }, () => withFileLock(lock, { waitMs: 30_000 }, work)),
    );
    const failing = withFileLock(lock, { waitMs: 0 }, async () => {
      throw new Error('the work failed');
    });
    await expect(failing).rejects.toThrow('the work failed');
    expect(await take()).toBe('taken');
  });

  it('says who holds it since when, and is taken over when that process is killed', async () => {
    const holder = spawn(process.execPath, [child, lock, 'hold'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    const error = await failureOf(take(50));
    expect(error).toMatchObject({ code: 'LOCKED', status: 6 });
    expect(error.message).toMatch(
      new RegExp(`^process ${holder.pid} on .+ holds status.lock since 20\\d\\d-`),
    );
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    const all = await Promise.all([take(10_000), take(10_000), take(10_000)]);
    expect(all).toEqual(['taken', 'taken', 'taken']);
  });

  it('knows a process number that was used again by its start time', async () => {
    await leaveClaim(process.pid, hostname(), 0);
    expect(await take()).toBe('taken');
  });

  it('believes another host as long as its claim is fresh', async () => {
    await leaveClaim(1, 'another-host', 1000);
    expect((await failureOf(take())).message).toContain('process 1 on another-host');
    await leaveClaim(1, 'another-host', 3_600_000);
    expect(await take()).toBe('taken');
  });
});

describe('a shared lock', () => {
  const share = <T>(work: () => Promise<T>) =>
    withFileLock(lock, { waitMs: 0, shared: true }, work);

  it('lets in who shares it, and keeps out who wants it alone', async () => {
    await share(async () => {
      expect(await share(async () => 'shared')).toBe('shared');
      expect((await failureOf(take())).code).toBe('LOCKED');
      expect(await isClaimed(lock)).toBe(true);
    });
    expect(await isClaimed(lock)).toBe(false);
    expect(await take()).toBe('taken');
  });

  it('is not given while one has it alone, and comes when that one has ended', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const alone = withFileLock(lock, { waitMs: 0 }, () => held);
    await expect.poll(() => isClaimed(lock)).toBe(true);
    expect((await failureOf(share(async () => 'shared'))).code).toBe('LOCKED');
    const waiting = withFileLock(lock, { waitMs: 30_000, shared: true }, async () => 'shared');
    release();
    await alone;
    expect(await waiting).toBe('shared');
  });

  it('never lets one in alone beside those who share, whatever they all want', async () => {
    let [sharing, alone] = [0, 0];
    const pause = () => new Promise((resolve) => setTimeout(resolve, 1));
    const together = async () => {
      sharing += 1;
      expect(alone).toBe(0);
      await pause();
      sharing -= 1;
    };
    const single = async () => {
      alone += 1;
      expect([sharing, alone]).toEqual([0, 1]);
      await pause();
      alone -= 1;
    };
    await Promise.all(
      Array.from({ length: 12 }, (_, number) =>
        number % 2 === 0
          ? withFileLock(lock, { waitMs: 60_000, shared: true }, together)
          : withFileLock(lock, { waitMs: 60_000 }, single),
      ),
    );
    expect(await isClaimed(lock)).toBe(false);
  });
});
