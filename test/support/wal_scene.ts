/** A server that archives its WAL into a repository through the hook that users get. */

import { chmod, chown, mkdir, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { openRepository } from '../../src/catalog/repository.ts';
import { formatClaim } from '../../src/core/wal_claim.ts';
import {
  archiveCommand,
  hookFile,
  hookPath,
  renderWalPush,
  writeHook,
} from '../../src/operations/archiving/wal_hooks.ts';
import { startTestCluster, type TestCluster, testEnvironment } from './cluster.ts';
import { until } from './fault.ts';
import { openWorkbench, type Workbench } from './workbench.ts';

export interface WalScene {
  readonly cluster: TestCluster;
  readonly bench: Workbench;
  /** The name of the cluster in the repository. */
  readonly name: string;
  /** The path of the archive. */
  readonly archive: string;
  /** Ends the current segment and waits until it is in the archive; gives its name. */
  switchSegment(): Promise<string>;
  /** Makes a standby of the server and promotes it: a new timeline. Waits for its history. */
  promote(): Promise<void>;
  /** Waits for a file of the archive. @param path within it */
  arrived(path: string): Promise<void>;
  close(): Promise<void>;
}

/** A cluster's name that nobody escapes for us. */
const clusterName = `main 'x" $(id) é`;

/** Opens a scene: everything from the first segment on is archived. */
export async function openWalScene(): Promise<WalScene> {
  const cluster = await startTestCluster({
    settings: { archive_mode: 'on', archive_command: 'false', wal_level: 'replica' },
  });
  const bench = await openWorkbench(cluster);
  const { repository } = bench;
  await openRepository(repository, { create: true, now: new Date() });
  const archive = join(repository, 'incremental/main%20%27x%22%20%24%28id%29%20%C3%A9/wal');
  const hook = hookFile(repository, clusterName, 'wal_push');
  const [row] = await cluster.sql('SELECT system_identifier::text AS id FROM pg_control_system()');
  const claim = {
    system_identifier: String(row?.id),
    host: hostname(),
    data_directory: await realpath(cluster.dataDirectory),
    claimed_at: new Date().toISOString(),
    claim_id: 'scene',
  };
  await mkdir(archive, { recursive: true });
  await writeFile(join(archive, 'claim.json'), `${formatClaim(claim)}\n`);
  const markers = join(repository, 'state/wal_ship/scene');
  const facts = { archive, markers, claim, segmentBytes: 16 * 1024 * 1024, compressionLevel: 1 };
  await writeHook(hook, renderWalPush({ ...facts, path: await hookPath(testEnvironment) }));
  await giveTo(cluster, repository, [archive, join(archive, 'claim.json'), hook]);
  await cluster.sql([
    `ALTER SYSTEM SET archive_command = '${archiveCommand(hook).replaceAll("'", "''")}'`,
    'SELECT pg_reload_conf()',
  ]);

  async function arrived(path: string): Promise<void> {
    const file = join(archive, path);
    await until(
      `${path} in the archive`,
      async () =>
        (await readdir(dirname(file)).catch((): string[] => [])).includes(basename(file)) || null,
      120_000,
    );
  }

  return {
    cluster,
    bench,
    name: clusterName,
    archive,
    arrived,
    async switchSegment() {
      const [{ name } = {}] = await cluster.sql('SELECT pg_walfile_name(pg_switch_wal()) AS name');
      const segment = String(name);
      await arrived(`${segment.slice(0, 8)}/${segment}.sha256`);
      return segment;
    },
    async promote() {
      const signal = join(cluster.dataDirectory, 'standby.signal');
      await writeFile(signal, '');
      if (cluster.osUser !== null) await chown(signal, cluster.osUser.uid, cluster.osUser.gid);
      await cluster.restart();
      await cluster.sql('SELECT pg_promote()');
      const [{ timeline } = {}] = await cluster.sql([
        'CHECKPOINT',
        'SELECT timeline_id AS timeline FROM pg_control_checkpoint()',
      ]);
      const id = Number(timeline).toString(16).toUpperCase().padStart(8, '0');
      await arrived(`${id}.history.sha256`);
    },
    async close() {
      await cluster.stop({ immediate: true });
      await bench.remove();
      await rm(repository, { recursive: true, force: true });
    },
  };
}

/** The server may have a user of its own, who passes the folders above and owns these. */
async function giveTo(
  { osUser }: TestCluster,
  repository: string,
  paths: readonly string[],
): Promise<void> {
  if (osUser === null) return;
  for (const path of paths) {
    await chown(path, osUser.uid, osUser.gid);
    for (let at = dirname(path); at.startsWith(repository); at = dirname(at)) {
      await chmod(at, 0o755);
    }
  }
}
