/** Restores of the same database: what people do, the floor, and ours. */

import { join } from 'node:path';
import { shellQuote } from '../src/core/quote.ts';
import { timeScript } from './measure.ts';
import type { Contender, Group } from './run_group.ts';
import type { Scene } from './scene.ts';

const target = 'bench_restored';
const drop = `DROP DATABASE IF EXISTS ${target}`;

/** A restore with PostgreSQL's own programs; the empty database is there already. */
function peer(scene: Scene, name: string, script: string): Contender {
  return {
    name,
    script,
    before: () => scene.sql('postgres', drop, `CREATE DATABASE ${target}`, 'CHECKPOINT'),
    after: () => scene.sql('postgres', drop),
  };
}

/** Ours creates the database, verifies every byte, compares and analyzes as well. */
function ours(scene: Scene, flags: readonly string[]): Contender {
  const args = ['--latest', 'bench', '--target-database', target, '--force', '--quiet', ...flags];
  return {
    name: `restore_backup.ts ${flags.join(' ')}`,
    script: scene.ours('restore_backup.ts', ...args),
    isOurs: true,
    before: () => scene.sql('postgres', drop, 'CHECKPOINT'),
    after: () => scene.sql('postgres', drop),
  };
}

/** The group; what is to be restored is written first. */
export async function restoreGroup(scene: Scene): Promise<Group> {
  const { environment, folder, signal } = scene;
  const file = (name: string) => shellQuote(join(folder, name));
  const [sql, dump, compressed] = [file('sql.gz'), file('plain.dump'), file('dump.zst')];
  const text = [
    `pg_dump --format=plain bench | gzip -6 > ${sql}`,
    `pg_dump --format=custom --compress=0 --file=${dump} bench`,
    `zstd -3 -T0 --quiet --force -o ${compressed} ${dump}`,
    scene.ours('backup_full.ts', 'bench', '--quiet'),
  ].join('\n');
  await timeScript({ text, environment, signal });
  const floor = 'pg_restore -j2, uncompressed custom file';
  const into = `--exit-on-error --dbname=${target}`;
  return {
    title: 'Restore',
    floor,
    contenders: [
      peer(scene, 'gunzip | psql', `gunzip < ${sql} | psql --quiet --no-psqlrc ${target}`),
      peer(scene, 'zstd -dc | pg_restore', `zstd -dc ${compressed} | pg_restore ${into}`),
      peer(scene, floor, `pg_restore --jobs=2 ${into} ${dump}`),
      ours(scene, ['--jobs', '1']),
      ours(scene, ['--jobs', '2']),
      ours(scene, ['--jobs', '2', '--compare', 'content']),
    ],
  };
}
