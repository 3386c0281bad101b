/** The arguments of scripts/verify_backups.ts: read without loading what carries them out. */

import type { Command } from './command.ts';
import { storeOption } from './store_options.ts';

/** scripts/verify_backups.ts */
export const verifyBackups: Command = {
  name: 'verify_backups.ts',
  operands: '[label…]',
  summary:
    'Reads backups whole: every digest, SHA256SUMS and the manifest byte for byte, ' +
    'decompression to the end, the structure of the dump.',
  settings: ['identity', 'threads'],
  options: (parser) =>
    storeOption(parser, 'The copies in this store: local, s3, or a name under stores:')
      .option('all-stores', {
        type: 'boolean',
        describe: 'The copies in every store, each by itself',
      })
      .conflicts('store', 'all-stores')
      .conflicts('wal', 'all-stores')
      .option('latest', {
        type: 'string',
        requiresArg: true,
        describe: 'The latest backup of this database',
      })
      .option('all', { type: 'boolean', describe: 'Every backup of the repository' })
      .option('cluster', {
        type: 'string',
        requiresArg: true,
        describe: 'Only the backups of this cluster',
      })
      .option('quick', {
        type: 'boolean',
        describe: 'Only the digests of the stored bytes, no decompression',
      })
      .option('wal', {
        type: 'boolean',
        describe: 'The WAL archives: digests, headers, histories, gaps',
      })
      .option('deep', {
        type: 'boolean',
        describe: 'Base backups: pg_verifybackup on what is restored; --wal: pg_waldump too',
      }),
  examples: [
    ['--latest mastertrade', 'Verify the latest backup of a database'],
    ['--all', 'Verify every backup'],
    ['--latest mastertrade --all-stores', 'Verify its copies in every store'],
    ['--wal', 'Verify that all archived WAL can be replayed'],
  ],
  repository: 'need',
  event: 'verify',
  run: async (invocation) => {
    const { verifyCommand } = await import('./verify_backups.ts');
    return verifyCommand(invocation);
  },
};
