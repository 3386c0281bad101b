/**
 * An alert as the JSON that incoming webhooks of Slack take, in the form that Mattermost and others
 * read too (https://api.slack.com/reference/messaging/attachments). Pure.
 */

import type { Alert } from './alert.ts';
import {
  alertFacts,
  alertMark,
  alertPlace,
  oneLine,
  runbookLink,
  severalLines,
} from './alert_words.ts';

const colours: Readonly<Record<string, string>> = {
  info: '#2f6f9f',
  medium: '#daa038',
  high: '#e8742a',
  critical: '#b3261e',
  resolved: '#2eb67d',
};

const factsMax = 20;
const valueCharactersMax = 300;
/** Shorter ones stand two in a row. */
const shortCharacters = 40;

/** `<!channel>` and `<@U1>` call people, `<url|text>` links: a name does neither. */
function escapeMarkup(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function fieldOf([name, value]: readonly [string, string]) {
  const text = oneLine(value, valueCharactersMax);
  const isShort = text.length <= shortCharacters;
  return { title: escapeMarkup(name), value: escapeMarkup(text), short: isShort };
}

/** What is sent to the webhook. */
export function slackMessage(alert: Alert): object {
  const mark = alertMark(alert);
  const link = runbookLink(alert);
  const title = escapeMarkup(`[${mark}] ${oneLine(alert.title)}`);
  const href = link === null ? null : escapeMarkup(link);
  const seconds = Math.floor(Date.parse(alert.timestamp) / 1000);
  return {
    text: title,
    // A star or an underscore in a name is a star or an underscore.
    mrkdwn: false,
    attachments: [
      {
        color: colours[mark],
        fallback: title,
        title: escapeMarkup(alertPlace(alert)),
        text: escapeMarkup(severalLines(alert.message)),
        mrkdwn_in: [],
        fields: [
          ...(href === null ? [] : [{ title: 'what to do', value: `<${href}>`, short: false }]),
          ...alertFacts(alert).slice(0, factsMax).map(fieldOf),
        ],
        footer: 'Holdfast',
        ...(Number.isNaN(seconds) ? {} : { ts: seconds }),
      },
    ],
  };
}
