/** The arguments of scripts/backup_incremental.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/backup_incremental.ts */
export const backupIncremental: Command = {
  name: 'backup_incremental.ts',
  operands: '',
  summary:
    'Moves the recovery point of a cluster forward: takes a base backup when one is due, ends ' +
    'the current segment of the WAL, waits until it is archived, and looks for gaps.',
  settings: ['encrypt', 'threads', 'max-rate', 'host', 'port', 'username'],
  options: (parser) =>
    parser
      .option('base', {
        choices: ['due', 'now', 'none'] as const,
        default: 'due',
        describe: 'A base backup when it is due, now in any case, or none',
      })
      .option('no-retention', {
        type: 'boolean',
        describe: 'Remove no older base backup and no WAL, whatever the retention says',
      }),
  examples: [
    ['', 'What cron calls every hour'],
    ['--base now', 'Take a base backup now, whatever is due'],
  ],
  repository: 'create',
  event: 'incremental',
  run: async (invocation) => {
    const { incrementalCommand } = await import('./backup_incremental.ts');
    return incrementalCommand(invocation);
  },
};
