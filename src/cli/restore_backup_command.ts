/** The arguments of scripts/restore_backup.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/restore_backup.ts */
export const restoreBackup: Command = {
  name: 'restore_backup.ts',
  operands: '[label or file] [database]',
  summary:
    'Restores a database beside the old one, compares it with what was backed up, and then lets ' +
    'it take the place of the old one, which stays under another name.',
  settings: ['jobs', 'threads', 'host', 'port', 'username'],
  options: (parser) =>
    parser
      .option('list', { type: 'boolean', describe: 'List what can be restored' })
      .option('latest', {
        type: 'string',
        requiresArg: true,
        describe: 'The latest backup of this database',
      })
      .option('type', {
        choices: ['daily', 'weekly', 'monthly', 'manual'] as const,
        describe: 'With --latest or --list: only this tier',
      })
      .option('cluster', {
        type: 'string',
        requiresArg: true,
        describe: 'The cluster, where several have a database of that name',
      })
      .option('target-database', {
        type: 'string',
        requiresArg: true,
        describe: 'Restore under this name',
      })
      .option('verify-only', {
        type: 'boolean',
        describe: 'Read the backup whole and stop: nothing is restored',
      })
      .option('dry-run', { type: 'boolean', describe: 'Say what would be done and stop' })
      .option('force', { type: 'boolean', describe: 'Do not ask' })
      .option('compare', {
        choices: ['counts', 'none'] as const,
        default: 'counts',
        describe: 'What is compared before the swap',
      }),
  examples: [
    ['--latest mastertrade', 'Restore the latest backup of a database'],
    ['--latest mastertrade --target-database mastertrade_check', 'Restore it under another name'],
    ['20261121T020000Z-daily-k3f9 mastertrade', 'Restore that very backup'],
  ],
  repository: 'optional',
  run: async (invocation) => {
    const { restoreCommand } = await import('./restore_backup.ts');
    return restoreCommand(invocation);
  },
};
