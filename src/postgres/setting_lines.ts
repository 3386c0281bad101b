/** Settings as lines of postgresql.conf and its relatives. */

import { HoldfastError } from '../core/errors.ts';

/** A value as a line of a configuration file holds it (manual, "Setting Parameters"). */
function quoteSetting(value: string): string {
  if (/[\0\n\r]/.test(value)) {
    const text = `${JSON.stringify(value)} cannot stand in a configuration file`;
    throw new HoldfastError('USAGE', text, {
      hint: 'Use paths and names without line breaks.',
    });
  }
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/**
 * Lines of a configuration file.
 *
 * @throws HoldfastError USAGE for a value with a line break or a NUL
 */
export function settingLines(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${quoteSetting(value)}\n`)
    .join('');
}
