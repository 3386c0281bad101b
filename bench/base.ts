/** Base backups of a whole cluster and their restore: the floor, pgBackRest, and ours. */

import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuote } from '../src/core/quote.ts';
import { baseLevel, threads } from './codec.ts';
import { openPhysical, type Physical } from './physical.ts';
import type { Contender, Group } from './run_group.ts';
import type { Scene } from './scene.ts';
import { makeServerFolder } from './server_user.ts';
import { storedBytes } from './stored_bytes.ts';

const stream = 'pg_basebackup --format=tar --pgdata=- --wal-method=fetch --checkpoint=fast';
const compressed = `${stream} --compress=client-zstd:level=${baseLevel},workers=${threads}`;
const floorOfBackup = `pg_basebackup, client-zstd:${baseLevel}, workers=${threads}`;
const ourBackup = 'backup_incremental.ts --base now';
const floorOfRestore = 'zstd -dc | tar --extract, sync';
const ourRestore = 'restore_pitr.ts';

const peerName = (what: string, processes: number) =>
  `pgbackrest ${what}, ${processes === 1 ? 'one process' : `${processes} processes`}`;

/** Nothing that a run before has written is on its way to the disk. */
const settle = 'sync';

function peerBackup(physical: Physical, processes: number): Contender[] {
  const { pgBackRest } = physical;
  if (pgBackRest === null) return [];
  return [
    {
      name: peerName('backup', processes),
      script: pgBackRest.call('--type=full', `--process-max=${processes}`, 'backup'),
      async before() {
        await physical.archiveWith('true');
        await pgBackRest.begin();
        await physical.archiveWith(pgBackRest.archiveCommand(true));
        await physical.prepare(settle);
      },
      bytes: () => storedBytes(join(pgBackRest.repository, 'backup')),
      after: () => physical.archiveWith('true'),
    },
  ];
}

function backups(physical: Physical): Contender[] {
  const { folder } = physical;
  const file = join(folder, 'base.tar.zst');
  const bases = async () => join(await physical.ourFolder(), 'base');
  return [
    { name: 'pg_basebackup > /dev/null', script: `${stream} > /dev/null` },
    {
      name: floorOfBackup,
      script: `${compressed} > ${shellQuote(file)}\nsync ${shellQuote(file)}`,
      before: () => physical.prepare(settle),
      bytes: async () => (await stat(file)).size,
    },
    ...peerBackup(physical, 1),
    ...peerBackup(physical, threads),
    {
      name: ourBackup,
      script: physical.ours('backup_incremental.ts', '--base', 'now', '--quiet'),
      isOurs: true,
      async before() {
        await rm(await bases(), { recursive: true, force: true });
        await physical.forgetWal();
        await physical.archiveWith(physical.ourArchiveCommand);
        await physical.prepare(settle);
      },
      bytes: async () => storedBytes(await bases()),
      after: () => physical.archiveWith('true'),
    },
  ];
}

/** The group of the backups. */
export async function baseGroup(scene: Scene): Promise<Group> {
  const physical = await openPhysical(scene, scene.cluster, 'base');
  const peer = peerName('backup', threads);
  return {
    title: 'Base backup',
    floor: floorOfBackup,
    contenders: backups(physical),
    environment: physical.environment,
    goals: [{ contender: ourBackup, of: peer, key: 'wall', atMost: 0.7 }],
  };
}

/** An empty folder each time, and what lies in it is safe on the disk at the end. */
function restore(
  physical: Physical,
  contender: Pick<Contender, 'name' | 'isOurs'> & {
    readonly script: (pgdata: string) => string;
  },
): Contender {
  const pgdata = join(physical.folder, 'restored');
  const remove = () => rm(pgdata, { recursive: true, force: true });
  return {
    ...contender,
    script: contender.script(pgdata),
    async before() {
      await remove();
      await makeServerFolder(physical.cluster, pgdata);
      await physical.prepare(`chmod 700 ${shellQuote(pgdata)}\n${settle}`);
    },
    after: remove,
  };
}

function restores(physical: Physical): Contender[] {
  const { asServer, pgBackRest } = physical;
  const file = shellQuote(join(physical.folder, 'base.tar.zst'));
  const peers = pgBackRest === null ? [] : [1, threads];
  return [
    restore(physical, {
      name: floorOfRestore,
      script: (pgdata) =>
        `zstd -dc ${file} | ${asServer(`tar --extract --directory=${shellQuote(pgdata)}`)}\n` +
        `sync --file-system ${shellQuote(pgdata)}`,
    }),
    ...peers.map((processes) =>
      restore(physical, {
        name: peerName('restore', processes),
        script: (pgdata) =>
          pgBackRest?.call(`--process-max=${processes}`, `--pg1-path=${pgdata}`, 'restore') ?? '',
      }),
    ),
    restore(physical, {
      name: ourRestore,
      isOurs: true,
      script: (pgdata) =>
        physical.ours('restore_pitr.ts', '--pgdata', pgdata, '--target-immediate', '--quiet'),
    }),
  ];
}

/** The group of the restores; what is restored is written before the first round. */
export async function baseRestoreGroup(scene: Scene): Promise<Group> {
  const physical = await openPhysical(scene, scene.cluster, 'base_restore');
  const { pgBackRest } = physical;
  const file = shellQuote(join(physical.folder, 'base.tar.zst'));
  return {
    title: 'Base restore',
    floor: floorOfRestore,
    contenders: restores(physical),
    environment: physical.environment,
    async prepare() {
      await physical.archiveWith(physical.ourArchiveCommand);
      await physical.prepare(physical.ours('backup_incremental.ts', '--base', 'now', '--quiet'));
      await physical.archiveWith('true');
      await physical.prepare(`${compressed} > ${file}`);
      if (pgBackRest === null) return;
      await pgBackRest.begin();
      await physical.archiveWith(pgBackRest.archiveCommand(true));
      await physical.prepare(pgBackRest.call('--type=full', `--process-max=${threads}`, 'backup'));
      await physical.archiveWith('true');
    },
    goals: [
      { contender: ourRestore, of: peerName('restore', 1), key: 'wall', atMost: 0.9 },
      { contender: ourRestore, of: peerName('restore', threads), key: 'wall', atMost: 1.2 },
    ],
  };
}
