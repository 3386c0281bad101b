/** Where alerts go, and which. */

import type { Setting } from './setting.ts';

const url = { type: 'string', pattern: '^https?://[^\\s]+$' } as const;
const priority = { type: 'string', enum: ['info', 'medium', 'high', 'critical'] as const } as const;

/** Every setting of the alerts, in the order in which they are told. */
export const alertTable = {
  enabled: {
    schema: { type: 'boolean' },
    env: ['ENABLE_NOTIFICATIONS'],
    default: true,
    description: 'Whether alerts are sent at all. Without a channel below there are none anyway.',
    example: false,
  },
  endpoint: {
    schema: url,
    env: ['ALERT_ENDPOINT'],
    default: null,
    description: 'Where each alert goes as a JSON document, by HTTP POST.',
    allowed: 'a URL such as https://alerts.example.com/holdfast',
    example: 'https://alerts.example.com/holdfast',
    secret: true,
  },
  token: {
    schema: { type: 'string', minLength: 1 },
    env: ['ALERT_TOKEN'],
    default: null,
    description: 'The bearer token that goes with it.',
    example: 'token',
    secret: true,
  },
  min_priority: {
    schema: priority,
    env: ['ALERT_MIN_PRIORITY'],
    default: 'info',
    description: 'The least priority that is sent there.',
    example: 'high',
  },
  slack_webhook_url: {
    schema: url,
    env: ['SLACK_WEBHOOK_URL'],
    default: null,
    description: 'The incoming webhook of a Slack channel, or of what speaks its language.',
    allowed: 'a URL such as https://hooks.slack.com/services/T0/B0/XX',
    example: 'https://hooks.slack.com/services/T0/B0/XX',
    secret: true,
  },
  slack_min_priority: {
    schema: priority,
    env: ['SLACK_MIN_PRIORITY'],
    default: 'info',
    description: 'The least priority that is sent to Slack.',
    example: 'high',
  },
  smtp_url: {
    schema: { type: 'string', pattern: '^smtps?://[^\\s]+$' },
    env: ['SMTP_URL'],
    default: null,
    description:
      'The mail server, with user and password where it asks for them. `smtp` goes over to TLS ' +
      'by STARTTLS, and wants to where there is a password; `smtps` speaks TLS from the start.',
    allowed: 'a URL such as smtp://user:password@mail.example.com:587',
    example: 'smtp://user:password@mail.example.com:587',
    secret: true,
  },
  email: {
    schema: { type: 'string', minLength: 3 },
    env: ['NOTIFICATION_EMAIL'],
    default: null,
    description: 'Who gets mail: addresses with commas between.',
    example: 'ops@example.com',
  },
  email_from: {
    schema: { type: 'string', minLength: 3 },
    env: ['EMAIL_FROM'],
    default: null,
    defaultText: 'holdfast@ and the name of this host',
    description: 'The address that the mail comes from.',
    example: 'backup@example.com',
  },
  email_min_priority: {
    schema: priority,
    env: ['EMAIL_MIN_PRIORITY'],
    default: 'info',
    description: 'The least priority that is sent by mail.',
    example: 'high',
  },
  heartbeat_url: {
    schema: url,
    env: ['HEARTBEAT_URL'],
    default: null,
    description:
      'The URL of a watchdog elsewhere that hears of every scheduled full backup: `/start` when ' +
      'it begins, the URL itself when all is well, `/fail` when not (as healthchecks.io has it).',
    allowed: 'a URL such as https://hc-ping.com/5a2f…',
    example: 'https://hc-ping.com/5a2f0c1e',
    secret: true,
  },
  successes: {
    schema: { type: 'boolean' },
    env: ['ALERT_ON_SUCCESS'],
    default: false,
    description:
      'Whether a message of priority `info` tells of each backup that succeeded: size, duration, ' +
      'digest, what the retention did.',
    example: true,
  },
  reminder_hours: {
    schema: { type: 'number', minimum: 0.1, maximum: 8760 },
    env: ['ALERT_REMINDER_HOURS'],
    default: 24,
    description: 'After how many hours a trouble that lasts is told again.',
    example: 4,
  },
  timeout_seconds: {
    schema: { type: 'number', minimum: 1, maximum: 10 },
    env: ['ALERT_TIMEOUT_SECONDS'],
    default: 10,
    description: 'How long one channel may take for one alert, in seconds.',
    example: 5,
  },
  runbook_url: {
    schema: url,
    env: ['ALERT_RUNBOOK_URL'],
    default: null,
    defaultText: 'the file docs/alerts.md of the checkout',
    description: 'Where docs/alerts.md can be read: each alert links its entry there.',
    allowed: 'a URL such as https://wiki.example.com/holdfast/alerts',
    example: 'https://wiki.example.com/holdfast/alerts',
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The settings that set up a channel, as far as they tell whether there is any. */
interface ChannelSettings {
  readonly enabled: boolean;
  readonly endpoint: unknown;
  readonly slack_webhook_url: unknown;
  readonly smtp_url: unknown;
  readonly email: unknown;
}

/** Whether alerts go anywhere at all: without it nothing of them needs to be loaded. */
export function hasChannels(alerts: ChannelSettings): boolean {
  const { enabled, endpoint, slack_webhook_url: slack, smtp_url: smtp, email } = alerts;
  return enabled && (endpoint !== null || slack !== null || (smtp !== null && email !== null));
}
