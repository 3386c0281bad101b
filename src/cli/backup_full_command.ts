/** The arguments of scripts/backup_full.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/backup_full.ts */
export const backupFull: Command = {
  name: 'backup_full.ts',
  operands: '[database…]',
  summary:
    'Takes a full logical backup of each database: a name, a URL, or a key of holdfast.yaml; ' +
    'without one the configured databases, else PGDATABASE.',
  settings: [
    'compression',
    'compression-level',
    'encrypt',
    'threads',
    'parallel',
    'nice',
    'read-back',
    'max-rate',
    'host',
    'port',
    'username',
  ],
  options: (parser) =>
    parser
      .option('all', { type: 'boolean', describe: 'Every database of the server' })
      .option('type', {
        choices: ['daily', 'weekly', 'monthly', 'manual'] as const,
        default: 'daily',
        describe: 'The tier: how long the backup is kept',
      })
      .option('verify', {
        type: 'boolean',
        describe: 'Decompress what was written and read it back whole, as --read-back plain',
      })
      .option('no-table-digests', {
        type: 'boolean',
        describe: 'Count and digest no rows: faster, and a restore has nothing to compare',
      })
      .option('no-retention', {
        type: 'boolean',
        describe: 'Remove no older backup, whatever the retention says',
      })
      .option('no-upload', {
        type: 'boolean',
        describe:
          'Write into BACKUP_DIR alone; the next run without it brings the other stores theirs',
      })
      .option('wait', {
        type: 'number',
        requiresArg: true,
        describe: 'Seconds to wait for a running backup of the same database',
      })
      .option('test', {
        type: 'boolean',
        describe: 'Check settings, connection, programs, stores and space; take no backup',
      }),
  examples: [
    ['mastertrade', 'Back up one database'],
    ['--all --type weekly', 'Back up every database of the server as weekly backups'],
    ['app shop web --parallel 2', 'Back up three databases, two at once'],
    ['postgresql://backup@db.example.com/app', 'Back up a database of another server'],
  ],
  repository: 'create',
  event: 'backup',
  run: async (invocation) => {
    const { backupFullCommand } = await import('./backup_full.ts');
    return backupFullCommand(invocation);
  },
};
