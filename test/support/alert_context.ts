/** What the alerts need of a run: settings, a clock that a test sets, a log that it reads. */

import { randomBytes } from 'node:crypto';
import { Secret } from '../../src/core/secret.ts';
import type { Trouble } from '../../src/core/trouble.ts';
import type { Context } from '../../src/operations/context.ts';

/** A run of which a test sees everything. */
export interface AlertRun {
  readonly context: Context;
  readonly warnings: readonly string[];
  /** The time of day, in milliseconds. */
  now: number;
}

const noChannel = {
  enabled: true,
  endpoint: null,
  token: null,
  min_priority: 'info',
  slack_webhook_url: null,
  slack_min_priority: 'info',
  smtp_url: null,
  email: null,
  email_from: null,
  email_min_priority: 'info',
  heartbeat_url: null,
  successes: false,
  reminder_hours: 24,
  timeout_seconds: 10,
  runbook_url: null,
} as const;

/**
 * A run whose alerts go to an endpoint.
 *
 * @param stateDir the repository's folder for what is local; `null`: there is no repository
 * @param settings of the alerts, beside the endpoint
 * @param environment of the run
 */
export function alertRun(
  stateDir: string | null,
  url: string,
  settings: object = {},
  environment: Readonly<Record<string, string>> = {},
): AlertRun {
  const warnings: string[] = [];
  const alerts = { ...noChannel, endpoint: new Secret(url), ...settings };
  const run = { warnings, now: Date.parse('2026-11-21T02:00:00Z') };
  const context = {
    config: { settings: { alerts, backup_dir: '/nonexistent' }, projectDir: '/checkout' },
    log: { warn: (message: string) => warnings.push(message) },
    environment,
    runId: 'run-1',
    host: 'db1',
    pid: process.pid,
    toolVersion: '0.0.0',
    clock: () => new Date(run.now),
    randomBytes: (count: number) => randomBytes(count),
    signal: AbortSignal.abort(new Error('the run itself was interrupted')),
    ...(stateDir === null ? {} : { repository: { stateDir, logsDir: '/nonexistent/logs' } }),
  } as unknown as Context;
  return Object.assign(run, { context });
}

/** A trouble by its key. */
export function troubleOf(key: string, priority: Trouble['priority'] = 'high'): Trouble {
  const nobody = { cluster: null, database: null };
  const words = { title: `trouble ${key}`, message: 'what to do' };
  return { event: 'backup', key, priority, ...words, ...nobody, details: {} };
}
