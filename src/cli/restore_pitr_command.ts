/** The arguments of scripts/restore_pitr.ts: read without loading what carries them out. */

import type { Argv } from 'yargs';
import type { Command } from './command.ts';
import { sourceStoreOptions } from './store_options.ts';

/** Where the cluster goes, and the moment. */
function targetOptions(parser: Argv): Argv {
  return parser
    .option('pgdata', {
      type: 'string',
      requiresArg: true,
      describe: 'The new or empty folder that becomes the data directory',
    })
    .option('cluster', {
      type: 'string',
      requiresArg: true,
      describe: 'The cluster, where the repository has several',
    })
    .option('target-time', {
      type: 'string',
      requiresArg: true,
      describe: 'To this time, with its zone: 2026-11-21 10:42:00+01',
    })
    .option('target-lsn', { type: 'string', requiresArg: true, describe: 'To this LSN' })
    .option('target-xid', {
      type: 'string',
      requiresArg: true,
      describe: 'To the end of this transaction',
    })
    .option('target-name', {
      type: 'string',
      requiresArg: true,
      describe: 'To this restore point',
    })
    .option('target-immediate', {
      type: 'boolean',
      describe: 'To the end of the newest base backup',
    })
    .option('target-exclusive', {
      type: 'boolean',
      describe: 'Stop right before the time, LSN or transaction instead of right behind it',
    })
    .option('target-timeline', {
      type: 'string',
      requiresArg: true,
      default: 'latest',
      describe: 'Follow the latest timeline, the current one of the base backup, or this number',
    })
    .option('target-action', {
      choices: ['pause', 'promote', 'shutdown'] as const,
      describe: 'What the server does at the target: pause; with --start promote',
    });
}

/** What becomes of what is there, and of what is restored. */
function wayOptions(parser: Argv): Argv {
  return parser
    .option('tablespace-mapping', {
      type: 'array',
      string: true,
      requiresArg: true,
      describe: 'NAME=FOLDER: where a tablespace goes (\\= for = in them); once for each',
    })
    .option('delta', {
      type: 'boolean',
      describe: 'Into a data directory of the same cluster: keep what is as in the backup',
    })
    .option('force', {
      type: 'boolean',
      describe: 'In place of a data directory, which is put aside; with --delta: do not ask',
    })
    .option('unsigned', {
      type: 'boolean',
      describe: 'Restore also what none of ALLOWED_SIGNERS has signed',
    })
    .option('with-config', {
      type: 'boolean',
      describe: 'Use the configuration that was saved beside the data directory (/etc)',
    })
    .option('dry-run', { type: 'boolean', describe: 'Say what would be done, and do nothing' })
    .option('start', {
      type: 'boolean',
      describe: 'Start the server, and wait until it has reached the target and is promoted',
    })
    .option('check-query', {
      type: 'string',
      requiresArg: true,
      describe: 'With --start: ask this when it is promoted; false or no row ends with 4',
    })
    .option('check-database', {
      type: 'string',
      requiresArg: true,
      describe: 'Where it is asked: postgres unless told',
    })
    .option('port', {
      type: 'number',
      requiresArg: true,
      describe: 'With --start: the port of its socket, which lies in the data directory',
    });
}

/** scripts/restore_pitr.ts */
export const restorePitrCommand: Command = {
  name: 'restore_pitr.ts',
  operands: '',
  summary:
    'Restores a whole cluster to a point in time, into a new or empty folder. ' +
    'Without a target: to the newest point.',
  asksIdentity: true,
  settings: ['identity', 'threads', 'username'],
  options: (parser) => wayOptions(targetOptions(sourceStoreOptions(parser))),
  examples: [
    [
      "--pgdata /srv/restored --target-time '2026-11-21 10:41:59+01' --start --port 5433",
      'The cluster as it was, running beside the original',
    ],
    ['--pgdata /srv/restored --dry-run', 'What a restore to the newest point would take'],
  ],
  repository: 'need',
  event: 'recovery',
  run: async (invocation) => {
    const { restorePitrRun } = await import('./restore_pitr.ts');
    return restorePitrRun(invocation);
  },
};
