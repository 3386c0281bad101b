/** The memory that our own process takes, for a database and for one four times as large. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { timeScript } from './measure.ts';
import type { Contender, Group } from './run_group.ts';
import type { Scene } from './scene.ts';

const larger = 4;

/** A backup and its restore; the backup stays for the restore. */
function contenders(scene: Scene, database: string, what: string): Contender[] {
  const target = `${database}_restored`;
  const drop = () => scene.sql('postgres', `DROP DATABASE IF EXISTS ${target}`);
  const restore = ['--latest', database, '--target-database', target, '--force', '--quiet'];
  return [
    {
      name: `backup_full.ts, ${what}`,
      script: scene.ours('backup_full.ts', database, '--type', 'manual', '--quiet'),
      isOurs: true,
    },
    {
      name: `restore_backup.ts --jobs 2, ${what}`,
      script: scene.ours('restore_backup.ts', ...restore, '--jobs', '2'),
      isOurs: true,
      before: drop,
      after: drop,
    },
  ];
}

/** The group; makes the larger database. */
export async function memoryGroup(scene: Scene, scale: number): Promise<Group> {
  await rm(join(scene.folder, 'repository'), { recursive: true, force: true });
  await scene.generate('bench_large', scale * larger);
  // Once before it counts: a repository is begun, code is compiled and cached.
  const text = scene.ours('backup_full.ts', 'bench', '--quiet');
  await timeScript({ text, environment: scene.environment, signal: scene.signal });
  return {
    title: 'Memory',
    floor: `backup_full.ts, scale ${scale}`,
    contenders: [
      ...contenders(scene, 'bench', `scale ${scale}`),
      ...contenders(scene, 'bench_large', `scale ${scale * larger}`),
    ],
  };
}
