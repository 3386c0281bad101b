/** The checks of log files and of alerts that wait: what lies in `logs/` and `state/alerts/`. */

import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toHoldfastError } from '../../core/errors.ts';
import type { HealthFinding } from '../../core/health.ts';
import { type LoggedError, loggedErrors, undelivered } from '../../core/health_logs.ts';
import { commandName } from '../../core/health_words.ts';
import { parseLogFile } from '../../core/log_files.ts';
import { errorNumber } from '../../process/durable.ts';
import { readAlertMemory } from '../alerts/memory.ts';
import { type CheckGroup, type MonitorContext, unknownFinding } from './monitor_context.ts';

/** So much of the end of one file is read, and so much of all together. */
const fileBytesMax = 8 * 1024 * 1024;
const allBytesMax = 32 * 1024 * 1024;
/** So many errors are looked at, the youngest first. */
const errorsMax = 10_000;

/** The end of a file, and whether it has more than that. */
async function readEnd(path: string, bytesMax: number) {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const bytes = Math.min(size, bytesMax);
    const buffer = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(buffer, 0, bytes, size - bytes);
    return { text: buffer.toString('utf8', 0, bytesRead), bytes, isCut: size > bytes };
  } finally {
    await file.close();
  }
}

/** One line of a log; `null`: it is none of an error, or cut. */
function parseLine(line: string): LoggedError | null {
  // Most lines are no errors: they are not taken apart.
  if (!line.includes('"error"')) return null;
  let facts: Record<string, unknown>;
  try {
    facts = JSON.parse(line);
  } catch {
    // The first line of what was read is cut, and a killed run may leave one without its end.
    return null;
  }
  const at = new Date(String(facts.time));
  if (facts.level !== 'error' || Number.isNaN(at.getTime())) return null;
  return {
    at,
    command: commandName(String(facts.command ?? 'unknown')),
    code: String(facts.code ?? 'UNEXPECTED'),
    exitStatus: typeof facts.exit_status === 'number' ? facts.exit_status : 1,
    message: String(facts.msg ?? ''),
    runId: String(facts.run ?? ''),
  };
}

/** The errors in the files since a time, from the youngest file to the oldest. */
async function readErrors(directory: string, since: Date) {
  const names = await readdir(directory).catch((error: unknown) => {
    if (errorNumber(error) === 'ENOENT') return [];
    throw toHoldfastError(error, 'reading the folder of the log files');
  });
  const first = since.toISOString().slice(0, 10).replaceAll('-', '');
  const files = names
    .flatMap((name) => parseLogFile(name) ?? [])
    .filter(({ day }) => day >= first)
    .sort((a, b) => (a.day === b.day ? b.number - a.number : a.day < b.day ? 1 : -1));
  const errors: LoggedError[] = [];
  let left = allBytesMax;
  let isCut = false;
  for (const { name } of files) {
    if (left <= 0 || errors.length >= errorsMax) return { errors, isCut: true };
    const end = await readEnd(join(directory, name), Math.min(left, fileBytesMax));
    left -= end.bytes;
    isCut ||= end.isCut;
    for (const line of end.text.split('\n')) {
      const error = parseLine(line);
      if (error !== null) errors.push(error);
    }
  }
  return { errors, isCut };
}

async function logFindings({ context, now }: MonitorContext): Promise<HealthFinding[]> {
  const hours = context.config.settings.monitor.log_error_hours;
  const since = new Date(now.getTime() - hours * 3_600_000);
  try {
    const { errors, isCut } = await readErrors(context.repository.logsDir, since);
    return loggedErrors(errors, hours, isCut, now);
  } catch (thrown) {
    if (context.signal.aborted) throw context.signal.reason;
    const error = toHoldfastError(thrown, 'reading the log files');
    return [unknownFinding({ check: 'log_errors', subject: 'logs' }, error)];
  }
}

async function alertFindings({ context, now }: MonitorContext): Promise<HealthFinding[]> {
  if (!context.config.settings.alerts.enabled) return [];
  try {
    const { outbox, dropped } = await readAlertMemory(context.repository.stateDir);
    const [oldest] = outbox;
    const facts = {
      waiting: outbox.length,
      oldestAt: oldest === undefined ? null : new Date(oldest.alert.timestamp),
      channels: [...new Set(outbox.flatMap(({ channels }) => channels))].sort(),
      dropped,
    };
    return [undelivered(facts, now)];
  } catch (thrown) {
    return [unknownFinding({ check: 'alerts', subject: 'outbox' }, thrown)];
  }
}

/** Whether somebody has said what is wrong, and nobody has heard it. */
export const logsGroup: CheckGroup = {
  name: 'logs',
  checks: ['log_errors', 'alerts'],
  needs: 'repository',
  async run(monitor) {
    return [...(await logFindings(monitor)), ...(await alertFindings(monitor))];
  },
};
