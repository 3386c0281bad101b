/** What an alert says where people read it: the same words by mail and in a chat. Pure. */

import type { Alert } from './alert.ts';
import { printableText } from './printable.ts';

/** Where an alert says how to mend the trouble: the name among its details. */
export const runbookDetail = 'runbook';

const titleCharactersMax = 200;
const messageCharactersMax = 8_000;
const valueCharactersMax = 1_000;
const factsMax = 60;

/** At most so many characters, with `…` where it was cut, and never through one. */
function cut(text: string, charactersMax: number): string {
  // So long in code units, it may be too long in characters.
  if (text.length <= charactersMax) return text;
  const characters = Array.from(text);
  if (characters.length <= charactersMax) return text;
  return `${characters.slice(0, charactersMax - 1).join('')}…`;
}

/** A text on one line: no break in it, nothing that a terminal or a header would act on. */
export function oneLine(text: string, charactersMax = titleCharactersMax): string {
  return cut(printableText(text.replaceAll(/\s+/gu, ' ')).trim(), charactersMax);
}

/** A text with its lines, and nothing in it that acts anywhere. */
export function severalLines(text: string): string {
  return cut(printableText(text.replaceAll('\r\n', '\n')).trim(), messageCharactersMax);
}

/** `critical`, or `resolved` where it is over. */
export function alertMark({ status, priority }: Pick<Alert, 'status' | 'priority'>): string {
  return status === 'resolved' ? 'resolved' : priority;
}

/** What the alert is about, `"app" on db1`: the database or the cluster, and the host. */
export function alertPlace({ database, cluster, host }: Alert): string {
  const what = database ?? cluster;
  return oneLine(what === null ? host : `${JSON.stringify(what)} on ${host}`);
}

/** A link to what to do, or `null` where the alert has none that a browser opens. */
export function runbookLink({ details }: Alert): string | null {
  const link = details[runbookDetail];
  return typeof link === 'string' && /^https?:\/\/[^\s<>"|]+$/.test(link) ? link : null;
}

/** Names and values below the message, in the order in which they are read. */
export function alertFacts(alert: Alert): (readonly [name: string, value: string])[] {
  const { database, cluster, host, priority, timestamp, key, details } = alert;
  const link = runbookLink(alert);
  const facts: (readonly [string, string | number | boolean | null])[] = [
    ['database', database],
    ['cluster', cluster],
    ['host', host],
    ['priority', priority],
    ['at', timestamp],
    ...Object.entries(details).filter(([name]) => name !== runbookDetail || link === null),
    ['key', key],
  ];
  return facts
    .filter(([, value]) => value !== null && value !== '')
    .slice(0, factsMax)
    .map(([name, value]) => [
      oneLine(name.replaceAll('_', ' ')),
      oneLine(String(value), valueCharactersMax),
    ]);
}
