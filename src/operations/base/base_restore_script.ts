/** Renders restore.sh, the script that lies beside every base backup, from its template. */

import type { BaseTablespace } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { FilterSpec } from '../../core/manifest.ts';
import { shellQuote } from '../../core/quote.ts';
import { encryptionOf } from '../../core/recipients.ts';
import { formatBytes } from '../../core/units.ts';
import { readTemplate } from '../template.ts';

/** What is written into the restore.sh of a base backup. */
export interface BaseScriptFacts {
  readonly label: string;
  /** What has to be unpacked: the whole one first, this one last. */
  readonly chain: readonly string[];
  /** Of every archive in the chain. */
  readonly filters: readonly FilterSpec[];
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly serverVersion: string;
  readonly serverMajor: number;
  readonly toolVersion: string;
  readonly clusterBytes: number;
  readonly backupBytes: number;
  readonly damagedPages: number;
  readonly tablespaces: readonly Pick<BaseTablespace, 'oid' | 'name'>[];
  /** Names of files of the backup. */
  readonly savedConfig: readonly string[];
}

/** For whom everything in the chain is encrypted, one key in a line. */
function describeRecipients(filters: readonly FilterSpec[]): string {
  return [...new Set(filters.flatMap((filter) => encryptionOf([filter])?.recipients ?? []))].join(
    '\n',
  );
}

/** The text of restore.sh for one base backup: every value is one word in single quotes. */
export function renderBaseScript(facts: BaseScriptFacts): string {
  const values = new Map<string, string>([
    ['LABEL', facts.label],
    ['CHAIN', facts.chain.join(' ')],
    ['PROGRAMS', [...new Set(facts.filters.map(({ name }) => name))].join(' ')],
    ['RECIPIENTS', describeRecipients(facts.filters)],
    ['MAJOR', String(facts.serverMajor)],
    ['CREATED_AT', facts.createdAt],
    ['SERVER_VERSION', facts.serverVersion],
    ['TOOL_VERSION', facts.toolVersion],
    ['CLUSTER_SIZE', formatBytes(facts.clusterBytes)],
    ['BACKUP_SIZE', formatBytes(facts.backupBytes)],
    ['DAMAGED_PAGES', String(facts.damagedPages)],
    ['SAVED_CONFIG', facts.savedConfig.join(' ')],
    [
      'TABLESPACES',
      facts.tablespaces.map(({ oid, name }) => `${oid} ${JSON.stringify(name)}`).join('\n'),
    ],
  ]);
  return readTemplate('restore_base.sh').replaceAll(/@([A-Z_]+)@/g, (placeholder, name: string) => {
    const value = values.get(name);
    if (value === undefined) throw new HoldfastError('UNEXPECTED', `no value for ${placeholder}`);
    return shellQuote(value);
  });
}
