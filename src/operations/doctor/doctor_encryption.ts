/** Whether a new backup can be encrypted, and where a key is at hand also decrypted. */

import { Readable } from 'node:stream';
import type { Finding } from '../../core/doctor.ts';
import { formatCount } from '../../core/units.ts';
import { probeEncryption } from '../../pipeline/encryption_check.ts';
import { newEncryption } from '../../pipeline/new_backup_filters.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { type Context, flowContext } from '../context.ts';
import { attempt, finding } from './doctor_finding.ts';

/**
 * Encrypts a probe as a backup would be; decrypts it where AGE_IDENTITY_FILE names a key. Nothing
 * is written, and nobody is asked.
 *
 * @returns nothing where backups are not encrypted
 */
export async function examineEncryption(context: Context): Promise<readonly Finding[]> {
  const { settings } = context.config;
  if (settings.encryption === 'none') return [];
  const about = { check: 'encryption', subject: settings.encryption } as const;
  return attempt(context, about, async () => {
    const spec = await newEncryption(settings, context.environment);
    if (spec === null) return [];
    const flow = flowContext(context);
    const encrypted = await probeEncryption(spec, flow);
    const whom = formatCount(spec.recipients.length, 'recipient');
    const done = finding(about, 'ok', `encrypts for ${whom}: ${spec.recipients.join(', ')}`);
    if (spec.name !== 'age' || settings.age_identity_file === null) return [done];
    const found = { ...about, subject: settings.age_identity_file };
    const decrypted = await attempt(context, found, async () => {
      await readBack({ body: Readable.from([encrypted]), filters: [spec], context: flow });
      const message =
        'decrypts what is encrypted here: on a machine that backs up it opens every backup to ' +
        'whoever takes that over';
      return [finding(found, 'note', message)];
    });
    return [done, ...decrypted];
  });
}
