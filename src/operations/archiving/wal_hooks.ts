/**
 * Renders the hooks that a server calls for its WAL, wal_push (archive_command) and wal_fetch
 * (restore_command), from their templates, and puts them where the server finds them.
 */

import { dirname, join } from 'node:path';
import { HoldfastError } from '../../core/errors.ts';
import { encodeComponent } from '../../core/names.ts';
import { shellQuote } from '../../core/quote.ts';
import { formatClaim, type WalClaim } from '../../core/wal_claim.ts';
import { segmentSuffix } from '../../core/wal_listing.ts';
import { makeFolders, replaceFile } from '../../process/durable.ts';
import { findProgram } from '../../process/find_program.ts';
import { readTemplate, type TemplateName } from '../template.ts';
import type { WalEncryption } from './wal_encryption.ts';

/** What is written into a wal_push. */
export interface WalPushFacts {
  /** The folder `incremental/<cluster>/wal`: an absolute path. */
  readonly archive: string;
  /** Where wal_ship.ts leaves its markers: an absolute path, which need not exist. */
  readonly markers: string;
  /** Who may write there. */
  readonly claim: WalClaim;
  /** Of the server, in bytes. */
  readonly segmentBytes: number;
  /** Of zstd, 1 to 19. */
  readonly compressionLevel: number;
  /** The folders of the programs that it calls, as PATH has them: {@link hookPath}. */
  readonly path: string;
  /** How segments are encrypted; not at all unless told. */
  readonly encryption?: WalEncryption | null;
  /** How often, a tenth of a second apart, it waits for digests that somebody writes; 300 times. */
  readonly digestTries?: number;
}

/** What is written into a wal_fetch. */
export interface WalFetchFacts {
  /** The folder `incremental/<cluster>/wal`: an absolute path. */
  readonly archive: string;
  /** Of the server whose WAL it is, in decimal digits. */
  readonly systemIdentifier: string;
  /** Of the server, in bytes. */
  readonly segmentBytes: number;
  /** The folders of the programs that it calls, as PATH has them: {@link hookPath}. */
  readonly path: string;
  /** How many segments are unpacked at once, ahead of the recovery. */
  readonly jobs: number;
  /**
   * Whether a recovery ends before a segment that is missing while the next one is there; otherwise
   * that is an error, since the server would open with data missing. Not unless told.
   */
  readonly gapEndsRecovery?: boolean;
  /** How often, a second apart, what cannot be reached or is damaged is tried; 5 unless told. */
  readonly attempts?: number;
}

/** The names of the hooks. */
export type HookName = 'wal_push' | 'wal_fetch';

/** A hook is run by the server, and is for the repository's owner alone. */
const hookMode = 0o700;
const attemptsDefault = 5;
const digestTriesDefault = 300;
/** What is unpacked ahead takes room beside the WAL of the server that recovers. */
const aheadBytesMax = 256 * 1024 * 1024;
const aheadMax = 8;

/** The programs that the hooks call. */
const programs = [
  'zstd',
  'age',
  'gpg',
  'openssl',
  'od',
  'cmp',
  'sync',
  'ln',
  'mv',
  'rm',
  'wc',
  'ls',
  'stat',
  'sleep',
];
/** Where the system's own programs are. */
const systemFolders = ['/usr/local/bin', '/usr/bin', '/bin'];

/** The two halves of a 64-bit number as od prints them, the lower one first. */
function halves(systemIdentifier: string): [low: string, high: string] {
  const number = BigInt(systemIdentifier);
  return [String(number & 0xffff_ffffn), String(number >> 32n)];
}

/** Puts one word of the shell, or all words of a command, in the place of each placeholder. */
function fill(
  template: TemplateName,
  values: Readonly<Record<string, string | number | readonly string[]>>,
): string {
  return readTemplate(template).replaceAll(/@([A-Z_]+)@/g, (placeholder, name: string) => {
    const value = values[name];
    if (value === undefined) throw new HoldfastError('UNEXPECTED', `no value for ${placeholder}`);
    const words = typeof value === 'object' ? value : [String(value)];
    return words.map(shellQuote).join(' ');
  });
}

