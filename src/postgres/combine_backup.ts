/** pg_combinebackup: its arguments, and what it says (PostgreSQL 17+). */

/** What is put together. */
export interface CombineOptions {
  /** Major version of pg_combinebackup itself. */
  readonly major: number;
  /** Of the operating system, as Node names it. */
  readonly platform: string;
  /** Unpacked backups: the whole one first, the wanted one last. Absolute paths. */
  readonly inputs: readonly string[];
  /** A new folder. */
  readonly output: string;
  /** Where a tablespace lies in the last backup, and the new folder where it goes. */
  readonly tablespaces: readonly { readonly from: string; readonly to: string }[];
}

/** `--link` exists from PostgreSQL 18 on. */
const linkMajor = 18;

/** `OLD=NEW`, where a backslash before `=` keeps it from being the one between the two. */
function mapping({ from, to }: { readonly from: string; readonly to: string }): string {
  return `${from.replaceAll('=', '\\=')}=${to.replaceAll('=', '\\=')}`;
}

/** Files that no increment has changed are linked or cloned, not copied: the inputs go away. */
function copying(major: number, platform: string): string[] {
  if (major >= linkMajor) return ['--link'];
  return platform === 'linux' ? ['--copy-file-range'] : [];
}

/**
 * Whoever calls it has all inputs on the file system of the output, removes them afterwards, and
 * syncs. The digests are those of the server wherever a file is taken as it is.
 */
export function combineArguments(options: CombineOptions): string[] {
  const { major, platform, inputs, output, tablespaces } = options;
  return [
    '--no-sync',
    '--manifest-checksums=SHA256',
    ...copying(major, platform),
    ...tablespaces.map((each) => `--tablespace-mapping=${mapping(each)}`),
    `--output=${output}`,
    ...inputs,
  ];
}

/** What it warns of, without the warning about links: nobody changes the inputs any more. */
export function combineWarnings(stderr: string): string[] {
  return stderr.split('\n').flatMap((line) => {
    const text = /^(?:\S*\/)?pg_combinebackup: warning: (.*)$/.exec(line)?.[1];
    return text === undefined || text.startsWith('--link mode was used') ? [] : [text];
  });
}

/** Why it has failed, in its own words. */
export function combineFailure(stderr: string): string {
  const lines = stderr.split('\n').flatMap((line) => {
    const text = /^(?:\S*\/)?pg_combinebackup: (?:error|detail): (.*)$/.exec(line)?.[1];
    return text === undefined ? [] : [text];
  });
  return (lines.length > 0 ? lines.join('; ') : stderr.trim()).slice(-1500);
}
