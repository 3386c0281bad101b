/**
 * The log of a run: JSON lines under `logs/` of the repository, one file a day, a new one when it
 * has grown to the limit, and none older than the setting says.
 */

import { chmodSync, mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import {
  type LogFileName,
  logFilesToRemove,
  nextLogFile,
  parseLogFile,
} from '../core/log_files.ts';

export interface LogFileOptions {
  readonly directory: string;
  readonly command: string;
  /** One for each run of a command: the key to all of its lines. */
  readonly runId: string;
  readonly host: string;
  readonly now: Date;
  readonly keepDays: number;
  readonly bytesMax: number;
  /** Told once, when a line cannot be written (a full disk): the run goes on without its log. */
  readonly onFailure: (error: Error) => void;
}

/** Writes the lines of one run. A line is on its way to the disk when a method returns. */
export interface LogFile {
  write(level: 'info' | 'warn' | 'error', message: string, facts?: object): void;
}

/** The log files of a folder. */
function listLogFiles(directory: string): LogFileName[] {
  return readdirSync(directory).flatMap((name) => parseLogFile(name) ?? []);
}

/**
 * Opens the log for a run, and removes the files that have outlived their days.
 *
 * @throws Node's errors: the caller decides whether a run may go on without its log
 */
export function openLogFile(options: LogFileOptions): LogFile {
  const { directory, now } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const files = listLogFiles(directory);
  for (const file of logFilesToRemove(files, now, options.keepDays)) {
    try {
      unlinkSync(join(directory, file.name));
    } catch {
      // Another run has removed it already, or the next one will.
    }
  }
  const name = nextLogFile(files, now, (file) => {
    const bytes = statSync(join(directory, file.name), { throwIfNoEntry: false })?.size ?? 0;
    return bytes >= options.bytesMax;
  });
  const path = join(directory, name);
  const destination = pino.destination({ dest: path, sync: true, append: true, mode: 0o600 });
  chmodSync(path, 0o600);
  let hasFailed = false;
  destination.on('error', (error) => {
    if (hasFailed) return;
    hasFailed = true;
    options.onFailure(error);
  });
  const { command, runId, host } = options;
  const logger = pino(
    {
      base: { run: runId, command, host, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return {
    write(level, message, facts) {
      logger[level](facts ?? {}, message);
    },
  };
}
