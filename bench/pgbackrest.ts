/** pgBackRest, the peer of the physical side, with nothing of this machine's configuration. */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuote } from '../src/core/quote.ts';
import type { ScratchCluster } from '../src/postgres/cluster.ts';
import { findProgram } from '../src/process/find_program.ts';
import { baseLevel, walLevel } from './codec.ts';
import { timeScript } from './measure.ts';
import type { Scene } from './scene.ts';
import { asServerUser, makeServerFolder } from './server_user.ts';

/** pgBackRest with a repository and a configuration of its own. */
export interface PgBackRest {
  /** A call of it as words for a shell, as the user of the server. */
  call(...args: readonly string[]): string;
  /** The archive_command. @param isAsync with a process that looks ahead */
  archiveCommand(isAsync: boolean): string;
  /** The restore_command, with a process that looks ahead. @param pgdata that recovers */
  restoreCommand(pgdata: string): string;
  /** An empty repository. */
  begin(): Promise<void>;
  /** Forgets what was fetched ahead. */
  forgetSpool(): Promise<void>;
  readonly repository: string;
}

/** Its configuration: the codec and the levels are ours, and nothing of this machine is read. */
function configuration(cluster: ScratchCluster, folder: string): string {
  const { dataDirectory, socketDirectory, port } = cluster;
  return [
    '[global]',
    `repo1-path=${join(folder, 'repo')}`,
    `log-path=${join(folder, 'log')}`,
    `lock-path=${join(folder, 'lock')}`,
    `spool-path=${join(folder, 'spool')}`,
    'log-level-console=error',
    'log-level-file=off',
    'compress-type=zst',
    `compress-level=${baseLevel}`,
    // Many small files in one: the fastest way that it has (2.39 and newer).
    'repo1-bundle=y',
    'repo1-retention-full=9',
    'start-fast=y',
    '[global:archive-push]',
    `compress-level=${walLevel}`,
    '[bench]',
    `pg1-path=${dataDirectory}`,
    `pg1-socket-path=${socketDirectory}`,
    `pg1-port=${port}`,
    'pg1-user=postgres',
    '',
  ].join('\n');
}

/**
 * Finds it and gives it a configuration.
 *
 * @param parent the folder in which everything of it lies
 * @returns `null` where it is not installed
 */
export async function openPgBackRest(
  scene: Scene,
  cluster: ScratchCluster,
  parent: string,
): Promise<PgBackRest | null> {
  const { environment, signal } = scene;
  const program = await findProgram('pgbackrest', environment);
  if (program === null) {
    scene.tell(
      'pgbackrest is not installed (Debian: apt-get install pgbackrest): its rows are left out',
    );
    return null;
  }
  const folder = await makeServerFolder(cluster, join(parent, 'pgbackrest'));
  const config = join(folder, 'pgbackrest.conf');
  await writeFile(config, configuration(cluster, folder), { mode: 0o644 });
  const words = [program, `--config=${config}`, '--stanza=bench'].map(shellQuote).join(' ');
  const asServer = asServerUser(cluster);
  const isAsync = '--archive-async --process-max=2';
  const renew = async (name: string) => {
    await rm(join(folder, name), { recursive: true, force: true });
    await makeServerFolder(cluster, join(folder, name));
  };
  const peer: PgBackRest = {
    repository: join(folder, 'repo'),
    call: (...args) => asServer([words, ...args.map(shellQuote)].join(' ')),
    archiveCommand: (asynchronous) =>
      `${words} ${asynchronous ? `${isAsync} ` : ''}archive-push "%p"`,
    restoreCommand: (pgdata) =>
      `${words} ${isAsync} --pg1-path=${shellQuote(pgdata)} archive-get %f "%p"`,
    forgetSpool: () => renew('spool'),
    async begin() {
      for (const name of ['repo', 'spool', 'lock', 'log']) await renew(name);
      await timeScript({ text: peer.call('stanza-create'), environment, signal });
    },
  };
  return peer;
}
