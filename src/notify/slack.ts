/** Alerts into a chat, by an incoming webhook. Who knows its URL may write there: it is secret. */

import type { Priority } from '../core/alert.ts';
import { slackMessage } from '../core/alert_slack.ts';
import type { Secret } from '../core/secret.ts';
import type { Channel } from './channel.ts';
import { sendRequest } from './http.ts';

/** Where the chat takes messages. */
export interface SlackOptions {
  readonly url: Secret;
  readonly minPriority: Priority;
  /** Certificates of authorities (PEM) in place of Node's and the system's. */
  readonly authorities?: readonly string[];
}

const goneHint =
  'The webhook, its channel or its workspace is gone: make a new one and set SLACK_WEBHOOK_URL.';

/** What Slack means by a status (https://api.slack.com/messaging/webhooks#handling_errors). */
const hints: Readonly<Record<number, string>> = {
  403: goneHint,
  404: goneHint,
  410: goneHint,
  429: 'It takes no more for the moment (Retry-After): the alert is kept and sent later.',
};

/** The chat as a channel. */
export function slackChannel(options: SlackOptions): Channel {
  const { url, minPriority, authorities } = options;
  return {
    name: 'slack',
    minPriority,
    async send(alert, signal) {
      await sendRequest({
        what: 'the webhook of the chat',
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json; charset=utf-8', 'user-agent': 'holdfast' },
        body: JSON.stringify(slackMessage(alert)),
        signal,
        authorities,
        hint: 'Check SLACK_WEBHOOK_URL, and what that server says of it.',
        hints,
      });
    },
  };
}
