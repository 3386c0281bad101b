/** The flags that every command has, and those that are settings. */

import type { Argv } from 'yargs';
import { allSettings } from '../config/schema.ts';
import type { Setting } from '../config/setting.ts';
import type { Command, FlagName } from './command.ts';

/** The flags of every command (PRODUCT.md, "Commands"). */
export interface CommonFlags {
  readonly config?: string;
  readonly 'env-file'?: string;
  readonly 'backup-dir'?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly job?: string;
}

const commonGroup = 'Every command has:';
const settingGroup = 'Settings (they beat the environment, .env and holdfast.yaml):';

/** Adds the flags that every command has. */
export function commonOptions(parser: Argv): Argv {
  return parser
    .option('backup-dir', {
      type: 'string',
      requiresArg: true,
      describe: 'The repository, in place of BACKUP_DIR',
      group: commonGroup,
    })
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'Read this holdfast.yaml',
      group: commonGroup,
    })
    .option('env-file', {
      type: 'string',
      requiresArg: true,
      describe: 'Read this .env',
      group: commonGroup,
    })
    .option('json', {
      type: 'boolean',
      describe: 'One JSON document on stdout, nothing else there',
      group: commonGroup,
    })
    .option('quiet', {
      type: 'boolean',
      describe: 'Say only warnings and errors',
      group: commonGroup,
    })
    .option('verbose', {
      type: 'boolean',
      describe: 'Say the details too',
      group: commonGroup,
    })
    .option('job', {
      type: 'string',
      requiresArg: true,
      describe: 'The job of the schedule that this run is: recorded, and never twice at once',
      group: commonGroup,
    })
    .conflicts('quiet', 'verbose')
    .group(['help', 'version'], commonGroup);
}

/** Adds the flags of a command that are settings, with what the one table of settings says. */
export function settingOptions(parser: Argv, command: Command): Argv {
  let extended = parser;
  for (const [, setting] of allSettings()) {
    const flag = (setting as Setting).flag;
    if (flag === undefined || !command.settings.includes(flag as FlagName)) continue;
    extended = extended.option(flag, {
      type: 'string',
      requiresArg: true,
      describe: setting.description,
      group: settingGroup,
    });
  }
  return extended;
}
