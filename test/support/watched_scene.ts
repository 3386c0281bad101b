/** Runs checks of the monitor on a real repository, at a time of the test's choice. */

import { hostname } from 'node:os';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { openRepository } from '../../src/catalog/repository.ts';
import { loadConfig } from '../../src/config/load.ts';
import { storesOf } from '../../src/config/stores.ts';
import type { HealthCheck, HealthFinding } from '../../src/core/health.ts';
import { monitor } from '../../src/operations/monitor/monitor.ts';
import type { CheckGroup } from '../../src/operations/monitor/monitor_context.ts';
import { sampleContext } from './sample_backup.ts';

/** What is looked at, how, and when. */
export interface WatchWish {
  /** The settings. */
  readonly environment: Readonly<Record<string, string>>;
  readonly groups: readonly CheckGroup[];
  /** This machine's clock is so many seconds ahead. */
  readonly aheadSeconds?: number;
  /** The name of this machine, in place of its own. */
  readonly host?: string;
  /** A holdfast.yaml. */
  readonly configFile?: string;
}

/** What the checks find. */
export class Found {
  readonly all: readonly HealthFinding[];

  constructor(all: readonly HealthFinding[]) {
    this.all = all;
  }

  /** Of one check. */
  of(check: HealthCheck): readonly HealthFinding[] {
    return this.all.filter((each) => each.check === check);
  }

  /** The only one of a check, of that subject where several are told. */
  one(check: HealthCheck, subject?: string): HealthFinding {
    const found = this.of(check).filter((each) => (subject ?? each.subject) === each.subject);
    const [only, second] = found;
    if (only !== undefined && second === undefined) return only;
    throw new Error(`${found.length} findings of ${check}: ${JSON.stringify(this.all, null, 1)}`);
  }

  /** `check: level` of whatever is not fine, sorted. */
  bad(): string[] {
    const bad = this.all.filter(({ level }) => level !== 'ok');
    return bad.map(({ check, level }) => `${check}: ${level}`).sort();
  }
}

/** Makes checks. */
export async function watch(wish: WatchWish): Promise<Found> {
  const { environment, groups, aheadSeconds = 0, configFile, host = hostname() } = wish;
  const config = await loadConfig({
    flags: {},
    cwd: '/',
    projectDir: '/nonexistent',
    configFile,
    environment: { HOME: '/nonexistent', ...environment },
  });
  const clock = () => new Date(Date.now() + aheadSeconds * 1000);
  const stores = storesOf(config.settings);
  const { backup_dir: root } = config.settings;
  const repository = await openRepository(root, { create: false, now: clock(), stores });
  const context = sampleContext(repository, createCatalog(repository.storage), {
    config,
    clock,
    host,
    environment: { PATH: process.env.PATH ?? '' },
  });
  const { report } = await monitor({ context, problem: null }, { isQuick: true, groups });
  return new Found(report.findings);
}
