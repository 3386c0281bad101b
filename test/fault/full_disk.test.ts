/**
 * The disk is full, at every place where a backup or a restore writes: status 3, nothing that looks
 * like a backup, the older ones whole, and the next run succeeds once there is space.
 *
 * A real full disk, so this needs root: it mounts small tmpfs file systems and unmounts them.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Outcome, RunOptions } from '../support/command.ts';
import { fillShop, fingerprint, openScene, type Scene } from '../support/fault.ts';
import { fillUp, freeBytesOf, mountSmall, pageBytes, unmountAll } from '../support/small_disk.ts';

let scene: Scene;
let whole: string;

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 20_000);
  whole = await fingerprint(scene.cluster);
});
afterEach(unmountAll);
afterAll(async () => {
  unmountAll();
  await scene.close();
});

/** Commands on a repository of its own. */
function commandsOn(repository: string) {
  const environment = { BACKUP_DIR: repository };
  const run = (name: Parameters<Scene['run']>[0], argv: readonly string[], more = {}) =>
    scene.run(name, argv, { environment: { ...environment, ...more } } satisfies RunOptions);
  return {
    run,
    backUp: (...flags: string[]) => run('backup_full', ['shop', '--json', ...flags]),
    async labels(): Promise<string[]> {
      const { status, stdout, stderr } = await run('list_backups', ['--json']);
      expect(status, stderr).toBe(0);
      const { backups, unfinished } = JSON.parse(stdout);
      expect(unfinished).toEqual([]);
      for (const { state } of backups) expect(state).toBe('complete');
      return backups.map(({ label }: { label: string }) => label);
    },
    async expectVerified() {
      const verified = await run('verify_backups', ['--all']);
      expect(verified.status, verified.stderr).toBe(0);
    },
  };
}

function expectNoSpace({ status, stdout, stderr }: Outcome, told = ''): void {
  expect(status, `${told} ${stderr}`).toBe(3);
  const document = JSON.parse(stdout);
  const error = document.error ?? document.databases[0].error;
  expect(error.code, `${told} ${stderr}`).toBe('NO_SPACE');
}

