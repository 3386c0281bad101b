/**
 * Writes what is generated from the code: the samples and the tables of the settings, the published
 * schemas of manifests, alerts and reports, and the default schedule in `cron/` and `systemd/`.
 * With `--check` it writes nothing and ends with status 1 where a file differs.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceGenerated, sampleEnv, sampleYaml, settingsTable } from '../src/config/describe.ts';
import { alertSchemaText } from '../src/core/alert.ts';
import { baseManifestSchemaText } from '../src/core/base_manifest_codec.ts';
import { hookSchemaText } from '../src/core/hook.ts';
import { manifestSchemaText } from '../src/core/manifest_codec.ts';
import { monitorSchemaText } from '../src/core/monitor_report.ts';
import { readTemplate } from '../src/operations/template.ts';
import { defaultSchedule, usualPlaces } from '../src/schedule/default_schedule.ts';
import { renderCrontab, usualCronHost } from '../src/schedule/render_cron.ts';
import { renderSystemd, usualUnitHost } from '../src/schedule/render_systemd.ts';

const projectDir = join(import.meta.dirname, '..');

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

const crontabOf = (user: string | null) =>
  renderCrontab(defaultSchedule(), usualCronHost(user), readTemplate('crontab'));

const generators: Readonly<Record<string, (before: string) => string>> = {
  'holdfast.sample.yaml': sampleYaml,
  '.env.example': sampleEnv,
  'docs/reference/settings.md': (before) => replaceGenerated(before, settingsTable('all')),
  'docs/schemas/alert.schema.json': alertSchemaText,
  'docs/schemas/base_manifest.schema.json': baseManifestSchemaText,
  'docs/schemas/hook.schema.json': hookSchemaText,
  'docs/schemas/manifest.schema.json': manifestSchemaText,
  'docs/schemas/monitor.schema.json': monitorSchemaText,
  'README.md': (before) => replaceGenerated(before, settingsTable('general')),
  'cron/crontab': () => crontabOf(null),
  'cron/cron.d-holdfast': () => crontabOf(usualPlaces.user),
  ...Object.fromEntries(
    renderSystemd(defaultSchedule(), usualUnitHost, readTemplate).map(({ name, text }) => [
      `systemd/${name}`,
      () => text,
    ]),
  ),
};

const check = process.argv.includes('--check');
let differing = 0;
for (const [name, generate] of Object.entries(generators)) {
  const file = join(projectDir, name);
  const before = readIfThere(file);
  const after = generate(before);
  if (after === before) continue;
  differing += 1;
  if (!check) writeFileSync(file, after);
  process.stderr.write(`${name} ${check ? 'differs: run docs/generate.ts' : 'written'}\n`);
}
process.exitCode = check && differing > 0 ? 1 : 0;
