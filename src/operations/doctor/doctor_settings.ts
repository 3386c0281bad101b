/** What the doctor tells of settings: what is in effect, where it comes from, who may read it. */

import { stat } from 'node:fs/promises';
import { secretFileWarning } from '../../config/load.ts';
import { allSettings } from '../../config/schema.ts';
import type { Setting } from '../../config/setting.ts';
import type { Source } from '../../config/source.ts';
import type { Finding } from '../../core/doctor.ts';
import { shellQuote } from '../../core/quote.ts';
import { redactPasswords } from '../../core/secret.ts';
import type { Context } from '../context.ts';
import { attempt, finding } from './doctor_finding.ts';

/** One setting as it is in effect. */
export interface SettingFact {
  /** `compression`, `connection.host`, `databases.trading.port`. */
  readonly name: string;
  /** A secret is `[redacted]`; `null` where it is not set. */
  readonly value: string | number | boolean | null;
  readonly origin: Source['origin'];
  /** As the user wrote it: `--compression`, `PGHOST`; for a default the setting's own name. */
  readonly written: string;
  readonly file: string | null;
  readonly line: number | null;
  /** The variable whose alias was used, or `null`. */
  readonly alias_of: string | null;
}

function shownValue(value: unknown): SettingFact['value'] {
  if (value === null || value === undefined) return null;
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  // A Secret gives `[redacted]`; a text may hold a URL with a password.
  return redactPasswords(String(value));
}

function aliasOf(setting: Setting | undefined, { origin, name }: Source): string | null {
  if (origin !== 'environment' && origin !== '.env') return null;
  const [canonical] = setting?.env ?? [];
  return canonical === undefined || canonical === name ? null : canonical;
}

/** Every setting in effect, in the order of the reference; then those of single databases. */
export function settingsInEffect({ config }: Context): SettingFact[] {
  const tables = new Map<string, Setting>(allSettings());
  const { settings } = config;
  const own = settings as unknown as Readonly<Record<string, unknown>>;
  return [...config.sources].map(([name, source]) => {
    const parts = name.split('.');
    const [first = '', ...rest] = parts;
    const last = rest.at(-1) ?? '';
    const entries = first === 'databases' || first === 'stores' ? settings[first] : null;
    // `connection.host` stands in a group, `compression` in none.
    const ownGroup = rest.length > 0 ? own[first] : null;
    const group = entries === null ? ownGroup : entries[rest.slice(0, -1).join('.')];
    const value =
      group === null ? own[name] : (group as Record<string, unknown> | undefined)?.[last];
    return {
      name,
      value: shownValue(value),
      origin: source.origin,
      written: source.name,
      file: source.file ?? null,
      line: source.line ?? null,
      alias_of: aliasOf(tables.get(name), source),
    };
  });
}

/** The files that set anything. */
function filesOf({ config }: Context): string[] {
  return [...new Set([...config.sources.values()].flatMap(({ file }) => file ?? []))];
}

async function modeFindings(file: string, holdsSecret: boolean): Promise<Finding[]> {
  const about = { check: 'files', subject: file } as const;
  const { mode } = await stat(file);
  if (holdsSecret) {
    const message = 'it holds a password and other users can read it';
    return [finding(about, 'warning', message, `chmod 600 ${shellQuote(file)}`)];
  }
  if ((mode & 0o022) !== 0) {
    const message = 'other users may write it: they decide what Holdfast does';
    return [finding(about, 'problem', message, `chmod go-w ${shellQuote(file)}`)];
  }
  return [finding(about, 'ok', 'only its owner may write it')];
}

/** What the settings warn of, and the files that they stand in. */
export async function examineSettings(context: Context): Promise<Finding[]> {
  const about = { check: 'settings', subject: '' } as const;
  const findings: Finding[] = [];
  const told = new Set<string>();
  for (const file of filesOf(context)) {
    const warning = secretFileWarning(file);
    const holdsSecret = context.config.warnings.includes(warning);
    told.add(warning);
    findings.push(
      ...(await attempt(context, { check: 'files', subject: file }, () =>
        modeFindings(file, holdsSecret),
      )),
    );
  }
  for (const message of context.config.warnings) {
    if (!told.has(message)) findings.push(finding(about, 'warning', message));
  }
  const facts = settingsInEffect(context);
  const set = facts.filter(({ origin }) => origin !== 'default').length;
  findings.push(finding(about, 'ok', `${set} set, ${facts.length - set} by default`));
  return findings;
}

/** The password file that a connection would ask; libpq ignores one that others may read. */
export async function examinePasswordFile(file: string): Promise<Finding[]> {
  const about = { check: 'files', subject: file } as const;
  const status = await stat(file).catch(() => null);
  if (status === null || (status.isFile() && (status.mode & 0o077) === 0)) return [];
  if (!status.isFile()) return [finding(about, 'warning', 'it is no plain file: it is ignored')];
  const message = 'other users may use it, so libpq and Holdfast ignore it';
  return [finding(about, 'warning', message, `chmod 600 ${shellQuote(file)}`)];
}
