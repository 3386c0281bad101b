/** Puts restore.sh beside the dump: the backup restores with stock tools alone. */

import type { ManifestFile } from '../../core/manifest.ts';
import { restoreScriptName } from '../../core/manifest.ts';
import { encryptionOf } from '../../core/recipients.ts';
import { createMeasure } from '../../pipeline/measure.ts';
import type { FolderWriter } from '../../storage/storage.ts';
import type { Context } from '../context.ts';
import { renderRestoreScript, type ScriptFile } from '../restore_script.ts';
import type { Preparation } from './prepare_backup.ts';

function scriptFile(file: ManifestFile): ScriptFile {
  return {
    name: file.name,
    filters: file.filters.map(({ name }) => name),
    bytesStored: file.stored.bytes,
  };
}

/**
 * Renders the script for one backup and writes it.
 *
 * @param files the dump and the globals, as they were written
 */
export async function putRestoreScript(
  context: Context,
  prepared: Preparation,
  folder: FolderWriter,
  begun: { readonly label: string; readonly startedAt: Date },
  files: readonly [ManifestFile, ManifestFile],
): Promise<ManifestFile> {
  const { server, database, pgDump } = prepared;
  const [dump, globals] = files;
  const text = renderRestoreScript({
    label: begun.label,
    database: database.name,
    createdAt: begun.startedAt.toISOString(),
    serverVersion: server.version,
    serverVersionNum: server.version_num,
    dumpToolMajor: pgDump.major,
    toolVersion: context.toolVersion,
    databaseBytes: database.bytes,
    dump: scriptFile(dump),
    globals: scriptFile(globals),
    encryption: encryptionOf(dump.filters),
    properties: database.properties,
  });
  const bytes = Buffer.from(text, 'utf8');
  await folder.put(restoreScriptName, bytes);
  const measure = createMeasure();
  measure.update(bytes);
  const measured = measure.result();
  return {
    name: restoreScriptName,
    role: 'restore_script',
    filters: [],
    stored: measured,
    plain: measured,
  };
}
