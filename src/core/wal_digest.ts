/**
 * The digests beside a file of a WAL archive, in sha256sum's own format: of the plain bytes, under
 * the name that PostgreSQL gives the file; of an encrypted one also of the stored bytes, under the
 * name of the stored file, so that whoever has no key can verify it: `sha256sum --check` takes that
 * line as it is.
 */

import { HoldfastError } from './errors.ts';
import { formatSums, parseSums } from './sums.ts';

/** SHA-256 in lower-case hexadecimal. */
export interface WalDigests {
  readonly plain: string;
  /** Of the stored bytes; `null` where the plain bytes can be read without a key. */
  readonly stored: string | null;
}

/**
 * The digests as text. {@link parseDigests} is its mirror.
 *
 * @param name of the file, as PostgreSQL calls it
 * @param storedName of the stored file, where that is encrypted
 */
export function formatDigests(name: string, storedName: string, digests: WalDigests): string {
  const { plain, stored } = digests;
  const second = stored === null ? [] : [{ name: storedName, sha256: stored }];
  return formatSums([{ name, sha256: plain }, ...second]);
}

/**
 * Reads the digests of a file.
 *
 * @throws HoldfastError DAMAGED when the text is none of that file
 */
export function parseDigests(text: string, name: string): WalDigests {
  const [plain, stored, more] = parseSums(text);
  const isOfIt = stored === undefined || stored.name.startsWith(`${name}.`);
  if (plain?.name === name && isOfIt && more === undefined) {
    return { plain: plain.sha256, stored: stored?.sha256 ?? null };
  }
  throw new HoldfastError('DAMAGED', `there is no digest of ${name} in it`);
}
