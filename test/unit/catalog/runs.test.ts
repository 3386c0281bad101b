import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backupFolder, openRepository, type Repository } from '../../../src/catalog/repository.ts';
import {
  beginRun,
  deadRuns,
  forgetDeadRuns,
  removeStale,
  staleUnfinished,
} from '../../../src/catalog/runs.ts';
import { ownIdentity } from '../../../src/process/identity.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { failureOf } from '../../contract/storage.ts';

const runsModule = join(import.meta.dirname, '../../../src/catalog/runs.ts');
const startedAt = new Date('2026-11-21T02:00:00.000Z');
let root: string;
let repository: Repository;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-runs-'));
  repository = await openRepository(root, { create: true, now: startedAt });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const folderOf = (random: string) =>
  backupFolder('main', 'shop', `20261121T020000Z-daily-${random}`);

function optionsFor(runId: string, random: string) {
  const { stateDir } = repository;
  const names = { command: 'backup_full', cluster: 'main', database: 'shop' };
  return { stateDir, runId, ...names, folder: folderOf(random), startedAt };
}

/** A run in a process of its own that ends without a word, as if it were killed. */
function runAndDie(runId: string, random: string): void {
  const script = `
    import { beginRun } from ${JSON.stringify(runsModule)};
    const options = ${JSON.stringify(optionsFor(runId, random))};
    await beginRun({ ...options, startedAt: new Date(options.startedAt) });
    process.kill(process.pid, 'SIGKILL');`;
  const { signal, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module-typescript', '--eval', script],
    { encoding: 'utf8' },
  );
  expect(signal, stderr).toBe('SIGKILL');
}

async function staleFolders(now = new Date()): Promise<string[]> {
  const { storage, stateDir } = repository;
  const options = { storage, stateDir, folder: 'full/main/shop', now };
  return (await staleUnfinished(options)).map(({ folder }) => folder);
}

describe('the records of runs', () => {
  it('come and go with the run', async () => {
    const run = await beginRun(optionsFor('r1', 'aaaa'));
    expect(await readdir(join(repository.stateDir, 'runs'))).toEqual(['r1.json']);
    expect((await failureOf(beginRun(optionsFor('r1', 'aaaa')))).code).toBe('STORE_EXISTS');
    expect(await deadRuns(repository.stateDir)).toEqual([]);
    await run.end();
    await run.end();
    expect(await readdir(join(repository.stateDir, 'runs'))).toEqual([]);
  });

  it('tell what a killed run has left from what another one is writing', async () => {
    expect(await deadRuns(repository.stateDir)).toEqual([]);
    await beginRun(optionsFor('alive', 'aaaa'));
    runAndDie('dead', 'bbbb');
    runAndDie('died early', 'dddd');
    await writeFile(join(repository.stateDir, 'runs', 'damaged.json'), '{');
    for (const random of ['aaaa', 'bbbb', 'cccc']) {
      await (await repository.storage.createFolder(folderOf(random))).put('x', Buffer.from('x'));
    }
    const dead = await deadRuns(repository.stateDir);
    expect(dead.map((run) => run.run_id).sort()).toEqual(['dead', 'died early']);
    expect(await staleFolders()).toEqual([folderOf('bbbb')]);
    const inTwoDays = new Date(Date.now() + 2 * 86_400_000);
    expect((await staleFolders(inTwoDays)).sort()).toEqual([folderOf('bbbb'), folderOf('cccc')]);

    const { storage, stateDir } = repository;
    const options = { storage, stateDir, folder: 'full/main/shop', now: new Date() };
    await removeStale(storage, stateDir, await staleUnfinished(options));
    await forgetDeadRuns(options);
    const left = await storage.unfinishedFolders('full');
    expect(left.map(({ folder }) => folder)).toEqual([folderOf('aaaa'), folderOf('cccc')]);
    expect((await readdir(join(stateDir, 'runs'))).sort()).toEqual(['alive.json', 'damaged.json']);
  });

  it('that a killed run has not finished writing go after a day', async () => {
    const { storage, stateDir } = repository;
    await beginRun(optionsFor('alive', 'aaaa'));
    await writeFile(join(stateDir, 'runs', '00ff.partial'), '{');
    const options = { storage, stateDir, folder: 'full', now: new Date() };
    await forgetDeadRuns(options);
    expect(await readdir(join(stateDir, 'runs'))).toEqual(['00ff.partial', 'alive.json']);
    await forgetDeadRuns({ ...options, now: new Date(Date.now() + 2 * 86_400_000) });
    expect(await readdir(join(stateDir, 'runs'))).toEqual(['alive.json']);
  });

  it('know nothing better than a store that tells who writes: nobody else is taken for dead', async () => {
    const { storage, stateDir } = repository;
    runAndDie('dead', 'aaaa');
    const [died] = await deadRuns(stateDir);
    const own = ownIdentity();
    const elsewhere = { ...own, boot: 'another.1', host: 'another' };
    const told = {
      aaaa: died?.process,
      // Another host brings the same backup there, after a run of this one was killed over it.
      bbbb: elsewhere,
      cccc: own,
      dddd: { ...own, started: '1' },
      // The same name is given to many machines.
      eeee: { ...elsewhere, host: own.host },
    };
    runAndDie('died over it', 'bbbb');
    for (const random of [...Object.keys(told), 'ffff']) {
      await (await storage.createFolder(folderOf(random))).put('x', Buffer.from('x'));
    }
    const telling: Pick<Storage, 'unfinishedFolders'> = {
      unfinishedFolders: async (folder) => {
        const found = await storage.unfinishedFolders(folder);
        const writers = new Map(Object.entries(told).map(([key, who]) => [folderOf(key), who]));
        return found.map((each) => {
          const writer = writers.get(each.folder);
          return writer === undefined ? each : { ...each, writer };
        });
      },
    };
    const options = { storage: telling as Storage, stateDir, folder: 'full', now: new Date() };
    const stale = await staleUnfinished(options);
    expect(stale.map(({ folder, run, reason }) => [folder, run?.run_id, reason])).toEqual([
      [folderOf('aaaa'), 'dead', 'backup_full was killed'],
      [folderOf('dddd'), undefined, 'the process that wrote it was killed'],
    ]);
    const inTwoDays = new Date(Date.now() + 2 * 86_400_000);
    const later = await staleUnfinished({ ...options, now: inTwoDays });
    const names = ['aaaa', 'bbbb', 'dddd', 'eeee', 'ffff'];
    expect(later.map(({ folder }) => folder)).toEqual(names.map(folderOf));
  });

  it('leave an unknown folder alone for a day, by what last changed in it', async () => {
    await (await repository.storage.createFolder(folderOf('aaaa'))).put('dump', Buffer.from('x'));
    const partial = join(root, `${folderOf('aaaa')}.partial`);
    const longAgo = new Date(Date.now() - 3 * 86_400_000);
    await utimes(partial, longAgo, longAgo);
    expect(await staleFolders()).toEqual([]);
    await utimes(join(partial, 'dump'), longAgo, longAgo);
    expect(await staleFolders()).toEqual([folderOf('aaaa')]);
  });
});
