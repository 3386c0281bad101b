/**
 * A process that reports a trouble, as a command does at its end:
 * `alert_child.ts <state folder> <URL> <key>…`, one report for each key. It prints what became of
 * them, a line for each.
 */

import { reportTroubles } from '../../src/operations/alerts/report.ts';
import { alertRun, troubleOf } from './alert_context.ts';

const [stateDir = '', url = '', ...keys] = process.argv.slice(2);
const { context } = alertRun(stateDir, url, { timeout_seconds: 60 });
for (const key of keys) {
  const { failures, ...report } = await reportTroubles(context, { firing: [troubleOf(key)] });
  process.stdout.write(`${JSON.stringify({ ...report, failed: failures.length })}\n`);
}
