/** The flags that say which store is meant. */

import type { Argv } from 'yargs';
import type { StoreChoice } from '../operations/store_choice.ts';
import type { Flags } from './command.ts';

/** Adds `--store`. @param describe what it does in this command */
export function storeOption(parser: Argv, describe: string): Argv {
  return parser.option('store', { type: 'string', requiresArg: true, describe });
}

/** Adds `--store` and `--from-cloud`, for what is restored. */
export function sourceStoreOptions(parser: Argv): Argv {
  return storeOption(parser, 'Only from this store: local, s3, or a name under stores:')
    .option('from-cloud', {
      type: 'boolean',
      describe: 'From the stores beside BACKUP_DIR, where they have it',
    })
    .conflicts('store', 'from-cloud');
}

/** What the flags say about stores. */
export function readStoreChoice(flags: Flags): StoreChoice {
  return {
    store: flags.store as string | undefined,
    fromCloud: flags['from-cloud'] === true,
  };
}
