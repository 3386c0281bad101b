/**
 * SHA256SUMS in sha256sum's own format (GNU coreutils manual, "cksum output modes"): 64 digits, two
 * spaces, the name; a line whose name holds a backslash, newline or carriage return begins with a
 * backslash and has these escaped. `sha256sum --check` reads it as it is.
 */

import { createHash } from 'node:crypto';
import { HoldfastError } from './errors.ts';
import { manifestName } from './manifest.ts';

/** One line of SHA256SUMS. */
export interface Sum {
  readonly name: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r' };
const unescapes: Readonly<Record<string, string>> = { '\\\\': '\\', '\\n': '\n', '\\r': '\r' };

/** The text of SHA256SUMS, in the order of the entries. */
export function formatSums(sums: readonly Sum[]): string {
  return sums
    .map(({ name, sha256 }) => {
      const escaped = name.replaceAll(/[\\\n\r]/g, (character) => escapes[character] ?? '');
      return `${escaped === name ? '' : '\\'}${sha256}  ${escaped}\n`;
    })
    .join('');
}

function parseLine(line: string): Sum | null {
  // With `s`: a name may hold what is the end of a line elsewhere (U+2028).
  const match = /^(\\?)([0-9a-f]{64}) {2}(.+)$/s.exec(line);
  if (match === null) return null;
  const [, mark, sha256 = '', escaped = ''] = match;
  if (mark === '') return /[\\\r]/.test(escaped) ? null : { name: escaped, sha256 };
  if (!/^(?:[^\\\r]|\\[\\nr])+$/.test(escaped) || !escaped.includes('\\')) return null;
  const name = escaped.replaceAll(/\\[\\nr]/g, (pair) => unescapes[pair] ?? '');
  return { name, sha256 };
}

/**
 * The mirror of {@link formatSums}: what it has not written is refused.
 *
 * @throws HoldfastError DAMAGED with the number of the line
 */
export function parseSums(text: string): Sum[] {
  const lines = text.split('\n');
  const sums: Sum[] = [];
  const names = new Set<string>();
  const end = lines.pop();
  for (const [index, line] of lines.entries()) {
    const sum = parseLine(line);
    if (sum === null) throw badLine(index + 1, 'is not a digest and a name');
    if (names.has(sum.name)) throw badLine(index + 1, 'names a file for the second time');
    names.add(sum.name);
    sums.push(sum);
  }
  if (end !== '') throw badLine(lines.length + 1, 'is cut');
  return sums;
}

function badLine(number: number, what: string): HoldfastError {
  return new HoldfastError('DAMAGED', `line ${number} of SHA256SUMS ${what}`);
}

/** SHA-256 in lower-case hexadecimal. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What SHA256SUMS needs of a manifest, of whatever kind of backup. */
export interface ListedFiles {
  readonly files: readonly {
    readonly name: string;
    readonly stored: { readonly sha256: string };
  }[];
}

/**
 * The SHA256SUMS that belongs to a manifest: its files in their order, then the manifest itself.
 *
 * @param manifestBytes the manifest as it is or will be stored
 */
export function sumsOf(manifest: ListedFiles, manifestBytes: Uint8Array): string {
  return formatSums([
    ...manifest.files.map(({ name, stored }) => ({ name, sha256: stored.sha256 })),
    { name: manifestName, sha256: sha256Of(manifestBytes) },
  ]);
}