/** The text of wal_push for one server. */
export function renderWalPush(facts: WalPushFacts): string {
  const { archive, markers, claim, segmentBytes, compressionLevel, path } = facts;
  const { encryption = null, digestTries = digestTriesDefault } = facts;
  const [low, high] = halves(claim.system_identifier);
  return fill('wal_push.sh', {
    ARCHIVE: archive,
    MARKERS: markers,
    CLAIM: formatClaim(claim),
    HOST: claim.host,
    DATA_DIRECTORY: claim.data_directory,
    SEGMENT_BYTES: segmentBytes,
    SYSTEM_LOW: low,
    SYSTEM_HIGH: high,
    LEVEL: compressionLevel,
    SUFFIX: encryption?.suffix ?? segmentSuffix,
    ENCRYPT: encryption?.command ?? ['cat'],
    DIGEST_TRIES: digestTries,
    PATH: path,
  });
}

/** The text of wal_fetch for one archive. */
export function renderWalFetch(facts: WalFetchFacts): string {
  const { archive, systemIdentifier, segmentBytes, path, jobs } = facts;
  const [low, high] = halves(systemIdentifier);
  const ahead = Math.max(1, Math.min(aheadMax, Math.floor(aheadBytesMax / segmentBytes)));
  return fill('wal_fetch.sh', {
    ARCHIVE: archive,
    SYSTEM_IDENTIFIER: systemIdentifier,
    SYSTEM_LOW: low,
    SYSTEM_HIGH: high,
    SEGMENT_BYTES: segmentBytes,
    AHEAD: ahead,
    JOBS: Math.max(1, Math.min(ahead, jobs)),
    ATTEMPTS: facts.attempts ?? attemptsDefault,
    GAP_ENDS: facts.gapEndsRecovery === true ? 'yes' : 'no',
    PATH: path,
  });
}

/**
 * PATH for the hooks: the folders of what they call, as this user finds it, and the system's.
 *
 * @throws HoldfastError PROGRAM_MISSING without zstd
 */
export async function hookPath(environment: Readonly<Record<string, string>>): Promise<string> {
  const folders = new Set<string>();
  for (const program of programs) {
    const found = await findProgram(program, environment);
    if (found !== null) folders.add(dirname(found));
    else if (program === 'zstd') {
      throw new HoldfastError('PROGRAM_MISSING', 'zstd is not installed: WAL is compressed by it', {
        hint: 'Install it, on Debian: apt-get install zstd.',
      });
    }
  }
  return [...new Set([...folders, ...systemFolders])].join(':');
}

/** Where a hook lies. @param root of the repository */
export function hookFile(root: string, cluster: string, name: HookName): string {
  return join(root, 'hooks', encodeComponent(cluster), name);
}

/** Puts a hook in its place, whole or not at all; a server may be calling the one before. */
export async function writeHook(path: string, text: string): Promise<void> {
  await makeFolders(dirname(path));
  await replaceFile(path, Buffer.from(text, 'utf8'), hookMode);
}

/** A path as one word of a command in which the server replaces `%p` and `%f`. */
function commandWord(path: string): string {
  return shellQuote(path).replaceAll('%', '%%');
}

/**
 * The value of archive_command (manual, "Continuous Archiving"): a status above 125 would end the
 * archiver, and pg_stat_archiver would not count it.
 */
export function archiveCommand(hook: string): string {
  return `${commandWord(hook)} %p %f || exit 1`;
}

/**
 * The value of restore_command: the status is wal_fetch's own.
 *
 * @param unfinished a file within the cluster's folder that stands for its segment where no
 *   complete one is there: the recovery ends with it. `null`: none does; no standby takes one
 * @param last the segment in which the target lies: the server reads ahead of it, and shall not end
 *   in FATAL for what is wrong there (recovery_prefetch). `null`: all that there is is needed
 */
export function restoreCommand(
  hook: string,
  unfinished: string | null = null,
  last: string | null = null,
): string {
  const words = last === null ? [unfinished] : [unfinished ?? '', last];
  const more = words.map((word) => (word === null ? '' : ` ${commandWord(word)}`)).join('');
  return `${commandWord(hook)} %f %p${more}`;
}

/** The value of recovery_end_command: removes what was unpacked ahead. */
export function recoveryEndCommand(hook: string): string {
  return `${commandWord(hook)} --end`;
}
