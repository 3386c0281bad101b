/** What taking archived WAL back takes while a server recovers: plain shell, pgBackRest, ours. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuote } from '../src/core/quote.ts';
import {
  hookPath,
  recoveryEndCommand,
  renderWalFetch,
  restoreCommand,
  writeHook,
} from '../src/operations/archiving/wal_hooks.ts';
import { settingLines } from '../src/postgres/setting_lines.ts';
import { archiveAll } from './archive_all.ts';
import { threads, walLevel } from './codec.ts';
import type { Contender, Group } from './run_group.ts';
import type { Scene } from './scene.ts';
import { makeServerFolder } from './server_user.ts';
import { openWalScene, type WalScene } from './wal_scene.ts';

const floor = 'zstd -dc';
const ours = 'wal_fetch';
const peer = 'pgbackrest archive-get, asynchronous, 2 processes';

interface Way {
  readonly name: string;
  readonly command: string;
  readonly end?: string;
  /** Fills the archive, before anything is measured. */
  readonly fill: () => Promise<void>;
  /** Forgets what a run before has fetched ahead. */
  readonly begin?: () => Promise<void>;
}

/** Recovers to the end of the archive and dies there, before a server would open. */
function recoveryOf(wal: WalScene, way: Way): Contender {
  const { physical, copy, segments } = wal;
  const { cluster, asServer } = physical;
  const pgdata = join(physical.folder, 'pgdata');
  const reached = join(physical.folder, 'pgdata', 'reached');
  const stop = 'touch reached; kill -s QUIT "$(head -n 1 postmaster.pid)"';
  const settings = settingLines({
    archive_mode: 'off',
    hot_standby: 'off',
    // The server that made the WAL runs on.
    unix_socket_directories: '.',
    restore_command: way.command,
    recovery_end_command: way.end === undefined ? stop : `${way.end}; ${stop}`,
  });
  const whole = `restored log file "${segments.at(-1)}" from archive`;
  const log = shellQuote(join(physical.folder, 'recovery.log'));
  const postgres = shellQuote(join(cluster.binDirectory, 'postgres'));
  const remove = `rm -rf ${shellQuote(pgdata)}`;
  return {
    name: way.name,
    script:
      `${asServer(`${postgres} -D ${shellQuote(pgdata)}`)} >${log} 2>&1 || :\n` +
      `test -e ${shellQuote(reached)} && grep --quiet ${shellQuote(whole)} ${log} || ` +
      `{ cat ${log} >&2; exit 1; }`,
    async before() {
      await way.begin?.();
      await physical.prepare(
        `${remove}\n${asServer(`cp -a ${shellQuote(copy)} ${shellQuote(pgdata)}`)}`,
      );
      await writeFile(join(pgdata, 'recovery.signal'), '');
      await writeFile(join(pgdata, 'postgresql.auto.conf'), settings);
      await physical.prepare('sync');
    },
    after: () => physical.prepare(remove),
  };
}

/** Every segment compressed by itself into a folder. */
async function plainWay({ physical, segments }: WalScene): Promise<Way> {
  const folder = await makeServerFolder(physical.cluster, join(physical.folder, 'plain'));
  const from = shellQuote(join(physical.cluster.dataDirectory, 'pg_wal'));
  const names = segments.join(' ');
  return {
    name: floor,
    command: `zstd -dc --quiet ${shellQuote(folder)}/%f.zst > %p`,
    fill: () =>
      physical.prepare(
        `cd ${from}\nzstd -${walLevel} --quiet --output-dir-flat ${shellQuote(folder)} ${names}\n` +
          `chmod --recursive a+rX ${shellQuote(folder)}`,
      ),
  };
}

async function ourWay(scene: Scene, wal: WalScene): Promise<Way> {
  const { physical } = wal;
  const { environment } = physical;
  const hook = join(physical.folder, 'wal_fetch');
  const folder = await physical.ourFolder();
  const text = renderWalFetch({
    archive: join(folder, 'wal'),
    systemIdentifier: await physical.systemIdentifier(),
    segmentBytes: 16 * 1024 * 1024,
    path: await hookPath({ ...scene.environment, ...environment }),
    jobs: threads,
  });
  await writeHook(hook, text);
  await physical.prepare(`chmod 755 ${shellQuote(hook)}`);
  return {
    name: ours,
    command: restoreCommand(hook),
    end: recoveryEndCommand(hook),
    async fill() {
      await physical.forgetWal();
      await physical.archiveWith(physical.ourArchiveCommand);
      await archiveAll(wal);
      await physical.archiveWith('true');
    },
  };
}

function peerWays(wal: WalScene): Way[] {
  const { physical } = wal;
  const { pgBackRest } = physical;
  if (pgBackRest === null) return [];
  return [
    {
      name: peer,
      command: pgBackRest.restoreCommand(join(physical.folder, 'pgdata')),
      async fill() {
        await pgBackRest.begin();
        await physical.archiveWith(pgBackRest.archiveCommand(true));
        await archiveAll(wal);
        await physical.archiveWith('true');
      },
      begin: pgBackRest.forgetSpool,
    },
  ];
}

/** The group; the segments are made and archived first, on a server of its own. */
export async function replayGroup(scene: Scene, scale: number): Promise<Group> {
  const wal = await openWalScene(scene, 'replay', scale);
  try {
    const ways = [await plainWay(wal), ...peerWays(wal), await ourWay(scene, wal)];
    return {
      title: `Recovery of ${wal.segments.length} segments`,
      floor,
      contenders: ways.map((way) => recoveryOf(wal, way)),
      countsMachine: true,
      environment: wal.physical.environment,
      async prepare() {
        for (const way of ways) await way.fill();
      },
      close: wal.close,
      goals: [{ contender: ours, of: peer, key: 'wall', atMost: 1.1 }],
    };
  } catch (error) {
    await wal.close();
    throw error;
  }
}
