/** Tells whoever listens what is wrong, what no longer is, and what else is good to know. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { hasChannels } from '../../config/alert_settings.ts';
import type { Alert } from '../../core/alert.ts';
import {
  type AlertMemory,
  emptyMemory,
  withAlerts,
  withoutStrangers,
  withSpare,
} from '../../core/alert_memory.ts';
import { decideAlerts } from '../../core/alert_state.ts';
import { toHoldfastError } from '../../core/errors.ts';
import type { AlertChange, Trouble } from '../../core/trouble.ts';
import { formatCount } from '../../core/units.ts';
import type { Channel } from '../../notify/channel.ts';
import { openChannels } from '../../notify/channels.ts';
import type { Context, RepositoryContext } from '../context.ts';
import { type ChannelFailure, deliver } from './deliver.ts';
import { inTime } from './in_time.ts';
import { alertOf } from './make_alert.ts';
import {
  alertsFolder,
  inDiskTime,
  type MemoryFile,
  openMemory,
  readAlertMemory,
} from './memory.ts';
import { forgetSpare, makeSpareHome, readSpare, spareStateDir } from './spare_place.ts';

/** How long a run waits for its alerts at most, in milliseconds. */
const reportMsMax = 20_000;
/** What was sent in the last moment is struck out in this time, in milliseconds. */
const strikeOutMsMax = 3000;

/** What became of the alerts of a run. */
export interface AlertReport {
  /** How many alerts this run has made: of troubles, ends, reminders, news. */
  readonly made: number;
  /** How many deliveries succeeded, older alerts that were waiting included. */
  readonly delivered: number;
  /** How many alerts wait for at least one channel. */
  readonly waiting: number;
  readonly failures: readonly ChannelFailure[];
}

/** How a change is reported. */
export interface ReportOptions {
  /** Without a new alert nothing is sent: this run has tried what waits already. */
  readonly onlyNew?: boolean;
}

const nothing: AlertReport = { made: 0, delivered: 0, waiting: 0, failures: [] };

/**
 * The repository's folder for what is local; `null` where there is none. A repository that could
 * not be opened has it all the same, when it was another store that failed.
 */
async function stateDirOf(context: Context): Promise<string | null> {
  if ('repository' in context) return (context as RepositoryContext).repository.stateDir;
  const folder = join(context.config.settings.backup_dir, 'state');
  const stats = await inDiskTime(stat(folder)).catch(() => null);
  return stats?.isDirectory() === true ? folder : null;
}

/** A memory that ends with this run, where none can be kept. */
function fleetingMemory(initial: AlertMemory): MemoryFile {
  let memory = initial;
  return {
    async update(change) {
      memory = change(memory);
      return memory;
    },
  };
}

/** What there is to tell of the alerts themselves. */
function ownTroubles(dropped: number, damage: readonly string[]): Trouble[] {
  const about = { event: 'alerts', cluster: null, database: null, details: {} } as const;
  const lost: Trouble = {
    ...about,
    key: 'alerts/dropped',
    priority: 'high',
    title: `${formatCount(dropped, 'alert')} dropped`,
    message:
      'They could not be delivered, and too many others waited behind them, or the channel ' +
      'refused them. Type scripts/monitor_backups.ts to see what is wrong now.',
    details: { dropped },
  };
  const damaged = damage.map(
    (message): Trouble => ({
      ...about,
      key: 'alerts/memory',
      priority: 'medium',
      title: 'the memory of alerts was damaged',
      message:
        `${message}. Alerts that waited in it are lost, and troubles that it knew may be told ` +
        'once more.',
    }),
  );
  return dropped > 0 ? [lost, ...damaged] : damaged;
}

/** The alerts of a change, made once, and the memory behind it. */
class Reporter {
  readonly #context: Context;
  readonly #channels: readonly Channel[];
  readonly #change: AlertChange;
  readonly damage: string[] = [];
  made: readonly Alert[] = [];

  constructor(context: Context, channels: readonly Channel[], change: AlertChange) {
    this.#context = context;
    this.#channels = channels;
    this.#change = change;
  }

