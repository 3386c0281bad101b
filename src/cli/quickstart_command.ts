/** The arguments of scripts/quickstart.ts. */

import type { Command } from './command.ts';
import { projectDir } from './version.ts';

/** scripts/quickstart.ts */
export const quickstart: Command = {
  name: 'quickstart.ts',
  operands: '',
  summary:
    'Shows on a PostgreSQL of its own what Holdfast does: fills a sample database, backs it up, ' +
    'verifies the backup, restores it under another name and compares the two; then archives the ' +
    'WAL, drops a table, and restores the whole server to the second before. It reads no ' +
    'configuration and touches no other database.',
  settings: [],
  examples: [['', 'See it work in a few seconds']],
  repository: 'create',
  ownSettings: { 'backup-dir': `${projectDir}/quickstart`, threads: '1' },
  run: async (invocation) => {
    const { quickstartCommand } = await import('./quickstart.ts');
    return quickstartCommand(invocation);
  },
};
