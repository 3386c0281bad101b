/**
 * Sends one alert through every channel, so that a person sees which ones work. The watchdog of the
 * heartbeat is left alone: whatever it hears it takes for a backup that began, succeeded or failed.
 */

import { hasChannels } from '../../config/alert_settings.ts';
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
  /** What it could do in part only. */
  readonly warnings: readonly string[];
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
 * without remembering it. The watchdog is not pinged: it would take that for a backup.
 *
 * @throws HoldfastError CONFIG_INVALID where no channel is set up; what the signal was fired with
 */
export async function testChannels(context: Context): Promise<ChannelTest[]> {
  const { config, host } = context;
  const { alerts } = config.settings;
  const half = halfMail(alerts);
  if (!hasChannels(alerts) && (half === null || !alerts.enabled)) {
    throw new HoldfastError('CONFIG_INVALID', 'no alert goes anywhere', {
      hint: alerts.enabled
        ? 'Set ALERT_ENDPOINT, SLACK_WEBHOOK_URL, or SMTP_URL with NOTIFICATION_EMAIL.'
        : 'Set ENABLE_NOTIFICATIONS=true: alerts are off.',
    });
  }
  const warnings: string[] = [];
  const channels = await openChannels(alerts, { host, onWarning: (text) => warnings.push(text) });
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
  // Only mail does things in part: it has recipients.
  const told = tests.map((test) => ({
    ...test,
    warnings: test.channel === 'email' ? warnings : [],
  }));
  const lacking = { channel: 'email', error: half, warnings: [], seconds: 0 };
  return half === null ? told : [...told, lacking];
}
