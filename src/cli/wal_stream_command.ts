/** The arguments of scripts/wal_stream.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/wal_stream.ts */
export const walStream: Command = {
  name: 'wal_stream.ts',
  operands: '',
  summary:
    'Streams the WAL of a server into the archive with pg_receivewal and a replication slot, ' +
    'until it is ended by a signal: for servers in containers or on other hosts, and where one ' +
    'segment is too much to lose.',
  settings: ['host', 'port', 'username'],
  options: (parser) =>
    parser
      .option('once', {
        type: 'boolean',
        describe: 'End when everything up to now is here, or with the first failure',
      })
      .option('status', { type: 'boolean', describe: 'Say how the stream is' })
      .option('take-over', {
        type: 'boolean',
        describe: 'Give the stream to this server: after a failover, a move, or a dropped slot',
      })
      .option('drop-slot', {
        type: 'boolean',
        describe: 'Drop the replication slot: the server keeps no WAL for the stream any more',
      })
      .option('slot', {
        type: 'string',
        requiresArg: true,
        describe: 'The name of the slot, in place of one that is derived from the cluster',
      })
      .option('yes', { type: 'boolean', describe: 'Do not ask (--take-over, --drop-slot)' })
      .conflicts('status', ['once', 'take-over', 'drop-slot'])
      .conflicts('once', ['take-over', 'drop-slot'])
      .conflicts('take-over', 'drop-slot'),
  examples: [
    ['', 'Stream until it is ended, as a service does'],
    ['--once', 'Fetch what there is, from cron'],
    ['--status', 'Slot, lag, what is unfinished'],
    ['--take-over --yes', 'After a failover, with PGHOST of the new server'],
  ],
  repository: 'create',
  event: 'wal_stream',
  run: async (invocation) => {
    const { walStreamCommand } = await import('./wal_stream.ts');
    return walStreamCommand(invocation);
  },
};
