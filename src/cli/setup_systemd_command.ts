/** The arguments of scripts/setup_systemd.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/setup_systemd.ts */
export const setupSystemd: Command = {
  name: 'setup_systemd.ts',
  operands: '[install|status|list|uninstall|print]',
  summary:
    'Has systemd run the schedule of the settings: a hardened service and a timer for each job ' +
    '(install, the default). Says how each is (status), what the settings ask for (list), which ' +
    'units that would be (print), and removes them without a trace (uninstall).',
  settings: [],
  options: (parser) =>
    parser
      .option('user', {
        type: 'boolean',
        describe: "The systemd of the user who types this, in place of the system's",
      })
      .option('run-as', {
        type: 'string',
        requiresArg: true,
        describe: 'Who owns a new repository, and runs everything (default: postgres)',
      })
      .option('yes', { type: 'boolean', describe: 'Do not ask' }),
  examples: [
    ['', 'As root: every job of the schedule, after asking'],
    ['status', 'When each runs next, and how it ended last'],
    ['--user', 'Without root, as the user who owns the repository'],
    ['print', 'The units, for who installs them otherwise'],
  ],
  repository: 'create',
  onlyPlans: ([action = 'install']) => action !== 'install',
  root: (flags) => ({
    keep: flags.user !== true,
    owner: typeof flags['run-as'] === 'string' ? flags['run-as'] : null,
    handsOver: true,
  }),
  run: async (invocation) => {
    const { setupSystemdCommand } = await import('./setup_systemd.ts');
    return setupSystemdCommand(invocation);
  },
};
