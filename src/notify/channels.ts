/** From the settings to the channels. Each is loaded only where it is set up. */

import type { Settings } from '../config/schema.ts';
import { type HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { Channel } from './channel.ts';

/** What the channels need besides the settings. */
export interface ChannelSurroundings {
  /** The name of this host. */
  readonly host: string;
  /** Told of what a channel could do in part only. */
  readonly onWarning: (message: string) => void;
}

type AlertSettings = Settings['alerts'];
type Draft = Pick<Channel, 'name' | 'minPriority'>;

/** A channel whose settings are wrong fails each time, and the others go on. */
function brokenChannel(draft: Draft, error: HoldfastError): Channel {
  return { ...draft, send: () => Promise.reject(error) };
}

async function open(draft: Draft, make: () => Promise<Channel>): Promise<Channel> {
  try {
    return await make();
  } catch (error) {
    return brokenChannel(draft, toHoldfastError(error, `setting up ${draft.name}`));
  }
}

/** Every channel that the settings name, in the order in which they are told. */
export async function openChannels(
  alerts: AlertSettings,
  { host, onWarning }: ChannelSurroundings,
): Promise<Channel[]> {
  const channels: Promise<Channel>[] = [];
  const { endpoint, slack_webhook_url: slack, smtp_url: smtp, email: to } = alerts;
  const timeoutMs = alerts.timeout_seconds * 1000;
  if (endpoint !== null) {
    const draft = { name: 'endpoint', minPriority: alerts.min_priority };
    const make = async () => {
      const { endpointChannel } = await import('./http_endpoint.ts');
      return endpointChannel({ ...draft, url: endpoint, token: alerts.token });
    };
    channels.push(open(draft, make));
  }
  if (slack !== null) {
    const draft = { name: 'slack', minPriority: alerts.slack_min_priority };
    const make = async () => {
      const { slackChannel } = await import('./slack.ts');
      return slackChannel({ ...draft, url: slack });
    };
    channels.push(open(draft, make));
  }
  if (smtp !== null && to !== null) {
    const draft = { name: 'email', minPriority: alerts.email_min_priority };
    const make = async () => {
      const { emailChannel } = await import('./email.ts');
      const from = alerts.email_from ?? `holdfast@${host}`;
      return emailChannel({ ...draft, url: smtp, to, from, timeoutMs, onWarning });
    };
    channels.push(open(draft, make));
  }
  return Promise.all(channels);
}
