import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { baseBackupFolder, baseFolder } from '../../../src/catalog/base_catalog.ts';
import { createCatalog } from '../../../src/catalog/catalog.ts';
import { openRepository } from '../../../src/catalog/repository.ts';
import { localSpec } from '../../../src/config/stores.ts';
import type { BaseManifest } from '../../../src/core/base_manifest.ts';
import { serializeBaseManifest } from '../../../src/core/base_manifest_codec.ts';
import { sha256Of, sumsOf } from '../../../src/core/sums.ts';
import type { RepositoryContext } from '../../../src/operations/context.ts';
import { type FinishOptions, finishCopies } from '../../../src/operations/finish_copies.ts';
import { openFolder } from '../../../src/storage/open.ts';
import { sampleContext, sampleManifest } from '../../support/sample_backup.ts';
import { stubSpec } from '../../support/stub_writer.ts';

/** Whole ones from before the window of a week, and an increment in it upon the older one. */
const older = '20261001T020000Z-base-aaaa';
const begin = '20261101T020000Z-base-bbbb';
const increment = '20261120T020000Z-incr-cccc';

let top: string;
let context: RepositoryContext;

/** Writes a base backup into BACKUP_DIR. */
async function writeBase(label: string, parent: string | null): Promise<void> {
  const bytes = Buffer.from(`the archive of ${label}`);
  const stored = { bytes: bytes.length, sha256: sha256Of(bytes) };
  const of = (name: string, role: BaseManifest['files'][number]['role']) => {
    return { name, role, filters: [], stored, plain: stored };
  };
  const { server, started_at, finished_at, cluster, host } = sampleManifest();
  const manifest: BaseManifest = {
    format: 1,
    label,
    kind: parent === null ? 'base' : 'incr',
    parent,
    engine: 'postgres',
    tool: { name: 'holdfast', version: '0.1.0' },
    pg_basebackup: { version: '17.2', major: 17 },
    cluster,
    host,
    server,
    started_at,
    finished_at,
    duration_seconds: 1,
    checkpoint: 'fast',
    start_lsn: '0/2000028',
    start_timeline: 1,
    stop_lsn: '0/2000100',
    stop_timeline: 1,
    wal_ranges: [{ timeline: 1, start_lsn: '0/2000028', end_lsn: '0/2000100' }],
    cluster_bytes: 1,
    cluster_files: 1,
    tablespaces: [],
    page_checksums: true,
    damaged_pages: [],
    files: [
      of('base.tar', 'base'),
      of('backup_manifest', 'backup_manifest'),
      of('restore.sh', 'restore_script'),
    ],
    config: [],
    warnings: [],
    read_back: { seconds: 1 },
  };
  const folder = await openFolder(join(top, 'local')).createFolder(
    baseBackupFolder(cluster, label),
  );
  for (const { name } of manifest.files) await folder.put(name, bytes);
  const text = serializeBaseManifest(manifest);
  await folder.put('SHA256SUMS', Buffer.from(sumsOf(manifest, text)));
  await folder.commit('manifest.json', text);
}

beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-finish-'));
  const stores = [
    localSpec(join(top, 'local')),
    stubSpec('nas', { path: join(top, 'nas') }),
    stubSpec('usb', { path: join(top, 'usb') }),
  ];
  const options = { create: true, now: new Date(), stores };
  const repository = await openRepository(join(top, 'local'), options);
  context = sampleContext(repository, createCatalog(repository.storage));
  Object.assign(context.config.settings, { read_back: 'stored' });
  await writeBase(older, null);
  await writeBase(begin, null);
  await writeBase(increment, older);
});
afterEach(() => rm(top, { recursive: true, force: true }));

const { cluster } = sampleManifest();
const finish = (more: Partial<FinishOptions> = {}) =>
  finishCopies(context, {
    folder: baseFolder(cluster),
    failed: [],
    exclusively: (work) => work(context.signal),
    ...more,
  });
const labelsIn = (store: string) =>
  readdir(join(top, store, baseFolder(cluster))).then(
    (names) => names.sort(),
    () => [],
  );

describe('what stores lack', () => {
  it('is brought, an increment after what it builds upon, and then nothing more', async () => {
    const done = await finish();
    expect(done.copied.map(({ store, label }) => [store, label])).toEqual(
      ['nas', 'usb'].flatMap((store) => [begin, older, increment].map((label) => [store, label])),
    );
    expect(done.lacking).toEqual([]);
    for (const store of ['nas', 'usb']) {
      expect(await labelsIn(store)).toEqual([older, begin, increment]);
    }
    const again = await finish({ exclusively: () => Promise.reject(new Error('not needed')) });
    expect(again).toEqual({ copied: [], lacking: [], warnings: [] });
  });

  it('is no increment without what it builds upon', async () => {
    const damaged = join(top, 'local', baseBackupFolder(cluster, older), 'base.tar');
    await appendFile(damaged, 'x');
    const done = await finish();
    expect(await labelsIn('nas')).toEqual([begin]);
    expect(done.lacking).toEqual([
      { store: 'nas', backups: 1 },
      { store: 'usb', backups: 1 },
    ]);
    expect(done.warnings.join('\n')).toContain(`${older} in the store "local" is damaged`);
  });

  it('is brought to the others where one has failed in this run', async () => {
    const done = await finish({ failed: ['nas'] });
    expect(new Set(done.copied.map(({ store }) => store))).toEqual(new Set(['usb']));
    expect(await labelsIn('nas')).toEqual([]);
  });

  it('waits for the next run where another one is at it; a failure is a warning', async () => {
    const idle = await finish({ exclusively: async () => undefined });
    expect(idle.copied).toEqual([]);
    expect(idle.lacking).toHaveLength(2);
    const lost = await finish({ exclusively: () => Promise.reject(new Error('no connection')) });
    expect(lost.warnings.join('\n')).toContain('no connection');
  });
});
