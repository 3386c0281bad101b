/** An alert as a mail: its subject, its text, its names. Nothing in it acts anywhere. Pure. */

import { createHash } from 'node:crypto';
import type { Alert } from './alert.ts';
import {
  alertFacts,
  alertMark,
  alertPlace,
  oneLine,
  runbookLink,
  severalLines,
} from './alert_words.ts';

/** What goes into a mail, beside who sends it to whom. */
export interface AlertMail {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** The same for each try: a mail that comes twice is one to who reads it. RFC 5322, 3.6.4. */
  readonly messageId: string;
  /** The same for all mails of one trouble, so that mail programs show them as one thread. */
  readonly thread: string;
  /** When the alert was made, ISO 8601: also of a mail that waited. */
  readonly date: string;
  readonly isUrgent: boolean;
}

const htmlEscapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => htmlEscapes[character] ?? character);
}

const colours: Readonly<Record<string, string>> = {
  info: '#2f6f9f',
  medium: '#b08800',
  high: '#c2571a',
  critical: '#b3261e',
  resolved: '#2e7d32',
};

/** The right side of message identifiers: the sender's domain, in letters that may be there. */
function domainOf(from: string): string {
  const domain = /@([A-Za-z0-9.-]+)[^@]*$/.exec(from)?.[1] ?? '';
  return domain === '' ? 'holdfast.invalid' : domain.toLowerCase();
}

function identifier(kind: 'alert' | 'trouble', name: string, domain: string): string {
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 32);
  return `<holdfast.${kind}.${digest}@${domain}>`;
}

function textOf(alert: Alert): string {
  const facts = alertFacts(alert);
  const width = Math.max(...facts.map(([name]) => name.length)) + 2;
  const link = runbookLink(alert);
  return [
    oneLine(alert.title),
    '',
    severalLines(alert.message),
    '',
    ...(link === null ? [] : [`What to do: ${link}`, '']),
    ...facts.map(([name, value]) => `${`${name}:`.padEnd(width)}${value}`),
    '',
  ].join('\n');
}

function htmlOf(alert: Alert): string {
  const mark = alertMark(alert);
  const link = runbookLink(alert);
  const rows = alertFacts(alert).map(
    ([name, value]) =>
      `<tr><td style="padding:2px 16px 2px 0;color:#666">${escapeHtml(name)}</td>` +
      `<td style="padding:2px 0">${escapeHtml(value)}</td></tr>`,
  );
  const href = escapeHtml(link ?? '');
  return [
    '<!doctype html><html><head><meta charset="utf-8"></head>',
    '<body style="font-family:sans-serif;color:#222">',
    `<p style="border-left:6px solid ${colours[mark] ?? '#666'};padding:4px 12px;margin:0 0 12px">`,
    `<span style="color:#666">${escapeHtml(mark)}</span><br>`,
    `<strong>${escapeHtml(oneLine(alert.title))}</strong></p>`,
    `<p style="white-space:pre-wrap">${escapeHtml(severalLines(alert.message))}</p>`,
    ...(link === null ? [] : [`<p>What to do: <a href="${href}">${href}</a></p>`]),
    `<table style="border-collapse:collapse;font-size:small">${rows.join('')}</table>`,
    '</body></html>',
    '',
  ].join('\n');
}

/**
 * Makes the mail of an alert.
 *
 * @param from the sender, whose domain the identifiers have
 */
export function alertMail(alert: Alert, from: string): AlertMail {
  const domain = domainOf(from);
  return {
    subject: oneLine(`[${alertMark(alert)}] ${oneLine(alert.title)} (${alertPlace(alert)})`, 300),
    text: textOf(alert),
    html: htmlOf(alert),
    messageId: identifier('alert', alert.id, domain),
    thread: identifier('trouble', alert.key, domain),
    date: alert.timestamp,
    isUrgent: alert.status === 'firing' && ['high', 'critical'].includes(alert.priority),
  };
}
