/** A repository in one or two folders, settings, and a clock of its own, for the monitor's checks. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { openRepository } from '../../src/catalog/repository.ts';
import { loadConfig } from '../../src/config/load.ts';
import { storesOf } from '../../src/config/stores.ts';
import type { HealthCheck, HealthFinding } from '../../src/core/health.ts';
import { makeLabel, type Tier } from '../../src/core/label.ts';
import type { Manifest } from '../../src/core/manifest.ts';
import type { RepositoryContext } from '../../src/operations/context.ts';
import { checkGroups } from '../../src/operations/monitor/checks.ts';
import { monitor } from '../../src/operations/monitor/monitor.ts';
import type { CheckGroup } from '../../src/operations/monitor/monitor_context.ts';
import { sampleContext, writeSampleBackup } from './sample_backup.ts';
import { flipped } from './workbench.ts';

/** What a backup of a scene is like. */
export interface SceneBackup {
  readonly at: Date;
  readonly tier?: Tier;
  /** In which stores; without it in the first. */
  readonly stores?: readonly ('local' | 'nas')[];
  readonly manifest?: Partial<Manifest>;
}

/** What was found, by check and subject. */
export interface Found {
  readonly all: readonly HealthFinding[];
  of(check: HealthCheck): HealthFinding[];
  /** The one finding about a subject. */
  one(check: HealthCheck, subject?: string): HealthFinding;
}

/** How a scene is looked at; without a group by all checks. */
export interface SceneRun {
  readonly isQuick?: boolean;
  readonly group?: string;
  readonly stopwatch?: () => number;
}

export interface MonitorScene {
  readonly folder: string;
  readonly root: string;
  readonly nas: string;
  /** The context at its clock's time. */
  context(overrides?: Partial<RepositoryContext>): Promise<RepositoryContext>;
  setClock(now: Date): void;
  now(): Date;
  /** Milliseconds later. */
  pass(ms: number): void;
  /** More settings, as environment variables; `undefined` takes one away. */
  set(environment: Readonly<Record<string, string | undefined>>): void;
  /** Writes a sample backup. @returns the key of its folder */
  backup(wish: SceneBackup): Promise<string>;
  /** Flips one bit of a file, as somebody who writes into it. */
  flip(store: 'local' | 'nas', key: string): Promise<void>;
  run(wish?: SceneRun): Promise<Found>;
  close(): Promise<void>;
}

export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

function foundIn(all: readonly HealthFinding[]): Found {
  return {
    all,
    of: (check) => all.filter((finding) => finding.check === check),
    one(check, subject) {
      const meant = all.filter(
        (finding) => finding.check === check && (finding.subject === subject || !subject),
      );
      const [first] = meant;
      if (first === undefined || meant.length > 1) {
        const lines = all.map((each) => `${each.check} ${each.subject}: ${each.message}`);
        throw new Error(`${meant.length} of ${check} ${subject}:\n${lines.join('\n')}`);
      }
      return first;
    },
  };
}

async function flipFile(path: string): Promise<void> {
  await writeFile(path, flipped(await readFile(path)));
}

/** Opens a scene, whose clock begins at a time. @param second whether there is a second store */
export async function openMonitorScene(
  begin: Date,
  second: { readonly required?: boolean } | null = null,
  parent: string = tmpdir(),
): Promise<MonitorScene> {
  const folder = await mkdtemp(join(parent, 'holdfast-monitor-'));
  const root = join(folder, 'r');
  const nas = join(folder, 'nas');
  const file = join(folder, 'holdfast.yaml');
  const stores = ['stores:', '  nas:', `    path: ${nas}`, `    required: ${second?.required}`];
  await writeFile(file, second === null ? '{}\n' : `${stores.join('\n')}\n`, { mode: 0o600 });
  let environment: Record<string, string | undefined> = { BACKUP_DIR: root, PGHOST: folder };
  let now = begin;
  let suffix = 0;

  const settings = () =>
    loadConfig({ flags: {}, configFile: file, cwd: folder, projectDir: folder, environment });

  async function context(overrides: Partial<RepositoryContext> = {}): Promise<RepositoryContext> {
    const config = await settings();
    const specs = storesOf(config.settings);
    const repository = await openRepository(root, { create: true, now, stores: specs });
    const catalog = createCatalog(repository.storage);
    return sampleContext(repository, catalog, { config, clock: () => now, ...overrides });
  }

  await context();
  return {
    folder,
    root,
    nas,
    context,
    setClock(time) {
      now = time;
    },
    now: () => now,
    pass(ms) {
      now = new Date(now.getTime() + ms);
    },
    set(more) {
      environment = { ...environment, ...more };
    },
    async backup({ at, tier = 'daily', stores: wanted = ['local'], manifest = {} }) {
      suffix += 1;
      const label = makeLabel(at, tier, Buffer.from([suffix >> 8, suffix, 0, 0]));
      const started_at = at.toISOString();
      const parts = { label, tier, started_at, finished_at: started_at, ...manifest };
      const { repository } = await context();
      let key = '';
      for (const store of repository.stores) {
        if (!wanted.some((name) => name === store.spec.name)) continue;
        key = await writeSampleBackup(await store.open(), { manifest: parts });
      }
      return key;
    },
    flip: (store, key) => flipFile(join(store === 'local' ? root : nas, key)),
    async run({ isQuick = true, group, stopwatch } = {}) {
      const groups: readonly CheckGroup[] = checkGroups.filter(
        ({ name }) => group === undefined || name === group,
      );
      if (groups.length === 0) throw new Error(`there is no group ${group}`);
      const overrides = stopwatch === undefined ? {} : { stopwatch };
      const watched = { context: await context(overrides), problem: null } as const;
      const { report } = await monitor(watched, { isQuick, groups });
      return foundIn(report.findings);
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}
