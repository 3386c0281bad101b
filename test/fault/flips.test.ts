/**
 * One flipped bit, one cut byte, one wrong file anywhere in a real backup: verify finds every one,
 * a restore refuses and touches nothing, and so does `sh restore.sh`.
 */

import { execFile } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { openRepository } from '../../src/catalog/repository.ts';
import type { RepositoryContext } from '../../src/operations/context.ts';
import { verifyBackup } from '../../src/operations/full/verify.ts';
import { testEnvironment } from '../support/cluster.ts';
import type { Outcome } from '../support/command.ts';
import { createChance, fillShop, fingerprint, openScene, type Scene } from '../support/fault.ts';
import { sampleContext } from '../support/sample_backup.ts';

const chance = createChance();
const seed = `HOLDFAST_FAULT_SEED=${chance.seed}`;
let scene: Scene;
let whole: string;
let context: RepositoryContext;
let label: string;
/** The folder of the backup that is damaged, and of another one of the same database. */
let folder: string;
let other: string;
const original = new Map<string, Buffer>();

async function takeBackup(): Promise<{ label: string; folder: string }> {
  const outcome = await scene.run('backup_full', ['shop', '--json']);
  expect(outcome.status, outcome.stderr).toBe(0);
  const [taken] = JSON.parse(outcome.stdout).databases;
  return { label: taken.label, folder: join(scene.repository, taken.folder) };
}

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 3000);
  whole = await fingerprint(scene.cluster);
  other = (await takeBackup()).folder;
  // Labels sort by the second: the backup that is damaged is surely the younger one.
  await sleep(1100);
  ({ label, folder } = await takeBackup());
  for (const name of readdirSync(folder)) original.set(name, readFileSync(join(folder, name)));
  expect([...original.keys()].sort()).toEqual([
    'SHA256SUMS',
    'database.dump.zst',
    'globals.sql.zst',
    'manifest.json',
    'restore.sh',
  ]);
  const now = new Date();
  const repository = await openRepository(scene.repository, { create: false, now });
  const catalog = createCatalog(repository.storage);
  // Without the zstd program: hundreds of verifications start nothing.
  context = sampleContext(repository, catalog, { clock: () => new Date() });
});
afterAll(async () => {
  await scene.close();
});

function repair(): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  for (const [name, bytes] of original) writeFileSync(join(folder, name), bytes);
}

/** Which files verify finds wrong, after something was done to the backup. */
async function findAfter(change: () => void, depth: 'stored' | 'plain'): Promise<string[]> {
  try {
    change();
    const entry = await context.catalog.findBackup(label);
    return (await verifyBackup(context, entry, { depth })).findings.map(({ file }) => file);
  } finally {
    repair();
  }
}

function bytesOf(name: string): Buffer {
  return Buffer.from(original.get(name) ?? '');
}

const put = (name: string, bytes: Uint8Array) => writeFileSync(join(folder, name), bytes);

/** Positions over a whole file: its ends, and so many between. */
function positions(length: number, count: number): number[] {
  const between = Array.from({ length: count }, () => Math.floor(chance.between(0, length)));
  return [...new Set([0, 1, length - 2, length - 1, ...between])].filter((at) => at < length);
}

const files = ['SHA256SUMS', 'database.dump.zst', 'globals.sql.zst', 'manifest.json', 'restore.sh'];

describe('verify', () => {
  it.each(files)('finds a flipped bit anywhere in %s', async (name) => {
    for (const at of positions(bytesOf(name).length, 80)) {
      const bit = Math.floor(chance.between(0, 8));
      const bytes = bytesOf(name);
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
      const depth = chance.next() < 0.5 ? 'plain' : 'stored';
      const found = await findAfter(() => put(name, bytes), depth);
      expect(found, `bit ${bit} of byte ${at} of ${name}, ${depth}, ${seed}`).toContain(name);
    }
  });

  it.each(files)('finds one byte that is missing or too many anywhere in %s', async (name) => {
    for (const at of positions(bytesOf(name).length, 40)) {
      const bytes = bytesOf(name);
      const [front, back] = [bytes.subarray(0, at), bytes.subarray(at + 1)];
      const told = `byte ${at} of ${name}, ${seed}`;
      expect(
        await findAfter(() => put(name, Buffer.concat([front, back])), 'plain'),
        told,
      ).toContain(name);
      const more = Buffer.concat([
        front,
        Buffer.from([Math.floor(chance.between(0, 256))]),
        bytes.subarray(at),
      ]);
      expect(await findAfter(() => put(name, more), 'plain'), told).toContain(name);
      expect(await findAfter(() => truncateSync(join(folder, name), at), 'stored'), told).toContain(
        name,
      );
    }
  });

  it('finds a missing, an extra and a foreign file', async () => {
    for (const name of files) {
      expect(await findAfter(() => rmSync(join(folder, name)), 'stored')).toContain(name);
      expect(await findAfter(() => put(name, Buffer.alloc(0)), 'plain')).toContain(name);
      expect(await findAfter(() => put(`${name}.old`, bytesOf(name)), 'stored')).toEqual([
        `${name}.old`,
      ]);
    }
    const swapped = files.filter((name) => !readFileSync(join(other, name)).equals(bytesOf(name)));
    expect(swapped).toEqual(expect.arrayContaining(['SHA256SUMS', 'manifest.json', 'restore.sh']));
    for (const name of swapped) {
      const foreign = readFileSync(join(other, name));
      expect(await findAfter(() => put(name, foreign), 'plain'), name).toContain(name);
    }
    const both = await findAfter(() => {
      put('database.dump.zst', bytesOf('globals.sql.zst'));
      put('globals.sql.zst', bytesOf('database.dump.zst'));
    }, 'plain');
    expect(both).toEqual(['database.dump.zst', 'globals.sql.zst']);
  });

  it('says nothing against the backup when all is as it was', async () => {
    expect(await findAfter(() => undefined, 'plain')).toEqual([]);
    const verified = await scene.run('verify_backups', ['--all']);
    expect(verified.status, verified.stderr).toBe(0);
  });
});

