/**
 * Runs restore_pitr.ts again and again in one process, so that a hundred recoveries do not start
 * Node a hundred times: arguments come as lines of JSON, outcomes go out as lines of JSON.
 */

import { createInterface } from 'node:readline';
import { runCommand } from './command.ts';

for await (const line of createInterface({ input: process.stdin })) {
  const { argv, ...options } = JSON.parse(line);
  const outcome = await runCommand('restore_pitr', argv, options);
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
