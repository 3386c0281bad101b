/** The list of a large repository, read for the first time and again. */

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { timeScript } from './measure.ts';
import type { Group } from './run_group.ts';
import type { Scene } from './scene.ts';

const backupsAtScale1 = 10_000;
const databases = 10;

/** A repository of its own: backups are measured in an empty one. */
function repositoryOf(scene: Scene): string {
  return join(scene.folder, 'listed');
}

/** The manifest of a real backup of a small database, under many labels. */
async function fillRepository(scene: Scene, backups: number): Promise<void> {
  const { environment, folder, signal } = scene;
  await scene.sql('postgres', 'CREATE DATABASE listed');
  await scene.sql('listed', 'CREATE TABLE goods AS SELECT generate_series(1, 9) AS id');
  const told = join(folder, 'backup.json');
  const repository = repositoryOf(scene);
  const words = scene.ours('backup_full.ts', 'listed', '--json', '--backup-dir', repository);
  const backUp = `${words} > "$TOLD"`;
  await timeScript({ text: backUp, environment: { ...environment, TOLD: told }, signal });
  const result = JSON.parse(await readFile(told, 'utf8')) as { databases: { folder: string }[] };
  const real = join(repository, result.databases[0]?.folder ?? '');
  const manifest = JSON.parse(await readFile(join(real, 'manifest.json'), 'utf8'));
  for (let index = 0; index < backups; index += 1) {
    const startedAt = new Date(Date.UTC(2020, 0, 1) + index * 3_600_000).toISOString();
    const label = `${startedAt.slice(0, 19).replaceAll(/[-:]/g, '')}Z-daily-aaaa`;
    const database = `listed_${index % databases}`;
    const path = join(dirname(dirname(real)), database, label);
    await mkdir(path, { recursive: true });
    const own = { ...manifest, label, database, started_at: startedAt };
    await writeFile(join(path, 'manifest.json'), JSON.stringify(own));
  }
}

/** The group. @param scale 1 is ten thousand backups; more of them are not made */
export async function listGroup(scene: Scene, scale: number): Promise<Group> {
  const backups = Math.ceil(backupsAtScale1 * Math.min(1, scale));
  await fillRepository(scene, backups);
  const repository = repositoryOf(scene);
  const script = scene.ours('list_backups.ts', '--json', '--backup-dir', repository);
  const state = join(repository, 'state');
  const forget = () => rm(state, { recursive: true, force: true });
  const floor = `list_backups.ts, ${backups} backups`;
  return {
    title: 'List',
    floor,
    contenders: [
      { name: `${floor}, the first time`, script, isOurs: true, before: forget },
      { name: floor, script, isOurs: true },
    ],
  };
}
