/** A repository with backups of any age, made by hand. */

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { openRepository, type Repository } from '../../src/catalog/repository.ts';
import { makeLabel, type Tier } from '../../src/core/label.ts';
import type { RepositoryContext } from '../../src/operations/context.ts';
import { sampleContext, writeSampleBackup } from './sample_backup.ts';

export const dayMs = 86_400_000;

export interface RetentionScene {
  readonly repository: Repository;
  readonly now: Date;
  /** A context at a moment, which is `now` without another. */
  context(at?: Date): RepositoryContext;
  /** Writes a backup that began so many days before `now`. @returns the key of its folder */
  backUp(ageDays: number, more?: BackupNames): Promise<string>;
  /** Daily backups of the last so many nights, oldest first. */
  nightly(count: number, more?: BackupNames): Promise<string[]>;
  /** Every file and folder of the backups and the checks, from the root. */
  paths(): Promise<string[]>;
  close(): Promise<void>;
}

export interface BackupNames {
  readonly tier?: Tier;
  readonly database?: string;
  readonly cluster?: string;
  /** Taken with `--read-back none`. */
  readonly unread?: boolean;
}

export const retentionSettings = {
  threads: 1,
  retention_days: null,
  retention_daily: 7,
  retention_weekly: 4,
  retention_monthly: 12,
} as RepositoryContext['config']['settings'];

/** Opens a scene in a private folder, or in the repository in a folder that is given. */
export async function openRetentionScene(given?: string): Promise<RetentionScene> {
  const now = new Date();
  const folder = given ?? (await mkdtemp(join(tmpdir(), 'holdfast-retention-')));
  const root = given ?? join(folder, 'repository');
  const repository = await openRepository(root, { create: true, now });
  const catalog = createCatalog(repository.storage);
  let serial = 0;
  const config = { settings: retentionSettings } as RepositoryContext['config'];

  async function backUp(
    ageDays: number,
    { tier = 'daily', database = 'shop', cluster = 'main', unread = false }: BackupNames = {},
  ): Promise<string> {
    serial += 1;
    const startedAt = new Date(now.getTime() - ageDays * dayMs);
    const random = [serial % 36, Math.floor(serial / 36) % 36, 0, 0];
    const label = makeLabel(startedAt, tier, Uint8Array.from(random));
    const started_at = startedAt.toISOString();
    const named = { label, tier, database, cluster, started_at, finished_at: started_at };
    const read_back = { depth: 'none', seconds: 0 } as const;
    const manifest = unread ? { ...named, read_back } : named;
    return writeSampleBackup(repository.storage, { manifest });
  }

  return {
    repository,
    now,
    context: (at = now) =>
      sampleContext(repository, catalog, { config, clock: () => at, runId: `run-${++serial}` }),
    backUp,
    async nightly(count, more) {
      const folders: string[] = [];
      for (let night = count; night > 0; night -= 1) folders.push(await backUp(night - 0.5, more));
      return folders;
    },
    async paths() {
      const found: string[] = [];
      for (const top of ['full', 'checks']) {
        const below = await readdir(join(root, top), { recursive: true }).catch(() => []);
        found.push(...below.map((path) => `${top}/${path}`));
      }
      return found.sort();
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}
