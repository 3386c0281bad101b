/** The manifest of a base backup as bytes, checked on writing and on reading. */

import {
  type BaseManifest,
  baseManifestFormat,
  baseManifestSchema,
  serverManifestName,
} from './base_manifest.ts';
import { HoldfastError } from './errors.ts';
import { parseBaseLabel } from './label.ts';
import { isSegmentSize, parseLsn } from './lsn.ts';
import { manifestName, sumsName } from './manifest.ts';
import { encryptionOf } from './recipients.ts';
import { documentBytes, documentReader } from './validate.ts';

const readDocument = documentReader(baseManifestSchema, {
  name: 'the manifest',
  format: baseManifestFormat,
  code: 'MANIFEST_INVALID',
});

function fileContradiction({ files, tablespaces, config }: BaseManifest): string | null {
  const names = files.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return `the file ${twice} is listed twice`;
  const own = names.find((name) => name === manifestName || name === sumsName);
  if (own !== undefined) return `${own} is listed as a file`;
  const ofRole = (role: string) =>
    files.filter((file) => file.role === role).map(({ name }) => name);
  const bases = ofRole('base').length;
  if (bases !== 1) return `${bases} data directories are listed instead of one`;
  const [listed, ...more] = files.filter(({ role }) => role === 'backup_manifest');
  const suffix = encryptionOf(listed?.filters ?? [])?.name;
  const expected = `${serverManifestName}${suffix === undefined ? '' : `.${suffix}`}`;
  if (listed?.name !== expected || more.length > 0) {
    return `${serverManifestName} is not listed as what it is`;
  }
  const same = (role: string, listed: readonly string[]) =>
    ofRole(role).toSorted().join() === listed.toSorted().join();
  if (
    !same(
      'tablespace',
      tablespaces.map(({ file }) => file),
    )
  ) {
    return 'the tablespaces are not those of its files';
  }
  if (
    !same(
      'config',
      config.map(({ file }) => file),
    )
  ) {
    return 'the configuration files are not those of its files';
  }
  return null;
}

/** What the schema cannot say. */
function contradiction(manifest: BaseManifest): string | null {
  const { kind, parent } = manifest;
  const label = parseBaseLabel(manifest.label);
  if (label === null) return `${manifest.label} is not a label`;
  if (label.kind !== kind) return `the label ${manifest.label} is not of its kind`;
  if ((kind === 'incr') !== (parent !== null)) {
    return kind === 'incr' ? 'an incremental one needs a parent' : 'a whole one has a parent';
  }
  if (parent !== null && parent >= manifest.label) return `its parent ${parent} is no older one`;
  if (!isSegmentSize(manifest.server.wal_segment_bytes)) {
    return `${manifest.server.wal_segment_bytes} bytes is no size of a WAL segment`;
  }
  const [start, stop] = [parseLsn(manifest.start_lsn), parseLsn(manifest.stop_lsn)];
  if (start === null || stop === null || stop < start) {
    return `it ends at ${manifest.stop_lsn}, before it begins at ${manifest.start_lsn}`;
  }
  return fileContradiction(manifest);
}

/**
 * Reads the manifest of a base backup.
 *
 * @throws HoldfastError MANIFEST_INVALID when it is no JSON, of a newer format, does not fit the
 *   schema, or contradicts itself
 */
export function parseBaseManifest(bytes: Uint8Array): BaseManifest {
  const manifest = readDocument(bytes);
  const problem = contradiction(manifest);
  if (problem === null) return manifest;
  throw new HoldfastError('MANIFEST_INVALID', `the manifest is not valid: ${problem}`);
}

/**
 * The bytes of a manifest; the mirror of {@link parseBaseManifest}, which would take them.
 *
 * @throws HoldfastError MANIFEST_INVALID like its mirror, before anything is written
 */
export function serializeBaseManifest(manifest: BaseManifest): Uint8Array {
  const bytes = documentBytes(manifest);
  parseBaseManifest(bytes);
  return bytes;
}

/** The text of docs/schemas/base_manifest.schema.json: the same schema as JSON Schema (draft 7). */
export function baseManifestSchemaText(): string {
  const dialect = { $schema: 'http://json-schema.org/draft-07/schema#' };
  return `${JSON.stringify({ ...dialect, ...baseManifestSchema }, null, 2)}\n`;
}
