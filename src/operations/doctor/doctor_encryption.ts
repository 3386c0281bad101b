/** Whether a new backup can be encrypted, and where a key is at hand also decrypted. */

import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { Finding } from '../../core/doctor.ts';
import { formatCount } from '../../core/units.ts';
import { encryptionFilter } from '../../pipeline/encrypt.ts';
import { newEncryption } from '../../pipeline/new_backup_filters.ts';
import { store } from '../../pipeline/pipeline.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { type Context, flowContext } from '../context.ts';
import { attempt, finding } from './doctor_finding.ts';

const probeBytes = 100_000;

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
    const probe = context.randomBytes(probeBytes);
    let encrypted: Buffer = Buffer.alloc(0);
    const flow = flowContext(context);
    const { plain } = await store({
      source: Readable.from([probe]),
      filters: [encryptionFilter(spec)],
      observers: [],
      sinks: [
        async (body) => {
          encrypted = await buffer(body);
        },
      ],
      context: flow,
    });
    const whom = formatCount(spec.recipients.length, 'recipient');
    const done = finding(about, 'ok', `encrypts for ${whom}: ${spec.recipients.join(', ')}`);
    if (spec.name !== 'age' || settings.age_identity_file === null) return [done];
    const file = settings.age_identity_file;
    const found = { ...about, subject: file };
    const decrypted = await attempt(context, found, async () => {
      const read = await readBack({
        body: Readable.from([encrypted]),
        filters: [spec],
        context: flow,
      });
      if (read.plain.sha256 !== plain?.sha256) {
        return [finding(found, 'problem', 'what it decrypts is not what was encrypted')];
      }
      const message =
        'decrypts what is encrypted here: on a machine that backs up it opens every backup to ' +
        'whoever takes that over';
      return [finding(found, 'note', message)];
    });
    return [done, ...decrypted];
  });
}
