/** The command scripts/doctor.ts: what was found, the worst last, with what mends it. */

import { styleText } from 'node:util';
import { storesOf } from '../config/stores.ts';
import { accessPolicy, lifecycleRules } from '../core/bucket_policy.ts';
import {
  doctorStatus,
  type Finding,
  type FindingLevel,
  findingLevels,
  inOrder,
} from '../core/doctor.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { printable, printableText } from '../core/printable.ts';
import { redactPasswords } from '../core/secret.ts';
import { formatCount } from '../core/units.ts';
import type { Context } from '../operations/context.ts';
import { examine } from '../operations/doctor/doctor.ts';
import type { SettingFact } from '../operations/doctor/doctor_settings.ts';
import type { CommandResult, Invocation, OutputStream } from './command.ts';
import { formatTable } from './table.ts';

/** How a level is written and coloured: what is wrong is loud. */
const marks: Readonly<
  Record<FindingLevel, readonly [string, 'green' | 'cyan' | 'yellow' | 'red']>
> = {
  ok: ['ok', 'green'],
  note: ['note', 'cyan'],
  warning: ['warning', 'yellow'],
  problem: ['PROBLEM', 'red'],
};
const levelWidth = 7;

/** One finding: its line, and below it what mends it, on a line that can be copied. */
function describeFinding(finding: Finding, checkWidth: number, stdout: OutputStream): string {
  const { check, subject, level, message, mend } = finding;
  const [word, style] = marks[level];
  const padded = word.padEnd(levelWidth);
  const mark = stdout.isTTY === true ? styleText(style, padded, { stream: stdout }) : padded;
  const about = subject === '' ? '' : `${printable(subject)}: `;
  const lines = [`${mark}  ${check.padEnd(checkWidth)}  ${about}${printableText(message)}`];
  if (mend !== null) lines.push(`${' '.repeat(levelWidth)}  mend: ${printableText(mend)}`);
  return redactPasswords(`${lines.join('\n')}\n`);
}

/** Where a setting was written, as people look for it. */
function placeOf({ origin, written, file, line, alias_of: aliasOf }: SettingFact): string {
  const alias = aliasOf === null ? '' : ` (also called ${aliasOf})`;
  if (origin === 'default') return 'default';
  if (file === null) return `${origin} ${written}${alias}`;
  return `${file}${line === null ? '' : ` line ${line}`}, ${written}${alias}`;
}

/** The settings in effect; those that nobody has set only where details are wanted. */
function describeSettings(settings: readonly SettingFact[], verbose: boolean): string {
  const told = settings.filter(({ origin }) => verbose || origin !== 'default');
  if (told.length === 0) return '';
  const rows = told.map((fact) => [
    fact.name,
    fact.value === null ? '' : printable(String(fact.value)),
    printable(placeOf(fact)),
  ]);
  return `${formatTable(['setting', 'value', 'from'], rows)}\n`;
}

function summary(findings: readonly Finding[]): string {
  const count = (level: FindingLevel) => findings.filter((each) => each.level === level).length;
  const [problems, warnings] = [count('problem'), count('warning')];
  if (problems + warnings === 0) return 'Nothing is wrong.\n';
  return `${formatCount(problems, 'problem')}, ${formatCount(warnings, 'warning')}.\n`;
}

/** The policies of the buckets that the settings name: nothing is asked of any of them. */
function policies({ config }: Context): CommandResult {
  const buckets = storesOf(config.settings).flatMap((spec) => (spec.kind === 's3' ? [spec] : []));
  if (buckets.length === 0) {
    throw new HoldfastError('USAGE', 'no bucket is set, so there is no policy for one', {
      hint: 'Set BACKUP_BUCKET, or a bucket under stores in holdfast.yaml.',
    });
  }
  const documents = buckets.map(({ name, s3 }) => {
    const place = {
      bucket: s3.bucket,
      prefix: s3.prefix,
      isLocked: s3.object_lock_mode !== null,
      isTagged: s3.tags,
      kmsKeyId: s3.server_side_encryption === 'aws:kms' ? (s3.kms_key_id ?? '*') : null,
    };
    return {
      store: name,
      policy: accessPolicy(place, true),
      policy_without_delete: accessPolicy(place, false),
      lifecycle: lifecycleRules(place),
    };
  });
  const text = documents.flatMap(({ store, policy, policy_without_delete, lifecycle }) => [
    `# ${store}: the policy of the key`,
    JSON.stringify(policy, null, 2),
    `# ${store}: the same for a key that cannot delete: retention is then somebody else's`,
    JSON.stringify(policy_without_delete, null, 2),
    `# ${store}: the lifecycle of the bucket`,
    JSON.stringify(lifecycle, null, 2),
  ]);
  return { status: exitStatus.done, json: { stores: documents }, text: `${text.join('\n')}\n` };
}

/** Runs the command. */
export async function doctorCommand(invocation: Invocation): Promise<CommandResult> {
  const { context, flags, operands, world } = invocation;
  if (flags.policy === true) return policies(context);
  const report = await examine(context, { named: operands, all: flags.all === true });
  const quiet = flags.quiet === true;
  const findings = inOrder(report.findings);
  const told = quiet
    ? findings.filter(({ level }) => level === 'warning' || level === 'problem')
    : findings;
  const checkWidth = Math.max(0, ...told.map(({ check }) => check.length));
  const lines = told.map((each) => describeFinding(each, checkWidth, world.stdout));
  const settings = quiet ? '' : describeSettings(report.settings, flags.verbose === true);
  const end = quiet && told.length === 0 ? '' : summary(findings);
  const status = doctorStatus(findings);
  const counts = Object.fromEntries(
    findingLevels.map((level) => [level, findings.filter((each) => each.level === level).length]),
  );
  const json = { exit_status: status, counts, findings, settings: report.settings };
  return { status, json, text: `${settings}${lines.join('')}${end}` };
}
