/** The arguments of scripts/list_backups.ts: read without loading what carries them out. */

import type { Command } from './command.ts';
import { storeOption } from './store_options.ts';

/** scripts/list_backups.ts */
export const listBackups: Command = {
  name: 'list_backups.ts',
  operands: '[database or label]',
  summary:
    'Lists the backups of the repository, oldest first; for a label, the tables in that backup.',
  settings: [],
  options: (parser) =>
    storeOption(parser, 'Only what lies in this store: local, s3, or a name under stores:')
      .option('type', {
        choices: ['daily', 'weekly', 'monthly', 'manual'] as const,
        describe: 'Only this tier',
      })
      .option('cluster', {
        type: 'string',
        requiresArg: true,
        describe: 'Only the backups of this cluster',
      })
      .option('wal', {
        type: 'boolean',
        describe: 'The WAL archives instead: timelines, unbroken ranges, gaps',
      }),
  examples: [
    ['', 'Every backup'],
    ['20261121T020000Z-daily-k3f9', 'The tables in that backup, and how many rows they have'],
    ['--wal', 'What can be replayed: from when to when, and what is missing'],
    ['mastertrade --json', 'The backups of one database, for a script'],
  ],
  repository: 'need',
  run: async (invocation) => {
    const { listCommand } = await import('./list_backups.ts');
    return listCommand(invocation);
  },
};
