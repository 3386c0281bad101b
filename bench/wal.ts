/** What archiving a segment of the WAL takes: plain shell, pgBackRest, and ours. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuote } from '../src/core/quote.ts';
import { archiveAll } from './archive_all.ts';
import { makeServerFolder, walLevel } from './physical.ts';
import type { Contender, Group, Measured } from './run_group.ts';
import type { Scene } from './scene.ts';
import { storedBytes } from './stored_bytes.ts';
import { openWalScene, type WalScene } from './wal_scene.ts';

const floor = `zstd -${walLevel}, fsync, rename`;
const plain = 'wal_push';
const peerSynchronous = 'pgbackrest archive-push';
const peerAsynchronous = 'pgbackrest archive-push, asynchronous, 2 processes';

interface Way {
  readonly name: string;
  readonly command: string;
  /** An empty archive. */
  readonly begin: () => Promise<void>;
  /** Where it lies. */
  readonly folder: () => Promise<string>;
  readonly measure?: () => Promise<Measured>;
}

function contender(wal: WalScene, way: Way): Contender {
  const { physical } = wal;
  return {
    name: way.name,
    script: way.measure ?? (() => archiveAll(wal)),
    async before() {
      await way.begin();
      await physical.archiveWith(way.command);
      await physical.prepare('sync');
    },
    bytes: async () => storedBytes(await way.folder()),
    after: () => physical.archiveWith('true'),
  };
}

/** A command of a shell that leaves its file in a folder of its own. */
function shellWay({ physical }: WalScene, name: string, command: (file: string) => string): Way {
  const folder = join(physical.folder, 'plain');
  return {
    name,
    command: command(`${shellQuote(folder)}/%f`),
    folder: async () => folder,
    async begin() {
      await rm(folder, { recursive: true, force: true });
      await makeServerFolder(physical.cluster, folder);
    },
  };
}

function peers({ physical }: WalScene): Way[] {
  const { pgBackRest } = physical;
  if (pgBackRest === null) return [];
  const folder = async () => join(pgBackRest.repository, 'archive');
  return [false, true].map((isAsync) => ({
    name: isAsync ? peerAsynchronous : peerSynchronous,
    command: pgBackRest.archiveCommand(isAsync),
    begin: pgBackRest.begin,
    folder,
  }));
}

function ours({ physical }: WalScene): Way[] {
  const folder = async () => join(await physical.ourFolder(), 'wal');
  const { ourArchiveCommand: command, forgetWal: begin } = physical;
  return [{ name: plain, command, begin, folder }];
}

/** The group; the segments are made first, on a server of its own. */
export async function walGroup(scene: Scene, scale: number): Promise<Group> {
  const wal = await openWalScene(scene, 'wal', scale);
  const { length } = wal.segments;
  const ways = [
    shellWay(wal, 'cp', (file) => `test ! -f ${file} && cp %p ${file}`),
    shellWay(
      wal,
      floor,
      (file) =>
        `zstd -${walLevel} --quiet --stdout %p > ${file}.tmp && sync ${file}.tmp && ` +
        `mv ${file}.tmp ${file}.zst`,
    ),
    ...peers(wal),
    ...ours(wal),
  ];
  return {
    title: `WAL, ${length} segments ready at once`,
    floor,
    contenders: ways.map((way) => contender(wal, way)),
    countsMachine: true,
    close: wal.close,
    goals: [{ contender: plain, of: floor, key: 'each', atMost: 1.1 }],
  };
}
