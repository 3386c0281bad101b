/** The arguments of scripts/wal_ship.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/wal_ship.ts */
export const walShip: Command = {
  name: 'wal_ship.ts',
  operands: '',
  summary:
    'The resident helper beside the archiver: stores the WAL that waits before the server asks ' +
    'for it, several segments at a time, so that wal_push answers at once. Runs until SIGTERM.',
  settings: ['nice'],
  options: (parser) =>
    parser
      .option('jobs', {
        type: 'number',
        requiresArg: true,
        describe: 'How many segments are stored at once (default: processors less one, 1 to 4)',
      })
      .option('once', { type: 'boolean', describe: 'Store what waits now, and end' })
      .option('index', {
        type: 'boolean',
        describe: 'Only write the indexes that are missing, and end',
      })
      .conflicts('index', ['once', 'jobs']),
  examples: [
    ['', 'Beside the server, as its user'],
    ['--once', 'From cron, in place of a resident one'],
  ],
  repository: 'need',
  event: 'wal_ship',
  run: async (invocation) => {
    const { walShipCommand } = await import('./wal_ship.ts');
    return walShipCommand(invocation);
  },
};
