import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRepository, type Repository } from '../../../src/catalog/repository.ts';
import { runCommand } from '../../support/command.ts';
import { writeSampleBackup } from '../../support/sample_backup.ts';

const [older, younger] = ['20261121T020000Z-daily-aaaa', '20261122T020000Z-daily-bbbb'] as const;

let folder: string;
let repository: Repository;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-verify-'));
  repository = await openRepository(join(folder, 'r'), { create: true, now: new Date() });
});
afterEach(() => rm(folder, { recursive: true }));

const verify = (...argv: string[]) =>
  runCommand('verify_backups', argv, {
    environment: { BACKUP_DIR: repository.root, PATH: process.env.PATH ?? '' },
  });

/** Writes a backup with that label; gives the path of its folder. */
async function sample(label: string): Promise<string> {
  const key = await writeSampleBackup(repository.storage, { manifest: { label } });
  return join(repository.root, key);
}

/** Flips one bit in the middle of a file. */
async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

describe('verifying backups', () => {
  it('of a repository: each is told, then how many are good; the result is kept', async () => {
    await sample(older);
    await sample(younger);
    const { status, stderr } = await verify('--all');
    expect(status).toBe(0);
    expect(stderr).toMatch(
      new RegExp(`^${older} of shop: verified, .* in .*\\n${younger} of shop`),
    );
    expect(stderr).toContain('2 of 2 backups are good\n');
    const checks = await readdir(join(repository.root, 'checks'), { recursive: true });
    expect(checks.filter((name) => name.endsWith('-verified.json'))).toHaveLength(2);
  });

  it('ends with 4 when one is damaged, says which file, and goes on to the others', async () => {
    await flip(join(await sample(older), 'globals.sql.zst'));
    await sample(younger);
    const { status, stdout, stderr } = await verify('--all', '--json');
    expect(status).toBe(4);
    expect(stderr).toContain(`warning: ${older} of shop is DAMAGED\nwarning:   globals.sql.zst: `);
    expect(stderr).toContain('1 of 2 backups are good\n');
    expect(JSON.parse(stdout)).toMatchObject({
      exit_status: 4,
      backups: [
        { label: older, ok: false, findings: [{ check: 'stored' }, { check: 'plain' }] },
        { label: younger, ok: true, findings: [] },
      ],
    });
  });

  it('of a database takes the youngest, also one that was found damaged before', async () => {
    await sample(older);
    const bad = await sample(younger);
    await flip(join(bad, 'database.dump.zst'));
    for (let time = 0; time < 2; time += 1) {
      const { status, stderr } = await verify('--latest', 'shop', '--quick');
      expect(status).toBe(4);
      expect(stderr).toContain(`${younger} of shop is DAMAGED`);
    }
    expect((await verify(older)).status).toBe(0);
  });

  it('of a database takes the youngest of each cluster, and no safety backup', async () => {
    await sample(older);
    const safety = { label: younger, safety: true } as const;
    await writeSampleBackup(repository.storage, { manifest: safety });
    const elsewhere = { label: older.replace('aaaa', 'cccc'), cluster: 'elsewhere' };
    await writeSampleBackup(repository.storage, { manifest: elsewhere });
    const { status, stderr } = await verify('--latest', 'shop');
    expect(status, stderr).toBe(0);
    expect(stderr).toContain(`${older} of shop: verified`);
    expect(stderr).toContain(`${elsewhere.label} of shop: verified`);
    expect(stderr).not.toContain(younger);
    const only = await verify('--latest', 'shop', '--cluster', 'elsewhere');
    expect(only.stderr).not.toContain(older);
  });

  it('wants to know which: labels, --latest or --all', async () => {
    await sample(older);
    for (const argv of [[], [older, '--all'], ['--all', '--latest', 'shop']]) {
      const { status, stderr } = await verify(...argv);
      expect(status).toBe(2);
      expect(stderr).toContain('one of the three');
    }
    expect((await verify('not a label')).status).toBe(2);
    expect((await verify(younger)).status).toBe(5);
    expect((await verify('--latest', 'nope')).stderr).toContain('"shop"');
  });

  it('of a repository without backups is no success', async () => {
    const { status, stderr } = await verify('--all');
    expect(status).toBe(5);
    expect(stderr).toContain('there are no backups to verify');
  });
});
