/** The arguments of scripts/prune_backups.ts: read without loading what carries them out. */

import type { Command } from './command.ts';
import { storeOption } from './store_options.ts';

/** scripts/prune_backups.ts */
export const pruneBackups: Command = {
  name: 'prune_backups.ts',
  operands: '[database]',
  summary:
    'Applies the retention: removes the backups and the WAL that it does not keep, and what ' +
    'killed runs have left. It says first what goes and what stays, and why.',
  settings: [],
  options: (parser) =>
    storeOption(parser, 'Only what lies in this store: local, s3, or a name under stores:')
      .option('dry-run', {
        type: 'boolean',
        describe: 'Say of every backup whether it is kept and why, and stop',
      })
      .option('yes', { type: 'boolean', describe: 'Do not ask' })
      .option('force', {
        type: 'boolean',
        describe: 'Also carry out what a guard stops; it still asks without --yes',
      })
      .option('cluster', {
        type: 'string',
        requiresArg: true,
        describe: 'Only the backups, base backups and WAL of this cluster',
      }),
  examples: [
    ['--dry-run', 'See what would go, and why'],
    ['--yes', 'Apply the retention from cron'],
    ['mastertrade', 'Apply it to one database, after asking'],
  ],
  repository: 'need',
  event: 'prune',
  run: async (invocation) => {
    const { pruneCommand } = await import('./prune_backups.ts');
    return pruneCommand(invocation);
  },
};
