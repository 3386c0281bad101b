/** The arguments of scripts/monitor_backups.ts: read without loading what carries them out. */

import type { Command } from './command.ts';

/** scripts/monitor_backups.ts */
export const monitorBackups: Command = {
  name: 'monitor_backups.ts',
  operands: '[check|report|alert|verify]',
  summary:
    'Tells whether all is well: how far back everything can be recovered, and what is wrong. ' +
    'check (the default) tells what is wrong, report everything at length, alert also sends ' +
    'alerts, verify reads every file again. Status 0 ok, 1 warning, 2 critical, 3 unknown.',
  settings: [],
  options: (parser) =>
    parser
      .option('prometheus', {
        type: 'string',
        requiresArg: true,
        describe: "Writes metrics into this file, for node_exporter's textfile collector",
      })
      .option('test', {
        type: 'boolean',
        describe: 'alert --test: sends one through every channel, and tells of each',
      })
      .option('job-failed', {
        type: 'string',
        requiresArg: true,
        describe: 'alert --job-failed NAME: alerts if that job died; for systemd',
      }),
  examples: [
    ['', 'What is wrong, the worst last'],
    ['report', 'Everything at length, for a weekly mail'],
    ['alert --quiet', 'As the schedule runs it'],
    ['alert --test', 'Whether alerts arrive'],
    ['check --json', 'One document for a script'],
  ],
  repository: 'watch',
  event: 'monitor',
  run: async (invocation) => {
    const { monitorCommand } = await import('./monitor_backups.ts');
    return monitorCommand(invocation);
  },
};
