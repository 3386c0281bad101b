/** From what is told to the document that is sent: who says it, when, and where to read more. */

import { join } from 'node:path';
import { type Alert, alertFormat } from '../../core/alert.ts';
import type { AlertDraft } from '../../core/alert_state.ts';
import { oneLine, runbookDetail, severalLines } from '../../core/alert_words.ts';
import { redactPasswords } from '../../core/secret.ts';
import type { Context } from '../context.ts';

/** So long may one detail be, in characters, and so many may there be. */
const detailCharactersMax = 2000;
const detailsMax = 60;

/** What to do about each alert, below the folder of the project. */
const runbookFile = 'docs/alerts.md';

/** An identifier as RFC 9562 has them, version 4. */
function newId({ randomBytes }: Context): string {
  const bytes = randomBytes(16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Never empty: a document with an empty line in a required place is none. */
function filled(text: string, otherwise: string): string {
  return text === '' ? otherwise : text;
}

function detailsOf(context: Context, { event, details }: AlertDraft): Alert['details'] {
  const entries = Object.entries(details).slice(0, detailsMax);
  const bounded = entries.map(([name, value]) => {
    if (typeof value === 'number' && !Number.isFinite(value)) return [name, null];
    if (typeof value !== 'string') return [name, value];
    return [name, redactPasswords(value).slice(0, detailCharactersMax)];
  });
  const { settings, projectDir } = context.config;
  const runbook = settings.alerts.runbook_url ?? join(projectDir, runbookFile);
  // A check has its entry under its own name: no heading has an anchor with a dot in it.
  const entry = event.replace(/^check\./, '');
  return { ...Object.fromEntries(bounded), [runbookDetail]: `${runbook}#${entry}` };
}

/**
 * Makes the document.
 *
 * @param now the time that it bears
 */
export function alertOf(context: Context, draft: AlertDraft, now: Date): Alert {
  const { event, key, priority, status, title, message, cluster, database } = draft;
  const line = filled(oneLine(redactPasswords(title)), event);
  return {
    format: alertFormat,
    source: 'holdfast',
    id: newId(context),
    event,
    priority,
    status,
    title: line,
    message: filled(severalLines(redactPasswords(message)), line),
    cluster: cluster === '' ? null : cluster,
    database: database === '' ? null : database,
    host: filled(context.host, 'unknown'),
    timestamp: now.toISOString(),
    key,
    details: detailsOf(context, draft),
  };
}
