/** Everything that is said about settings, from the one table: samples and reference. */

import { allSettings, type groupTables, type SettingPath } from './schema.ts';
import type { Setting } from './setting.ts';
import { describeAllowed, freeText } from './values.ts';

/** The default in words, for tables and help. */
function describeDefault(setting: Setting): string {
  if (setting.defaultText !== undefined) return setting.defaultText;
  return setting.default === null ? 'none' : String(setting.default);
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** The comment above a setting in a sample file. */
function comment(setting: Setting, prefix: string): string[] {
  const { schema } = setting;
  const choices =
    'enum' in schema && schema.enum !== undefined ? ` One of ${schema.enum.join(', ')}.` : '';
  const byDefault = ` Default: ${describeDefault(setting).replaceAll('`', '')}.`;
  const text = `${setting.description}${choices}${byDefault}`.replaceAll('`', '');
  return wrap(text, 92 - prefix.length).map((line) => `${prefix}# ${line}`);
}

/** A scalar that YAML reads back as it is meant; JSON's strings are YAML's too. */
function yamlScalar(value: string | number | boolean): string {
  const plain = typeof value !== 'string' || /^[A-Za-z/][A-Za-z0-9_./-]*$/.test(value);
  return plain ? String(value) : JSON.stringify(value);
}

function yamlLines(name: string, setting: Setting, indent: string): string[] {
  return [...comment(setting, indent), `${indent}#${name}: ${yamlScalar(setting.example)}`, ''];
}

const databasesSample = [
  '# The databases that commands mean when none is named: a list of names, or a mapping whose keys',
  '# name databases with connections of their own. What an entry leaves out is taken from above.',
  '#databases: [mastertrade, tutoring]',
  '#databases:',
  '#  trading:',
  '#    url: postgresql://backup@db.example.com/mastertrade',
  '#  tutoring:',
  '#    host: 192.0.2.20',
  '#    dbname: tutoring_production',
  '#    user: backup',
];

const storesSample = [
  '# More stores, by names of your own: each a folder (path) or a bucket, with the settings of s3',
  '# above. What an entry leaves out is taken from there.',
  '#stores:',
  '#  nas:',
  '#    path: /mnt/nas/holdfast',
  '#    required: false',
  '#  offsite:',
  '#    bucket: acme-offsite',
  '#    endpoint: https://s3.example.org',
  '',
];

interface GroupSample {
  readonly heading: readonly string[];
  /** What stands behind the settings of the group. */
  readonly after?: readonly string[];
}

/** The groups of the sample, in their order there. */
const groupSamples: Readonly<Record<keyof typeof groupTables, GroupSample>> = {
  s3: { heading: ['# A bucket that copies of the backups go to.'], after: storesSample },
  schedule: { heading: ['# When setup_cron.ts and setup_systemd.ts let which job run.'] },
  monitor: { heading: ['# What the monitor takes for healthy.'] },
  alerts: { heading: ['# Where alerts go, and which.'] },
  hooks: { heading: ['# Programs of your own that run before and after.'] },
  connection: {
    heading: [
      "# How to reach the server: libpq's own parameters, by their names in PostgreSQL's manual.",
    ],
    after: databasesSample,
  },
};

/** The text of holdfast.sample.yaml: every setting, commented out, with an example. */
export function sampleYaml(): string {
  const lines = [
    '# Every setting of Holdfast. Copy this file to holdfast.yaml beside package.json and take',
    '# the # away from what you set. Flags beat the environment, which beats .env, which beats',
    '# this file. With a password in it, it belongs to its user alone: chmod 600 holdfast.yaml',
    '',
  ];
  const settings = allSettings();
  for (const [path, setting] of settings) {
    if (!path.includes('.')) lines.push(...yamlLines(path, setting, ''));
  }
  for (const [group, { heading, after = [] }] of Object.entries(groupSamples)) {
    lines.push(...heading, `${group}:`);
    for (const [path, setting] of settings) {
      const [first, name] = path.split('.');
      if (first === group && name !== undefined) lines.push(...yamlLines(name, setting, '  '));
    }
    lines.push(...after);
  }
  return `${lines.join('\n')}\n`;
}

function envScalar(value: string | number | boolean): string {
  const text = String(value);
  return /^[A-Za-z0-9_.,:/@?=&+-]*$/.test(text) ? text : `'${text}'`;
}

/** The text of .env.example: every variable, commented out, with an example. */
export function sampleEnv(): string {
  const lines = [
    '# Every setting of Holdfast as a variable. Copy this file to .env beside package.json and',
    '# take the # away from what you set. Nothing is run or replaced in it: $(…) is refused, and',
    '# a value with a # or a space in it stands in single quotes. It holds passwords:',
    '# chmod 600 .env',
    '',
  ];
  for (const [, setting] of allSettings()) {
    const [canonical, ...aliases] = setting.env;
    if (canonical === undefined) continue;
    lines.push(...comment(setting, ''));
    if (aliases.length > 0) lines.push(`# Also: ${aliases.join(', ')}`);
    lines.push(`#${canonical}=${envScalar(setting.example)}`, '');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

function row(path: SettingPath, setting: Setting): string {
  const code = (texts: readonly string[]) => texts.map((text) => `\`${text}\``).join(' ');
  const isFreeText = setting.allowed === undefined && describeAllowed(setting) === freeText;
  const allowed = isFreeText ? '' : ` (${describeAllowed(setting)})`;
  const cells = [
    code([path]),
    code(setting.env),
    setting.flag === undefined ? '' : code([`--${setting.flag}`]),
    describeDefault(setting),
    `${setting.description}${setting.secret === true ? ' (secret)' : allowed}`,
  ];
  return `| ${cells.map(cell).join(' | ')} |`;
}

/** A table of settings in Markdown: all of them, or those at the top of holdfast.yaml only. */
export function settingsTable(which: 'all' | 'general'): string {
  const settings = allSettings().filter(([path]) => which === 'all' || !path.includes('.'));
  return [
    '| setting | variable | flag | default | what it says |',
    '|---|---|---|---|---|',
    ...settings.map(([path, setting]) => row(path, setting)),
    '',
  ].join('\n');
}

/**
 * Puts generated text between the markers `<!-- settings:begin -->` and `<!-- settings:end -->`;
 * a text without them stays as it is.
 */
export function replaceGenerated(document: string, generated: string): string {
  const begin = '<!-- settings:begin -->\n';
  const end = '<!-- settings:end -->';
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from === -1 || to < from) return document;
  return `${document.slice(0, from + begin.length)}\n${generated}\n${document.slice(to)}`;
}
