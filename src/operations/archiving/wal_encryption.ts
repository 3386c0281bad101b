/** How WAL is encrypted as it is archived: by which program, and for whom. */

import { join } from 'node:path';
import type { SegmentSuffix } from '../../core/wal_listing.ts';
import { encryptionArguments, encryptionFilter } from '../../pipeline/encrypt.ts';
import type { Filter } from '../../pipeline/filter.ts';
import { newEncryption } from '../../pipeline/new_backup_filters.ts';
import { type Context, flowContext } from '../context.ts';

/** How segments are encrypted. */
export interface WalEncryption {
  /** What their stored names end in. */
  readonly suffix: SegmentSuffix;
  readonly filter: Filter;
  /** The same as words of a command, which PATH finds: from stdin to stdout. */
  readonly command: readonly string[];
}

/** Where gpg looks for keys, whatever the environment of the server that calls it. */
function keyring({ config, environment }: Context): string | null {
  const { HOME: home, GNUPGHOME: own } = environment;
  return config.settings.gpg_home ?? own ?? (home === undefined ? null : join(home, '.gnupg'));
}

/**
 * As the settings say; `null`: not at all.
 *
 * @throws HoldfastError CONFIG_INVALID when nobody is named, or something that is no key
 */
export async function walEncryption(context: Context): Promise<WalEncryption | null> {
  const { config, environment } = context;
  const spec = await newEncryption(config.settings, environment);
  if (spec === null) return null;
  const { identityFile = null } = flowContext(context).keys ?? {};
  const keys = { identityFile, gpgHome: keyring(context) };
  return {
    suffix: `.zst.${spec.name}`,
    filter: encryptionFilter(spec),
    command: [spec.name, ...encryptionArguments(spec, { keys })],
  };
}
