/** The manifest as bytes. What is checked when it is read is checked when it is written. */

import { HoldfastError } from './errors.ts';
import { parseLabel } from './label.ts';
import {
  type Manifest,
  manifestFormat,
  manifestName,
  manifestSchema,
  sumsName,
} from './manifest.ts';
import { documentBytes, documentReader } from './validate.ts';

const readDocument = documentReader(manifestSchema, {
  name: 'the manifest',
  format: manifestFormat,
  code: 'MANIFEST_INVALID',
});

/** What the schema cannot say. */
function contradiction(manifest: Manifest): string | null {
  const label = parseLabel(manifest.label);
  if (label === null) return `${manifest.label} is not a label`;
  if (label.tier !== manifest.tier) return `the label ${manifest.label} is not of its tier`;
  const names = manifest.files.map((file) => file.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return `the file ${twice} is listed twice`;
  const own = names.find((name) => name === manifestName || name === sumsName);
  if (own !== undefined) return `${own} is listed as a file`;
  const unproved = manifest.files.find((file) => file.plain === null && file.filters.length === 0);
  if (unproved !== undefined) return `nothing proves the plain bytes of ${unproved.name}`;
  const dumps = manifest.files.filter((file) => file.role === 'dump').length;
  if (dumps !== 1) return `${dumps} dumps are listed instead of one`;
  return null;
}

function requireConsistent(manifest: Manifest): Manifest {
  const problem = contradiction(manifest);
  if (problem === null) return manifest;
  throw new HoldfastError('MANIFEST_INVALID', `the manifest is not valid: ${problem}`);
}

/**
 * Reads a manifest.
 *
 * @throws HoldfastError MANIFEST_INVALID when it is no JSON, of a newer format, does not fit the
 *   schema, or contradicts itself
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  return requireConsistent(readDocument(bytes));
}

/**
 * The bytes of a manifest; the mirror of {@link parseManifest}, which would take them.
 *
 * @throws HoldfastError MANIFEST_INVALID like its mirror, before anything is written
 */
export function serializeManifest(manifest: Manifest): Uint8Array {
  const bytes = documentBytes(manifest);
  parseManifest(bytes);
  return bytes;
}

/** The text of docs/schemas/manifest.schema.json: the same schema as JSON Schema (draft 7). */
export function manifestSchemaText(): string {
  const dialect = { $schema: 'http://json-schema.org/draft-07/schema#' };
  return `${JSON.stringify({ ...dialect, ...manifestSchema }, null, 2)}\n`;
}
