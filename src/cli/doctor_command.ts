/** The arguments of scripts/doctor.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/doctor.ts */
export const doctor: Command = {
  name: 'doctor.ts',
  operands: '[database…]',
  summary:
    'Checks everything that a backup or a restore will need, and says how to mend what is wrong. ' +
    'It writes nothing but probes into stores beside BACKUP_DIR, and takes them away. ' +
    'Databases as for backup_full.ts; without one the configured ones.',
  settings: ['jobs', 'host', 'port', 'username'],
  options: (parser) =>
    parser
      .option('all', { type: 'boolean', describe: 'Every database of the server' })
      .option('policy', {
        type: 'boolean',
        describe: 'Only print what a key must be allowed in each bucket, and rules for the bucket',
      }),
  examples: [
    ['', 'Everything for the configured databases'],
    ['mastertrade --username backup', 'What a backup as this role would lack'],
    ['--all --quiet', 'Only what is wrong; for a script, the exit status'],
  ],
  repository: 'look',
  run: async (invocation) => {
    const { doctorCommand } = await import('./doctor.ts');
    return doctorCommand(invocation);
  },
};
