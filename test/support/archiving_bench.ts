/** A server with a repository that is its own user's, whose paths a shell would read otherwise. */

import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OsUser } from '../../src/process/user.ts';
import { startTestCluster, type TestCluster } from './cluster.ts';
import { type CommandName, type Outcome, outcomeOf, runCommand, spawnCommand } from './command.ts';
import { jsonOf, openWorkbench } from './workbench.ts';

/** What scripts/backup_incremental.ts says as JSON. */
export interface Moved {
  readonly base: { readonly label: string; readonly kind: string } | null;
  readonly segment: string;
  readonly newest_recoverable_at: string;
  readonly gaps: readonly object[];
}

/** What may be other than usual. */
export interface ArchivingWishes {
  readonly walSegmentMb?: number;
  /** Of the repository's folder. */
  readonly repositoryName?: string;
}

export interface ArchivingBench {
  readonly cluster: TestCluster;
  readonly folder: string;
  readonly repository: string;
  /** The folder of the archive of the cluster `main`. */
  readonly archive: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Runs scripts/setup_archiving.ts as the repository's owner. */
  setup(
    argv: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<Outcome & { readonly json: Record<string, unknown> }>;
  /** Runs any command as the repository's owner. */
  run(
    name: CommandName,
    argv: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<Outcome>;
  /**
   * Runs scripts/backup_incremental.ts, which must succeed. All WAL stays: tests compare with it.
   *
   * @returns what it says as JSON
   */
  moveForward(base: 'now' | 'none', environment?: Readonly<Record<string, string>>): Promise<Moved>;
  close(): Promise<void>;
}

/** Waits for a condition, for at most two minutes. */
export async function waitFor(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1200; tries += 1) {
    if (await condition()) return;
    await sleep(100);
  }
  throw new Error(`it did not come to pass: ${what}`);
}

async function own(path: string, user: OsUser | null): Promise<void> {
  if (user !== null) await chown(path, user.uid, user.gid);
}

/** Opens one. @param settings lines of postgresql.conf */
export async function openArchivingBench(
  settings: Readonly<Record<string, string>> = {},
  { walSegmentMb, repositoryName = '$(touch x) "repository"' }: ArchivingWishes = {},
): Promise<ArchivingBench> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-archiving-'));
  await chmod(folder, 0o755);
  // pg_ctl starts no server whose path holds a double quote.
  const odd = join(folder, "o'dd %p folder");
  await mkdir(odd, { mode: 0o755 });
  await chmod(odd, 0o755);
  const cluster = await startTestCluster({ directory: odd, settings, walSegmentMb });
  const repository = join(odd, repositoryName);
  await mkdir(repository, { mode: 0o700 });
  await own(repository, cluster.osUser);
  const bench = await openWorkbench(cluster, { BACKUP_DIR: repository, CLUSTER: 'main cluster' });
  await bench.remove();
  const { environment } = bench;
  const run: ArchivingBench['run'] = (name, argv, more = {}) => {
    const options = { environment: { ...environment, ...more } };
    // Root becomes the repository's owner, for good: in a process of its own.
    if (cluster.osUser === null) return runCommand(name, argv, options);
    return outcomeOf(spawnCommand(name, argv, options));
  };

  return {
    cluster,
    folder,
    repository,
    archive: join(repository, 'incremental/main%20cluster/wal'),
    environment,
    run,
    async setup(argv, more = {}) {
      const outcome = await run('setup_archiving', [...argv, '--json'], more);
      return { ...outcome, json: outcome.stdout === '' ? {} : jsonOf(outcome) };
    },
    async moveForward(base, more = {}) {
      const argv = ['--base', base, '--no-retention', '--json'];
      const outcome = await run('backup_incremental', argv, more);
      if (outcome.status !== 0) throw new Error(outcome.stderr);
      return jsonOf<Moved>(outcome);
    },
    async close() {
      await cluster.stop({ immediate: true });
      await rm(folder, { recursive: true, force: true });
    },
  };
}
