/**
 * Sends one alert through every channel, so that a person sees which ones work. The watchdog of the
 * heartbeat is left alone: whatever it hears it takes for a backup that began, succeeded or failed.
 */

import type { Settings } from '../../config/schema.ts';
import type { Alert } from '../../core/alert.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { Channel } from '../../notify/channel.ts';
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

/** Mail needs two settings: who has set one of them believes that there is mail. */
function halfMail({ smtp_url: smtp, email }: Settings['alerts']): HoldfastError | null {
  if ((smtp === null) === (email === null)) return null;
  const [lacking, given] =
    smtp === null ? ['SMTP_URL', 'NOTIFICATION_EMAIL'] : ['NOTIFICATION_EMAIL', 'SMTP_URL'];
  const text = `${given} is set and ${lacking} is not: no mail is sent`;
  return new HoldfastError('CONFIG_INVALID', text, { hint: `Set ${lacking}, too.` });
}

async function testChannel(context: Context, channel: Channel, alert: Alert) {
  const { stopwatch, signal, config } = context;
  const timeoutMs = config.settings.alerts.timeout_seconds * 1000;
  const began = stopwatch();
  const error = await inTime(timeoutMs, signal, (limit) => channel.send(alert, limit)).then(
    () => null,
    (thrown: unknown) => {
      if (signal.aborted) throw signal.reason;
      return toHoldfastError(thrown, `sending an alert by ${channel.name}`);
    },
  );
  return { channel: channel.name, error, seconds: stopwatch() - began };
}

/**
 * Sends a test through all channels at once, whatever priority they want, past what waits and
 * without remembering it. Empty where no channel is set up.
 *
 * @throws what the signal of the run was fired with
 */
export async function testChannels(context: Context): Promise<ChannelTest[]> {
  const { config, host, log } = context;
  const { alerts } = config.settings;
  const half = alerts.enabled ? halfMail(alerts) : null;
  const onWarning = (message: string) => log.warn(message);
  const channels = alerts.enabled ? await openChannels(alerts, { host, onWarning }) : [];
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
  const tests = await Promise.all(channels.map((each) => testChannel(context, each, alert)));
  const lacking = { channel: 'email', error: half, seconds: 0 };
  return half === null ? tests : [...tests, lacking];
}