async function databases(): Promise<unknown[]> {
  return scene.cluster.sql('SELECT oid, datname FROM pg_database ORDER BY oid');
}

/** A command that must refuse with 4 and touch nothing. */
async function expectRefused(run: () => Promise<Outcome>, told: string): Promise<Outcome> {
  const before = await databases();
  const outcome = await run();
  expect(outcome.status, `${told}, ${seed}: ${outcome.stderr}`).toBe(4);
  expect(await databases(), told).toEqual(before);
  expect(await fingerprint(scene.cluster), told).toBe(whole);
  return outcome;
}

const restore = () => scene.run('restore_backup', [label, 'shop', '--force']);

/** Damages the backup in one way after the other, each by its name. */
function damages(): [string, () => void][] {
  const list: [string, () => void][] = [];
  for (const name of files) {
    for (const at of positions(bytesOf(name).length, 2)) {
      list.push([
        `a flipped bit in byte ${at} of ${name}`,
        () => {
          const bytes = bytesOf(name);
          bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
          put(name, bytes);
        },
      ]);
    }
    const cut = bytesOf(name).length - 1;
    list.push([`the last byte of ${name} cut`, () => truncateSync(join(folder, name), cut)]);
    list.push([`${name} missing`, () => rmSync(join(folder, name))]);
  }
  list.push(['an extra file', () => put('extra', Buffer.from('x'))]);
  return list;
}

describe('a restore', () => {
  it('refuses every damaged backup with 4, also from the folder itself, and touches nothing', async () => {
    for (const [told, damage] of damages()) {
      damage();
      try {
        await expectRefused(restore, told);
        const byPath = ['--force', folder, 'shop'];
        if (!told.startsWith('manifest.json missing')) {
          await expectRefused(() => scene.run('restore_backup', byPath), `${told}, by its path`);
        }
      } finally {
        repair();
      }
    }
    const restored = await scene.run('restore_backup', [label, 'shop', '--dry-run']);
    expect(restored.status, restored.stderr).toBe(0);
  });

  it('refuses a backup that was moved to another database, and one of a newer format', async () => {
    const moved = join(dirname(dirname(folder)), 'other', basename(folder));
    cpSync(folder, moved, { recursive: true });
    rmSync(folder, { recursive: true });
    try {
      await expectRefused(
        () => scene.run('restore_backup', [label, 'other', '--force']),
        'a moved backup',
      );
      await expectRefused(() => scene.run('verify_backups', [label]), 'a moved backup');
    } finally {
      rmSync(dirname(moved), { recursive: true });
      repair();
    }
    put(
      'manifest.json',
      Buffer.from(`${bytesOf('manifest.json')}`.replace('"format": 1', '"format": 2')),
    );
    try {
      const outcome = await expectRefused(restore, 'a newer format');
      expect(outcome.stderr).toMatch(/format 2|newer/);
    } finally {
      repair();
    }
  });

  it('of the latest backup passes over one that verify has found damaged', async () => {
    put('globals.sql.zst', Buffer.from('x'));
    try {
      expect((await scene.run('verify_backups', [label])).status).toBe(4);
      const plan = await scene.run('restore_backup', ['--latest', 'shop', '--dry-run', '--json']);
      expect(JSON.parse(plan.stdout).plan.backup).toBe(basename(other));
      expect(plan.stderr).toContain(`${label} is younger, but damaged`);
    } finally {
      repair();
    }
    expect((await scene.run('verify_backups', [label])).status).toBe(0);
  });
});

describe('sh restore.sh', () => {
  /** Runs the script that lies beside the backup. */
  function runScript(): Promise<{ status: number; output: string }> {
    const environment = { ...testEnvironment, ...scene.cluster.environment() };
    return new Promise((resolve) => {
      const argv = [join(folder, 'restore.sh'), 'by_script'];
      const done = (error: Error | null, stdout: string, stderr: string) =>
        resolve({
          status: error === null ? 0 : Number((error as NodeJS.ErrnoException).code ?? -1),
          output: stdout + stderr,
        });
      execFile('sh', argv, { env: environment }, done);
    });
  }

  it('refuses what is flipped, cut or missing, and creates no database', async () => {
    for (const name of ['database.dump.zst', 'globals.sql.zst', 'manifest.json', 'SHA256SUMS']) {
      const bytes = bytesOf(name);
      const middle = Math.floor(bytes.length / 2);
      const flipped = bytesOf(name);
      flipped.writeUInt8(flipped.readUInt8(middle) ^ 4, middle);
      for (const wrong of [flipped, bytes.subarray(0, middle), null]) {
        if (wrong === null) rmSync(join(folder, name));
        else put(name, wrong);
        const before = await databases();
        const { status, output } = await runScript();
        repair();
        expect(status, `${name}: ${output}`).not.toBe(0);
        expect(await databases(), `${name}: ${output}`).toEqual(before);
      }
    }
    const { status, output } = await runScript();
    expect(status, output).toBe(0);
    expect(await fingerprint(scene.cluster, 'by_script')).toBe(whole);
  });
});
