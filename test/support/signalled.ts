/**
 * Starts a hook of a WAL archive and sends it a signal once it has begun to write:
 * `node signalled.ts SIGNAL FOLDER PROGRAM ARGUMENT…`, `-SIGNAL` for the hook and all that it has started, as the server
 * does. It prints the status that the hook ended with, or the signal.
 */

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startChild } from '../../src/process/stream.ts';

const [signal = '', folder = '', program = '', ...args] = process.argv.slice(2);

/** Whether a part of a file lies somewhere in the folder. */
function hasPart(): boolean {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).some((name) => {
    if (!/\.(?:tmp|wal_fetch)$/.test(name)) return false;
    return (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0) > 0;
  });
}

const child = startChild(program, args, { environment: { PATH: process.env.PATH ?? '' } });
const { pid } = child;
while (!hasPart()) await sleep(20);
if (pid === undefined) throw new Error('the hook did not start');
const toGroup = signal.startsWith('-');
process.kill(toGroup ? -pid : pid, `SIG${signal.replace('-', '')}` as NodeJS.Signals);
const ended = await child.exited;
process.stdout.write(`${ended.status ?? ended.signal}\n`);
