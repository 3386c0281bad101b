/** Saves the configuration of a server that lies outside its data directory, as on Debian. */

import { open } from 'node:fs/promises';
import { basename, dirname, relative } from 'node:path';
import type { BaseConfigFile } from '../../core/base_manifest.ts';
import type { ManifestWarning } from '../../core/manifest.ts';
import { printable } from '../../core/printable.ts';
import {
  type ConfigPlaces,
  readConfigPlaces,
  readServerFile,
  type ServerConfigFile,
} from '../../postgres/cluster_facts.ts';
import { type ConnectionParameters, isSocket } from '../../postgres/connection.ts';
import type { Queryable } from '../../postgres/query.ts';

/** A configuration file with its bytes. */
export interface SavedConfig {
  readonly entry: BaseConfigFile;
  readonly bytes: Buffer;
}

/** What was saved, and what could not be. */
export interface ConfigResult {
  readonly saved: readonly SavedConfig[];
  readonly warnings: readonly ManifestWarning[];
}

/** No configuration file is larger: a larger one is told, not saved. */
const configBytesMax = 16 * 1024 * 1024;

function isBelow(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith('../');
}

/** Through the Unix socket the server is on this machine, and its files may be ours to read. */
async function readLocalFile(path: string): Promise<Buffer | null> {
  try {
    const handle = await open(path);
    try {
      const buffer = Buffer.alloc(configBytesMax + 1);
      let bytes = 0;
      for (;;) {
        const { bytesRead } = await handle.read(buffer, bytes, buffer.length - bytes);
        bytes += bytesRead;
        if (bytesRead === 0 || bytes === buffer.length) return buffer.subarray(0, bytes);
      }
    } finally {
      await handle.close();
    }
  } catch {
    return null;
  }
}

/** `config_postgresql.conf`, and `config_2_…` where two files have one name. */
function fileName(path: string, taken: ReadonlySet<string>): string {
  const plain = basename(path)
    .replaceAll(/[^A-Za-z0-9_.-]/g, '_')
    .slice(0, 80);
  let name = `config_${plain}`;
  for (let number = 2; taken.has(name); number += 1) name = `config_${number}_${plain}`;
  return name;
}

const notSaved = (message: string): ManifestWarning => ({ code: 'config-not-saved', message });

async function saveOne(
  client: Queryable,
  parameters: ConnectionParameters,
  file: ServerConfigFile,
): Promise<Buffer | string> {
  const path = printable(file.path);
  const bytes =
    (await readServerFile(client, file.path, configBytesMax + 1)) ??
    (isSocket(parameters.host) ? await readLocalFile(file.path) : null);
  if (bytes === null) {
    return (
      `${path}, which is not in the data directory, was not saved: role ` +
      `${JSON.stringify(parameters.user)} may not read it (GRANT pg_read_server_files, and ` +
      'EXECUTE on pg_read_binary_file(text, bigint, bigint))'
    );
  }
  if (bytes.length > configBytesMax) return `${path} was not saved: it is larger than 16 MiB`;
  return bytes;
}

function outside({ files, dataDirectory }: ConfigPlaces): ServerConfigFile[] {
  return files.filter(({ path }) => !isBelow(path, dataDirectory));
}

/**
 * Reads the configuration files that a base backup does not hold: through the server where the
 * role may, else from this machine where it is the server's. What cannot be read is a warning.
 *
 * @throws HoldfastError when the session breaks
 */
export async function readConfig(
  client: Queryable,
  parameters: ConnectionParameters,
): Promise<ConfigResult> {
  const places = await readConfigPlaces(client);
  if (places === null) {
    const role = JSON.stringify(parameters.user);
    const message =
      `whether the server has configuration files outside its data directory is not known, and ` +
      `none was saved: role ${role} may not see it (GRANT pg_read_all_settings)`;
    return { saved: [], warnings: [notSaved(message)] };
  }
  const main = places.files.find(({ setting }) => setting === 'config_file')?.path;
  const above = dirname(main ?? places.dataDirectory);
  const taken = new Set<string>();
  const saved: SavedConfig[] = [];
  const warnings: ManifestWarning[] = [];
  for (const file of outside(places)) {
    const read = await saveOne(client, parameters, file);
    if (typeof read === 'string') {
      warnings.push(notSaved(read));
      continue;
    }
    const name = fileName(file.path, taken);
    taken.add(name);
    const path = relative(above, file.path);
    saved.push({ entry: { file: name, setting: file.setting, path }, bytes: read });
  }
  return { saved, warnings };
}
