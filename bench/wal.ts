/** What archiving a segment of the WAL takes: plain shell, pgBackRest, and ours. */

import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../src/core/errors.ts';
import { shellQuote } from '../src/core/quote.ts';
import { startChild } from '../src/process/stream.ts';
import { archiveAll } from './archive_all.ts';
import { threads, walLevel } from './codec.ts';
import type { Contender, Group, Measured } from './run_group.ts';
import type { Scene } from './scene.ts';
import { makeServerFolder } from './server_user.ts';
import { storedBytes } from './stored_bytes.ts';
import { openWalScene, type WalScene } from './wal_scene.ts';

const floor = `zstd -${walLevel}, fsync, rename`;
const plain = 'wal_push';
const withHelper = 'wal_push with wal_ship.ts';
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

/** Starts the helper as a service would. @returns what ends it and tells the memory it took */
async function startHelper(scene: Scene, { physical }: WalScene): Promise<() => Promise<number>> {
  const words = physical.ours('wal_ship.ts', '--jobs', String(threads));
  let onReady: (() => void) | undefined;
  const ready = new Promise<void>((resolve) => {
    onReady = resolve;
  });
  const child = startChild('/bin/bash', ['-c', `exec ${words}`], {
    environment: { ...scene.environment, ...physical.environment },
    signal: scene.signal,
    onStderrLine: (line) => {
      if (line.includes('storing WAL ahead')) onReady?.();
    },
  });
  child.stdin.end();
  child.stdout.resume();
  const ended = child.exited.then(({ status }) => {
    const text = `wal_ship.ts ended with ${status}: ${child.stderrTail()}`;
    throw new HoldfastError('CHILD_FAILED', text);
  });
  await Promise.race([ready, ended]);
  ended.catch(() => undefined);
  return async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
    await child.end();
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) * 1024;
  };
}

/** Ours, and how to end what it has started. */
interface Ours {
  readonly ways: readonly Way[];
  readonly end: () => Promise<void>;
}

function ours(scene: Scene, wal: WalScene): Ours {
  const { physical } = wal;
  const { ourArchiveCommand: command, forgetWal: begin } = physical;
  const folder = async () => join(await physical.ourFolder(), 'wal');
  const way = { command, begin, folder };
  let endHelper: (() => Promise<number>) | null = null;
  const end = async () => {
    const memory = (await endHelper?.()) ?? null;
    endHelper = null;
    return memory;
  };
  const helped: Way = {
    ...way,
    name: withHelper,
    async begin() {
      await begin();
      endHelper = await startHelper(scene, wal);
    },
    measure: async () => ({ ...(await archiveAll(wal)), memory: await end() }),
  };
  return { ways: [{ ...way, name: plain }, helped], end: async () => void (await end()) };
}

/** The group; the segments are made first, on a server of its own. */
export async function walGroup(scene: Scene, scale: number): Promise<Group> {
  const wal = await openWalScene(scene, 'wal', scale);
  const { length } = wal.segments;
  const own = ours(scene, wal);
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
    ...own.ways,
  ];
  return {
    title: `WAL, ${length} segments ready at once`,
    floor,
    contenders: ways.map((way) => contender(wal, way)),
    countsMachine: true,
    async close() {
      await own.end();
      await wal.close();
    },
    goals: [
      { contender: plain, of: floor, key: 'each', atMost: 1.1 },
      { contender: withHelper, of: peerAsynchronous, key: 'each', atMost: 1 },
      { contender: withHelper, of: peerAsynchronous, key: 'wall', atMost: 1 },
    ],
  };
}
