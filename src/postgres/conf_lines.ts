/** Lines of postgresql.conf and its relatives, read as the server does (guc-file.l). */

/** One setting, or a directive such as `include`. */
export interface ConfLine {
  /** In lower case. */
  readonly name: string;
  readonly value: string;
}

const namePattern = String.raw`[A-Za-z_][\w$]*`;
const pattern = new RegExp(
  String.raw`^\s*(${namePattern}(?:\.${namePattern})*)(?:\s*=\s*|\s+|(?='))` +
    String.raw`('(?:[^'\\]|\\.|'')*'|[^\s#'=]+)`,
);
const escapes: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function unquote(word: string): string {
  if (!word.startsWith("'")) return word;
  return word.slice(1, -1).replaceAll(/''|\\([0-7]{1,3}|.)/g, (all, escaped?: string) => {
    if (escaped === undefined) return all.slice(1);
    if (/^[0-7]/.test(escaped)) return String.fromCharCode(Number.parseInt(escaped, 8) & 0xff);
    return escapes[escaped] ?? escaped;
  });
}

/** What a line sets; `null` for a comment, an empty line, and what the server would refuse. */
export function readConfLine(line: string): ConfLine | null {
  const found = pattern.exec(line);
  if (found?.[1] === undefined || found[2] === undefined) return null;
  return { name: found[1].toLowerCase(), value: unquote(found[2]) };
}

/** What a text sets: the last line about a setting counts. Directives are not followed. */
export function lastSettings(text: string): Map<string, string> {
  const lines = text.split('\n').map(readConfLine);
  return new Map(lines.flatMap((line) => (line === null ? [] : [[line.name, line.value]])));
}

/**
 * Settings of a recovery or a standby, which a restored cluster would go on with as if it were the
 * original: a target that is not its own, a primary, a delay, a commit that waits for a standby.
 */
export function isInherited(name: string): boolean {
  return /^recovery_target(?:_\w+)?$/.test(name) || inherited.has(name);
}

const inherited: ReadonlySet<string> = new Set([
  'restore_command',
  'recovery_end_command',
  'archive_cleanup_command',
  'recovery_min_apply_delay',
  'primary_conninfo',
  'primary_slot_name',
  'promote_trigger_file',
  'synchronous_standby_names',
]);

/** A postgresql.auto.conf without what {@link isInherited}. */
export function withoutInherited(text: string): string {
  return text
    .split('\n')
    .filter((line) => !isInherited(readConfLine(line)?.name ?? ''))
    .join('\n');
}
