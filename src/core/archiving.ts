/** What a server has to be set to for its WAL to be archived, and what of it is missing. */

/** What the server and its configuration files say of one setting. */
export interface SettingFact {
  readonly name: string;
  /** In effect now. */
  readonly current: string;
  /** In effect after a reload or a restart, as far as the files say. */
  readonly coming: string;
  /** What postgresql.auto.conf holds, which ALTER SYSTEM writes; `null`: nothing. */
  readonly own: string | null;
  /** The command line of the server sets it: no file can change that. */
  readonly isFixed: boolean;
}

/** One `ALTER SYSTEM SET`. */
export interface SettingChange {
  readonly name: string;
  readonly value: string;
}

/** What has to be done to a server. */
export interface ArchivingPlan {
  readonly changes: readonly SettingChange[];
  /** Settings by which something else archives the WAL now. */
  readonly foreign: readonly SettingFact[];
  /** Settings that the command line of the server holds at a wrong value. */
  readonly fixed: readonly SettingFact[];
  /** Settings that wait for a restart, those among the changes too. */
  readonly restart: readonly string[];
}

/** The settings that count, as PostgreSQL names them. A server has those of its version. */
export const archivingSettings = [
  'wal_level',
  'archive_mode',
  'archive_command',
  'archive_library',
  'summarize_wal',
] as const;

const onWords = new Set(['on', 'true', 'yes', '1']);
const restartSettings = new Set(['wal_level', 'archive_mode']);

/** Whether a value does for archiving with this archive_command. */
function isFine(name: string, value: string, command: string): boolean {
  const word = value.toLowerCase();
  switch (name) {
    case 'wal_level':
      return word === 'replica' || word === 'logical';
    case 'archive_mode':
      return onWords.has(word) || word === 'always';
    case 'archive_library':
      return value === '';
    case 'summarize_wal':
      return onWords.has(word);
    default:
      return value === command;
  }
}

function wantedValue(name: string, command: string): string {
  if (name === 'wal_level') return 'replica';
  if (name === 'archive_library') return '';
  return name === 'archive_command' ? command : 'on';
}

/**
 * Decides what has to change.
 *
 * @param command the archive_command that is wanted
 */
export function planArchiving(facts: readonly SettingFact[], command: string): ArchivingPlan {
  const wrong = facts.filter(({ name, coming }) => !isFine(name, coming, command));
  const isForeign = ({ name, coming }: SettingFact) =>
    (name === 'archive_command' || name === 'archive_library') && coming !== '';
  return {
    changes: wrong.map(({ name }) => ({ name, value: wantedValue(name, command) })),
    foreign: wrong.filter(isForeign),
    fixed: wrong.filter(({ isFixed }) => isFixed),
    restart: facts
      .filter(({ name, current }) => restartSettings.has(name) && !isFine(name, current, command))
      .map(({ name }) => name),
  };
}

/** Whether a server archives with this command now. */
export function isArchiving(facts: readonly SettingFact[], command: string): boolean {
  return facts
    .filter(({ name }) => name !== 'summarize_wal')
    .every(({ name, current }) => isFine(name, current, command));
}