/** Every file below a folder that is no ballast. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('lost+found'))
    .map((entry) => join(entry.parentPath, entry.name));
}

describe('a full repository', () => {
  it('while dumping: nothing is left, the older backup is whole, the next run succeeds', async () => {
    const repository = join(scene.folder, 'dumping');
    mountSmall(repository, 16e6);
    const { run, backUp, labels, expectVerified } = commandsOn(repository);
    // Before there is a first one, too: nothing says yet how large a backup is.
    for (const leave of [0, 8192, 40_960, 200_000, 400_000, 600_000]) {
      const free = fillUp(repository, leave);
      const failed = await backUp();
      const straight = await backUp('--no-table-digests', '--read-back', 'none');
      free();
      expectNoSpace(failed, `${leave} bytes free`);
      expectNoSpace(straight, `${leave} bytes free, without table digests`);
      expect(readdirSync(repository).includes('full') ? await labels() : []).toEqual([]);
    }
    expect((await backUp()).status).toBe(0);
    const before = await labels();
    for (const leave of [0, 8192, 100_000, 700_000]) {
      const free = fillUp(repository, leave);
      expectNoSpace(await backUp(), `${leave} bytes free`);
      expect(await labels()).toEqual(before);
      // A verification that cannot be kept is still a verification.
      expect((await run('verify_backups', ['--all'])).status).toBe(0);
      free();
    }
    expect((await backUp()).status).toBe(0);
    expect((await labels()).length).toBe(2);
    await expectVerified();
    expect(await fingerprint(scene.cluster)).toBe(whole);
  });

  it('at every page from the last of the dump to the manifest and status.json', async () => {
    const repository = join(scene.folder, 'manifest');
    mountSmall(repository, 64e6);
    const { run, backUp, labels, expectVerified } = commandsOn(repository);
    expect((await backUp()).status).toBe(0);
    const [first] = await labels();
    const used = freeBytesOf(repository);
    expect((await backUp()).status).toBe(0);
    const needed = used - freeBytesOf(repository);
    const seen = new Set<string>();
    // The estimate of a later backup would end it at once: one without a history begins anew.
    for (let pages = 0; pages <= 24; pages += 1) {
      const leave = needed + (6 - pages) * pageBytes;
      const known = await labels();
      const free = fillUp(repository, leave);
      const outcome = await run('backup_full', ['shop', '--json', '--type', 'manual'], {
        CLUSTER: `page${pages}`,
      });
      free();
      const now = (await labels()).filter((label) => !known.includes(label));
      const told = `${leave} bytes free: ${outcome.stderr}`;
      if (outcome.status === 0) {
        expect(now.length, told).toBe(1);
        seen.add('succeeded');
      } else {
        expectNoSpace(outcome, told);
        expect(now, told).toEqual([]);
        seen.add(/writing \S*\/([^/\s]+) in/.exec(outcome.stderr)?.[1] ?? outcome.stderr);
      }
      expect(filesBelow(repository).filter((path) => path.includes('.partial'))).toEqual([]);
    }
    const places = [...seen].join(', ');
    for (const place of ['succeeded', 'manifest.json', 'SHA256SUMS', 'restore.sh']) {
      expect(places).toContain(place);
    }
    expect(places).toMatch(/database\.dump\.zst|globals\.sql\.zst/);
    expect(await labels()).toContain(first);
    expect((await backUp()).status).toBe(0);
    await expectVerified();
  });
});

describe('a full folder beside the backups', () => {
  it('state/: the run ends before it writes anything', async () => {
    const repository = join(scene.folder, 'state');
    const { backUp, labels, expectVerified } = commandsOn(repository);
    expect((await backUp()).status).toBe(0);
    const before = await labels();
    mountSmall(join(repository, 'state'), 16 * pageBytes);
    mkdirSync(join(repository, 'state', 'runs'));
    const free = fillUp(join(repository, 'state'), 0);
    expectNoSpace(await backUp());
    expect(await labels()).toEqual(before);
    await expectVerified();
    free();
    expect((await backUp()).status).toBe(0);
  });

  it('logs/: the backup is taken, and a warning says that it has no log', async () => {
    const repository = join(scene.folder, 'logs');
    const { backUp, labels, expectVerified } = commandsOn(repository);
    mountSmall(join(repository, 'logs'), 16 * pageBytes);
    for (const leave of [0, pageBytes]) {
      // Both: no log file can be begun, and one breaks off in the middle.
      writeFileSync(join(repository, 'logs', 'x'), '');
      const free = fillUp(join(repository, 'logs'), leave);
      for (let run = 0; run < 3; run += 1) {
        const before = await labels().catch(() => []);
        const outcome = await backUp();
        expect(outcome.status, outcome.stderr).toBe(0);
        expect((await labels()).length).toBe(before.length + 1);
        if (leave === 0) expect(outcome.stderr).toMatch(/log/);
      }
      free();
    }
    await expectVerified();
  });
});

describe('a restore', () => {
  it('whose TMPDIR is too small for several jobs says so and touches nothing', async () => {
    const repository = join(scene.folder, 'jobs');
    const temporary = join(scene.folder, 'temporary');
    const { run, backUp } = commandsOn(repository);
    expect((await backUp()).status).toBe(0);
    mountSmall(temporary, 4e6);
    const restore = ['--latest', 'shop', '--force', '--json', '--jobs', '2'];
    for (const leave of [0, 500_000]) {
      const free = fillUp(temporary, leave);
      expectNoSpace(await run('restore_backup', restore, { TMPDIR: temporary }));
      free();
      expect(readdirSync(temporary)).toEqual([]);
    }
    const names = async () =>
      (await scene.cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE 'shop%'"))
        .length;
    expect(await names()).toBe(1);
    expect(await fingerprint(scene.cluster)).toBe(whole);
    const restored = await run('restore_backup', restore, { TMPDIR: temporary });
    expect(restored.status, restored.stderr).toBe(0);
    expect(readdirSync(temporary)).toEqual([]);
    expect(await fingerprint(scene.cluster)).toBe(whole);
    expect(dirname(temporary)).toBe(scene.folder);
  });

  it('of a dump from elsewhere, whose size nobody knows, ends when TMPDIR is full', async () => {
    const temporary = join(scene.folder, 'unknown');
    const { run, backUp, labels } = commandsOn(join(scene.folder, 'elsewhere'));
    expect((await backUp()).status).toBe(0);
    const [label] = await labels();
    const dump = filesBelow(join(scene.folder, 'elsewhere')).find((path) => {
      return path.includes(`${label}`) && path.endsWith('database.dump.zst');
    });
    const copy = join(scene.folder, 'copy.dump');
    writeFileSync(copy, execFileSync('cat', [`${dump}`], { maxBuffer: 64e6 }));
    mountSmall(temporary, 500_000);
    const argv = [copy, 'elsewhere', '--force', '--json', '--jobs', '2'];
    expectNoSpace(await run('restore_backup', argv, { TMPDIR: temporary }));
    expect(readdirSync(temporary)).toEqual([]);
    const sql = "SELECT datname FROM pg_database WHERE datname LIKE 'elsewhere%'";
    expect(await scene.cluster.sql(sql)).toEqual([]);
  });
});
