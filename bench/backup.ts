/** Backups: what people have, the floor, the limit, and ours. */

import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuote } from '../src/core/quote.ts';
import type { Contender, Group } from './run_group.ts';
import type { Scene } from './scene.ts';
import { storedBytes } from './stored_bytes.ts';

/** A pipeline that writes one file, which is fsynced as a backup has to be. */
function toFile(scene: Scene, name: string, pipeline: string): Contender {
  const path = join(scene.folder, 'dump');
  const file = shellQuote(path);
  return {
    name,
    script: `${pipeline} > ${file}\nsync ${file}`,
    bytes: async () => (await stat(path)).size,
    after: () => rm(path, { force: true }),
  };
}

/** A backup of ours into an empty repository. */
function ours(scene: Scene, flags: readonly string[]): Contender {
  const repository = join(scene.folder, 'repository');
  return {
    name: ['backup_full.ts', ...flags].join(' '),
    script: scene.ours('backup_full.ts', 'bench', '--type', 'manual', '--quiet', ...flags),
    isOurs: true,
    bytes: () => storedBytes(join(repository, 'full')),
    after: () => rm(repository, { recursive: true, force: true }),
  };
}

/** The group. */
export function backupGroup(scene: Scene): Group {
  const floor = 'pg_dump -Fc -Z0 | zstd -3 -T0';
  const dump = 'pg_dump --format=custom';
  return {
    title: 'Backup',
    floor,
    contenders: [
      toFile(scene, 'pg_dump -Fp | gzip -6', 'pg_dump --format=plain bench | gzip -6'),
      toFile(scene, 'pg_dump -Fc', `${dump} bench`),
      toFile(scene, floor, `${dump} --compress=0 bench | zstd -3 -T0 --quiet`),
      { name: 'pg_dump -Fc -Z0 > /dev/null', script: `${dump} --compress=0 bench > /dev/null` },
      ours(scene, ['--no-table-digests', '--read-back', 'none']),
      ours(scene, []),
      ours(scene, ['--verify']),
    ],
  };
}