  /** What is remembered after this change. */
  remember(memory: AlertMemory): AlertMemory {
    const now = this.#context.clock();
    const { reminder_hours: reminderHours } = this.#context.config.settings.alerts;
    const news = [...ownTroubles(memory.dropped, this.damage), ...(this.#change.news ?? [])];
    const clock = { now, reminderHours };
    const decision = decideAlerts(memory.troubles, { ...this.#change, news }, clock);
    this.made = decision.alerts.map((draft) => alertOf(this.#context, draft, now));
    const troubles = [...decision.troubles];
    const known = withoutStrangers(
      { ...memory, troubles, dropped: 0 },
      this.#channels.map(({ name }) => name),
    );
    const after = withAlerts(known, this.made, this.#channels);
    return isDeepStrictEqual(after, memory) ? memory : after;
  }

  /** That it cannot is worth a warning: what is taken in a second time changes nothing. */
  async #forget(spareDir: string, spare: AlertMemory): Promise<void> {
    await forgetSpare(spareDir, spare).catch((thrown: unknown) => {
      const { message } = toHoldfastError(thrown);
      this.#context.log.warn(`alerts are still remembered in ${spareDir}, too: ${message}`);
    });
  }

  /** Keeps the alerts on the disk, or for this run alone where the disk does not take them. */
  async keep(): Promise<{ memory: MemoryFile; current: AlertMemory; lockFolder: string | null }> {
    const { log } = this.#context;
    const own = await stateDirOf(this.#context);
    const spareDir = await spareStateDir(this.#context);
    const stateDir = own ?? spareDir;
    let known = emptyMemory;
    if (stateDir !== null) {
      const memory = openMemory(stateDir, (error, aside) => {
        this.damage.push(`${error.message}; it is kept as ${JSON.stringify(aside)}`);
        log.warn(`${error.message}; it is kept as ${aside}`);
      });
      try {
        if (own === null) await makeSpareHome(stateDir);
        const spare = own === null || spareDir === null ? null : await readSpare(spareDir);
        const current = await memory.update((before) =>
          this.remember(spare === null ? before : withSpare(before, spare)),
        );
        if (spare !== null && spareDir !== null) await this.#forget(spareDir, spare);
        return { memory, current, lockFolder: alertsFolder(stateDir) };
      } catch (thrown) {
        log.warn(`alerts are sent but not remembered: ${toHoldfastError(thrown).message}`);
      }
      // What was known keeps quiet what was told; what waits is left to a run that can strike out.
      known = await inDiskTime(readAlertMemory(stateDir)).catch(() => emptyMemory);
    }
    const current = this.remember({ ...known, outbox: [], dropped: 0 });
    return { memory: fleetingMemory(current), current, lockFolder: null };
  }
}

async function report(
  context: Context,
  change: AlertChange,
  { onlyNew = false }: ReportOptions,
  signal: AbortSignal,
): Promise<AlertReport> {
  const { config, log, host } = context;
  const { alerts } = config.settings;
  const onWarning = (message: string) => log.warn(message);
  const channels = await openChannels(alerts, { host, onWarning });
  const reporter = new Reporter(context, channels, change);
  const { memory, current, lockFolder } = await reporter.keep();
  if (onlyNew && reporter.made.length === 0) return { ...nothing, waiting: current.outbox.length };
  const timeoutMs = alerts.timeout_seconds * 1000;
  const delivery = { channels, memory, lockFolder, timeoutMs, signal, log };
  const { count, waiting, failures } = await deliver(delivery, current);
  const kept = lockFolder === null ? 'it could not be kept either' : 'it is kept and sent later';
  for (const { channel, error } of failures) {
    log.warn(`an alert was not delivered by ${channel}, ${kept}: ${error.message}`);
  }
  return { made: reporter.made.length, delivered: count, waiting, failures };
}

/**
 * Turns a change into alerts, keeps them until each channel has them, and sends what it can within
 * a bounded time. Never throws: what goes wrong is a warning in the log and in the report. The
 * signal of the run does not end it: also a run that is being ended tells why.
 *
 * @param change what is wrong now, what has ended, what else there is to tell
 */
export async function reportTroubles(
  context: Context,
  change: AlertChange,
  options: ReportOptions = {},
): Promise<AlertReport> {
  if (!hasChannels(context.config.settings.alerts)) return nothing;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), reportMsMax);
  const never = new AbortController().signal;
  try {
    // Also where a disk hangs in the middle, the run comes to its end.
    return await inTime(reportMsMax + strikeOutMsMax, never, () =>
      report(context, change, options, limit.signal),
    );
  } catch (thrown) {
    context.log.warn(`no alert was sent: ${toHoldfastError(thrown).message}`);
    return nothing;
  } finally {
    clearTimeout(timer);
  }
}
