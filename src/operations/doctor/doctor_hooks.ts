/** Whether the hooks of the settings can run. None is run: nobody knows what it would do. */

import type { Finding } from '../../core/doctor.ts';
import { hookNames } from '../../core/hook.ts';
import type { Context } from '../context.ts';
import { hookTrouble } from '../hook_file.ts';
import { attempt, finding } from './doctor_finding.ts';

/** Looks at the file of each hook that is set. */
export async function examineHooks(context: Context): Promise<Finding[]> {
  const { hooks } = context.config.settings;
  const findings: Finding[] = [];
  for (const name of hookNames) {
    const path = hooks[name];
    if (path === null) continue;
    const about = { check: 'hooks', subject: `${name} (${path})` } as const;
    const found = await attempt(context, about, async () => {
      const trouble = await hookTrouble(path);
      if (trouble === null) return [finding(about, 'ok', 'it can be executed')];
      const level = trouble.kind === 'fatal' ? 'problem' : 'warning';
      return [finding(about, level, trouble.message, trouble.command ?? trouble.hint)];
    });
    findings.push(...found);
  }
  return findings;
}
