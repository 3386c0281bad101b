/** The arguments of scripts/restore_backup.ts: read without loading what carries them out. */

import type { Command } from './command.ts';
import { sourceStoreOptions } from './store_options.ts';

/** scripts/restore_backup.ts */
export const restoreBackup: Command = {
  name: 'restore_backup.ts',
  operands: '[label or file] [database]',
  summary:
    'Restores a database beside the old one, compares it with what was backed up, and then lets ' +
    'it take the place of the old one, which stays under another name.',
  asksIdentity: true,
  settings: ['identity', 'jobs', 'threads', 'host', 'port', 'username'],
  options: (parser) =>
    sourceStoreOptions(parser)
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
      .option('in-place', {
        type: 'boolean',
        describe: 'Drop the old database first, after a safety backup: for want of space',
      })
      .option('keep-going', {
        type: 'boolean',
        describe: 'Collect errors; with any, leave the new database unswapped',
      })
      .option('rollback', {
        type: 'string',
        requiresArg: true,
        describe: 'Give the database that the last restore replaced its name again',
      })
      .option('drop-old', {
        type: 'boolean',
        describe: 'Drop what was replaced: with a restore after it, else of the database named',
      })
      .option('force', { type: 'boolean', describe: 'Do not ask' })
      .option('unsigned', {
        type: 'boolean',
        describe: 'Restore also what none of ALLOWED_SIGNERS has signed',
      })
      .option('compare', {
        choices: ['counts', 'content', 'none'] as const,
        default: 'counts',
        describe: 'What is compared before the swap',
      }),
  examples: [
    ['--latest mastertrade', 'Restore the latest backup of a database'],
    ['--latest mastertrade --target-database mastertrade_check', 'Restore it under another name'],
    ['20261121T020000Z-daily-k3f9 mastertrade', 'Restore that very backup'],
    ['--rollback mastertrade', 'Take the last restore back'],
    ['--drop-old mastertrade', 'Drop the databases that restores have replaced'],
  ],
  repository: 'optional',
  event: 'restore',
  run: async (invocation) => {
    const { restoreCommand } = await import('./restore_backup.ts');
    return restoreCommand(invocation);
  },
};
