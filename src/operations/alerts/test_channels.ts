/** Sends one alert through every channel, so that a person sees which ones work. */

import { hasChannels } from '../../config/alert_settings.ts';
import { type HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { openChannels } from '../../notify/channels.ts';
import type { Context } from '../context.ts';
import { inTime } from './in_time.ts';
import { alertOf } from './make_alert.ts';

/** How one channel took the test. */
export interface ChannelTest {
  readonly channel: string;
  /** `null`: it was delivered. */
  readonly error: HoldfastError | null;
  readonly seconds: number;
}

/**
 * Sends a test through all channels at once, whatever priority they want, past what waits and
 * without remembering it. Empty where no channel is set up.
 */
export async function testChannels(context: Context): Promise<ChannelTest[]> {
  const { config, log, host, signal } = context;
  const { alerts } = config.settings;
  if (!hasChannels(alerts)) return [];
  const channels = await openChannels(alerts, { host, onWarning: (message) => log.warn(message) });
  const draft = {
    event: 'test',
    key: `test/${context.runId}`,
    priority: 'info',
    status: 'firing',
    title: 'a test of the alerts',
    message: 'Somebody has asked for this test: nothing is wrong, and there is nothing to do.',
    cluster: null,
    database: null,
    details: { run_id: context.runId, version: context.toolVersion },
  } as const;
  const alert = alertOf(context, draft, context.clock());
  return Promise.all(
    channels.map(async (channel) => {
      const began = context.stopwatch();
      const error = await inTime(alerts.timeout_seconds * 1000, signal, (limit) =>
        channel.send(alert, limit),
      ).then(
        () => null,
        (thrown: unknown) => toHoldfastError(thrown, `sending an alert by ${channel.name}`),
      );
      return { channel: channel.name, error, seconds: context.stopwatch() - began };
    }),
  );
}
