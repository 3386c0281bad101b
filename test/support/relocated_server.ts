/**
 * A PostgreSQL server with an extension of our own, without writing into the system's folders:
 * PostgreSQL finds its other files relative to its own program (manual, "Installation Procedure":
 * an installation can be moved as a whole), so a copied program with links around it will do.
 */

import { access, copyFile, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { installedServers } from './cluster.ts';

/** An extension whose tables and sequence belong to the user's data (pg_extension_config_dump). */
const extension = {
  'holdfast_config.control': "default_version = '1.0'\nrelocatable = false\nschema = public\n",
  'holdfast_config--1.0.sql': `
    CREATE TABLE config_all (key text PRIMARY KEY, value text);
    CREATE TABLE config_own (key text PRIMARY KEY, value text, builtin boolean DEFAULT false);
    CREATE TABLE config_never (key text);
    CREATE SEQUENCE config_number;
    INSERT INTO config_own VALUES ('version', '1', true), ('colour', 'blue', true);
    INSERT INTO config_never VALUES ('made by the extension');
    SELECT pg_catalog.pg_extension_config_dump('config_all', '');
    SELECT pg_catalog.pg_extension_config_dump('config_own', 'WHERE NOT builtin');
    SELECT pg_catalog.pg_extension_config_dump('config_number', '');
  `,
} as const;

/** Where the packages put the files that go with a folder of programs. */
async function shareOf(binDirectory: string, major: number): Promise<string> {
  const version = dirname(binDirectory);
  const folders = [`/usr/share/postgresql/${major}`, `${version}/share/postgresql`];
  for (const folder of [...folders, `${version}/share`]) {
    const found = await access(join(folder, 'extension')).then(
      () => true,
      () => false,
    );
    if (found) return folder;
  }
  throw new Error(`no extensions were found beside ${binDirectory}`);
}

async function linkAll(from: string, to: string, but: readonly string[] = []): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    if (!but.includes(name)) await symlink(join(from, name), join(to, name));
  }
}

/**
 * The newest installed server once more, with the extension `holdfast_config`.
 *
 * @param root a new folder that the server's user may enter
 * @returns the folder of its programs
 */
export async function relocateServer(root: string): Promise<string> {
  const server = (await installedServers()).at(-1);
  if (server === undefined) throw new Error('no server is installed');
  const { binDirectory, major } = server;
  const share = await shareOf(binDirectory, major);
  const moved = join(root, binDirectory);
  await mkdir(moved, { recursive: true });
  for (const program of ['initdb', 'pg_ctl', 'postgres']) {
    await copyFile(join(binDirectory, program), join(moved, program));
  }
  await symlink(join(dirname(binDirectory), 'lib'), join(dirname(moved), 'lib'));
  await linkAll(share, join(root, share), ['extension']);
  const extensions = join(root, share, 'extension');
  await linkAll(join(share, 'extension'), extensions);
  for (const [name, text] of Object.entries(extension)) {
    await writeFile(join(extensions, name), text);
  }
  return moved;
}
