/** The arguments of scripts/setup_archiving.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/setup_archiving.ts */
export const setupArchiving: Command = {
  name: 'setup_archiving.ts',
  operands: '[install|status|print|uninstall|take-over]',
  summary:
    'Switches the archiving of the WAL on (install, the default) or off (uninstall), says how ' +
    'it is (status) or what install would set (print). After a failover or a move, take-over ' +
    'gives the archive to the server that it is run against. It never restarts a server.',
  settings: ['host', 'port', 'username'],
  options: (parser) =>
    parser.option('yes', { type: 'boolean', describe: 'Do not ask' }).option('force', {
      type: 'boolean',
      describe: 'Also replace what archives the WAL already, or take over from a newer timeline',
    }),
  examples: [
    ['', 'Switch archiving on, after asking'],
    ['status', 'Whether the WAL arrives in the archive'],
    ['take-over --yes', 'After a failover, on the new server'],
  ],
  repository: 'create',
  run: async (invocation) => {
    const { setupArchivingCommand } = await import('./setup_archiving.ts');
    return setupArchivingCommand(invocation);
  },
};
