/**
 * Sends the alerts that wait: each channel by itself, oldest first. What a channel has taken is
 * struck out at once; a channel that fails gets nothing more in this run, so that the order stays.
 */

import { join } from 'node:path';
import { withFileLock } from '../../catalog/lock.ts';
import type { Alert } from '../../core/alert.ts';
import { type AlertMemory, givenUp, nextFor, withoutDelivered } from '../../core/alert_memory.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { Channel } from '../../notify/channel.ts';
import type { Log } from '../../process/console.ts';
import { inTime } from './in_time.ts';
import type { MemoryFile } from './memory.ts';

/** Who does not get to send within this time leaves its alerts to the process that does. */
const sendLockWaitMs = 1000;

/** A channel that did not take an alert. */
export interface ChannelFailure {
  readonly channel: string;
  readonly error: HoldfastError;
}

/** What alerts are sent with. */
export interface Delivery {
  readonly channels: readonly Channel[];
  readonly memory: MemoryFile;
  /** The folder of the locks; `null`: nobody else knows of these alerts. */
  readonly lockFolder: string | null;
  /** How long one channel may take for one alert. */
  readonly timeoutMs: number;
  /** Ends all of it. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** What became of the alerts that waited. */
export interface Delivered {
  readonly count: number;
  readonly waiting: number;
  readonly failures: readonly ChannelFailure[];
}

/** One round of sending, and what it knows by now. */
class Round {
  readonly #delivery: Delivery;
  readonly failures: ChannelFailure[] = [];
  latest: AlertMemory;
  count = 0;
  #isForgetful = false;

  constructor(delivery: Delivery, latest: AlertMemory) {
    this.#delivery = delivery;
    this.latest = latest;
  }

  /** Whether a channel that has not failed lacks something, and there is time. */
  get hasWork(): boolean {
    const { channels, signal } = this.#delivery;
    return !signal.aborted && channels.some((channel) => this.#nextOf(channel, null) !== null);
  }

  /** Sends to all channels at once. */
  async run(): Promise<void> {
    await Promise.all(this.#delivery.channels.map((channel) => this.#drain(channel)));
  }

  /** Changes the memory; where that fails it is told once, and this run goes on without it. */
  async change(change: (memory: AlertMemory) => AlertMemory): Promise<void> {
    if (this.#isForgetful) {
      this.latest = change(this.latest);
      return;
    }
    try {
      this.latest = await this.#delivery.memory.update(change);
    } catch (thrown) {
      this.#isForgetful = true;
      this.latest = change(this.latest);
      const { message } = toHoldfastError(thrown);
      this.#delivery.log.warn(`what was sent is not remembered, and may come again: ${message}`);
    }
  }

  #nextOf({ name }: Channel, refused: Alert | null): Alert | null {
    if (this.failures.some(({ channel }) => channel === name)) return null;
    return nextFor(this.latest, name, refused?.id ?? null);
  }

  async #drain(channel: Channel): Promise<void> {
    const { signal, timeoutMs, log } = this.#delivery;
    /** One that the other side does not want, whoever sends it and however often. */
    let refused: { readonly alert: Alert; readonly error: HoldfastError } | null = null;
    for (;;) {
      const alert = this.#nextOf(channel, refused?.alert ?? null);
      if (alert === null || signal.aborted) break;
      try {
        await inTime(timeoutMs, signal, (limit) => channel.send(alert, limit));
      } catch (thrown) {
        const error = toHoldfastError(thrown, `sending an alert by ${channel.name}`);
        if (refused === null && error.details?.refuses_document === true) {
          refused = { alert, error };
          continue;
        }
        this.failures.push({ channel: channel.name, error });
        return;
      }
      this.count += 1;
      await this.change((memory) => withoutDelivered(memory, alert.id, channel.name));
      if (refused === null) continue;
      // The channel is well, and takes others: waiting would keep everything else from it for ever.
      const { id, title } = refused.alert;
      log.warn(`${channel.name} refused the alert ${JSON.stringify(title)} and took a newer one`);
      await this.change((memory) => givenUp(memory, id, channel.name));
      refused = null;
    }
    if (refused !== null) this.failures.push({ channel: channel.name, error: refused.error });
  }
}

/**
 * Does something while no other process sends; `false` where another one does. A disk on which no
 * lock can be made keeps nobody from sending.
 */
async function whileNobodySends(
  folder: string | null,
  work: () => Promise<void>,
): Promise<boolean> {
  let hasBegun = false;
  const begin = () => {
    hasBegun = true;
    return work();
  };
  if (folder !== null) {
    try {
      await withFileLock(join(folder, 'sending.lock'), { waitMs: sendLockWaitMs }, begin);
    } catch (error) {
      if (hasBegun) throw error;
      if (error instanceof HoldfastError && error.code === 'LOCKED') return false;
    }
  }
  if (!hasBegun) await begin();
  return true;
}

/**
 * Sends what waits. What another process adds while this one sends goes along: that one may have
 * left it, because only one sends at a time.
 *
 * @param memory as it is by now
 */
export async function deliver(delivery: Delivery, memory: AlertMemory): Promise<Delivered> {
  const round = new Round(delivery, memory);
  const look = () => round.change((current) => current);
  while (round.hasWork) {
    const hasSent = await whileNobodySends(delivery.lockFolder, async () => {
      // What another process has sent while this one waited must not go out twice.
      await look();
      await round.run();
    });
    if (!hasSent) break;
    await look();
  }
  const { count, failures, latest } = round;
  return { count, waiting: latest.outbox.length, failures };
}
