/** The user's own programs, which run before and after. */

import type { Setting } from './setting.ts';

const text = { type: 'string', minLength: 1 } as const;

function hook<E extends string>(env: E, when: string) {
  return {
    schema: text,
    env: [env],
    default: null,
    description: `An executable that runs ${when}.`,
    example: '/etc/holdfast/hook',
    path: true,
  } as const;
}

/** Every setting of the hooks, in the order in which they are told. */
export const hookTable = {
  before_backup: hook('HOOK_BEFORE_BACKUP', 'before each backup of a database or a cluster'),
  after_backup: hook('HOOK_AFTER_BACKUP', 'after each backup that succeeded'),
  before_restore: hook('HOOK_BEFORE_RESTORE', 'before a restore or a recovery'),
  after_restore: hook('HOOK_AFTER_RESTORE', 'after a restore or a recovery that succeeded'),
  on_failure: hook('HOOK_ON_FAILURE', 'after a backup, a restore or a recovery that failed'),
  timeout_seconds: {
    schema: { type: 'number', minimum: 1, maximum: 86_400 },
    env: ['HOOK_TIMEOUT_SECONDS'],
    default: 60,
    description: 'How long a hook may run, in seconds, before it is ended and counts as failed.',
    example: 600,
  },
  failure: {
    schema: { type: 'string', enum: ['fail', 'warn'] as const },
    env: ['HOOK_FAILURE'],
    default: 'fail',
    description:
      'What a hook that fails means: `fail` (before the work it stops it, after it the run fails ' +
      'and what was done stays) or `warn`.',
    example: 'warn',
  },
} as const satisfies Readonly<Record<string, Setting>>;
