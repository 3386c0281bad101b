/** The templates of the shell and of the units that we render, each read once. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { UnitTemplate } from '../schedule/render_systemd.ts';

/** What lies in `templates/`. */
export type TemplateName =
  | 'crontab'
  | 'restore.sh'
  | 'restore_base.sh'
  | 'wal_fetch.sh'
  | 'wal_push.sh'
  | UnitTemplate;

const folder = join(import.meta.dirname, '../../templates');
const texts = new Map<TemplateName, string>();

/**
 * The text of a template. It is kept: a process that has become another user may not be let into
 * the checkout any more.
 */
export function readTemplate(name: TemplateName): string {
  const text = texts.get(name) ?? readFileSync(join(folder, name), 'utf8');
  texts.set(name, text);
  return text;
}
