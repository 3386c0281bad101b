import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRepository, type Repository } from '../../../src/catalog/repository.ts';
import { runCommand } from '../../support/command.ts';
import { type sampleManifest, writeSampleBackup } from '../../support/sample_backup.ts';

let folder: string;
let repository: Repository;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-list-'));
  repository = await openRepository(join(folder, 'r'), { create: true, now: new Date() });
});
afterEach(() => rm(folder, { recursive: true }));

/** No server is there, whatever runs on this machine. */
const list = (...argv: string[]) =>
  runCommand('list_backups', argv, {
    environment: { BACKUP_DIR: repository.root, PGHOST: folder },
  });

const sample = (label: string, manifest: Parameters<typeof sampleManifest>[0] = {}) =>
  writeSampleBackup(repository.storage, { manifest: { label, ...manifest.manifest } });

describe('the list of backups', () => {
  it('of a new repository says that there are none, and which server could not be asked', async () => {
    const noServer = `no server listens on socket ${folder}/.s.PGSQL.5432`;
    expect(await list()).toEqual({
      status: 0,
      stdout: 'no backups\n',
      stderr: `what restores have left is not listed: ${noServer}\n`,
    });
    const { stdout } = await list('--json', '--quiet');
    expect(JSON.parse(stdout)).toMatchObject({ leftovers: null, leftoversMissing: noServer });
  });

  it('has a line for each, with the facts of its manifest, oldest first', async () => {
    await sample('20261122T020000Z-daily-aaaa', { manifest: { warnings: [] } });
    await sample('20261121T020000Z-daily-bbbb');
    const { stdout } = await list();
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^label +database +state +age +stored +database size +rows +took$/);
    expect(lines[1]).toMatch(
      /^20261121T020000Z-daily-bbbb +shop +not verified, 1 warning .* 8\.0 MB +40 +4\.3 s$/,
    );
    expect(lines[2]).toMatch(/^20261122T020000Z-daily-aaaa +shop +not verified {2}/);
    expect(lines).toHaveLength(3);
  });

  it('names the cluster where there are several, and takes one of them', async () => {
    await sample('20261121T020000Z-daily-aaaa');
    await sample('20261121T020000Z-daily-bbbb', { manifest: { cluster: 'other\x9b2J' } });
    const { stdout } = await list();
    expect(stdout).toContain('cluster\n');
    expect(stdout).toContain('"other\\u009b2J"');
    const one = await list('--cluster', 'main');
    expect(one.stdout).toContain('aaaa');
    expect(one.stdout).not.toContain('bbbb');
  });

  it('shows what is damaged and why, and what was never finished', async () => {
    const key = await sample('20261121T020000Z-daily-aaaa');
    await appendFile(join(repository.root, key, 'manifest.json'), 'x');
    await repository.storage.createFolder('full/main/shop/20261122T020000Z-daily-bbbb');
    const { status, stdout } = await list();
    expect(status).toBe(0);
    expect(stdout).toMatch(/20261121T020000Z-daily-aaaa +shop +DAMAGED/);
    expect(stdout).toMatch(/\n20261121T020000Z-daily-aaaa: .*manifest/);
    expect(stdout).toContain('20261122T020000Z-daily-bbbb of shop: no backup, unfinished since');
  });

  it('of one database and tier is only that; a name that is not there says which are', async () => {
    await sample('20261121T020000Z-daily-aaaa');
    await sample('20261121T020000Z-weekly-bbbb', { manifest: { tier: 'weekly' } });
    const weekly = await list('shop', '--type', 'weekly', '--json');
    expect(JSON.parse(weekly.stdout).backups).toMatchObject([
      { label: '20261121T020000Z-weekly-bbbb', details: { tier: 'weekly', rows: 40 } },
    ]);
    const wrong = await list('shob');
    expect(wrong.status).toBe(5);
    expect(wrong.stderr).toContain('"shop"');
    expect((await list('shop', 'other')).status).toBe(2);
  });
});
