/** The arguments of scripts/setup_cron.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/setup_cron.ts */
export const setupCron: Command = {
  name: 'setup_cron.ts',
  operands: '[install|status|list|uninstall|print]',
  summary:
    'Puts the schedule into a crontab (install, the default) and takes it out again (uninstall), ' +
    'says when each job runs next and how it ended last (status), which jobs are installed ' +
    '(list), or what install would write (print). Lines of others stay as they are.',
  settings: [],
  options: (parser) =>
    parser
      .option('yes', { type: 'boolean', describe: 'Do not ask' })
      .option('system', {
        type: 'boolean',
        describe: 'In /etc/cron.d/holdfast, as root, and not in the crontab of a user',
      })
      .option('run-as', {
        type: 'string',
        requiresArg: true,
        describe: 'As root, for a new repository: the user who will own it and run everything',
      }),
  examples: [
    ['', 'Install the schedule, after asking'],
    ['status', 'When each job runs next, and how it ended last'],
    ['print', 'What install would write'],
    ['uninstall --yes', 'Take it out again'],
  ],
  repository: 'create',
  onlyPlans: ([action = 'install']) => action !== 'install',
  root: (flags) => ({
    keep: flags.system === true,
    owner: typeof flags['run-as'] === 'string' ? flags['run-as'] : null,
  }),
  run: async (invocation) => {
    const { setupCronCommand } = await import('./setup_cron.ts');
    return setupCronCommand(invocation);
  },
};
