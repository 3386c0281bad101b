/** What a new backup goes through: compression first, since nothing encrypted can be compressed. */

import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { Settings } from '../config/schema.ts';
import { HoldfastError } from '../core/errors.ts';
import {
  type EncryptionSpec,
  isAgeRecipients,
  parseAgeRecipients,
  parseGpgRecipients,
  requireNoAgeSecret,
} from '../core/recipients.ts';
import { compressionFilter } from './compress.ts';
import { encryptionFilter } from './encrypt.ts';
import type { Filter } from './filter.ts';

/** The settings that say how a new backup is compressed and encrypted. */
export type FilterSettings = Pick<
  Settings,
  'compression' | 'compression_level' | 'encryption' | 'age_recipients' | 'gpg_recipients'
>;

function nobody(setting: string, variable: string, example: string): HoldfastError {
  const message = `encryption is switched on, and ${setting} (${variable}) names nobody`;
  return new HoldfastError('CONFIG_INVALID', message, {
    hint: `Set ${variable} to the public keys of those who may restore: ${example}.`,
  });
}

/** Public keys out of a file that the setting names. */
async function recipientsFile(
  path: string,
  environment: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const { HOME: home } = environment;
  const absolute = path.startsWith('~/') && home !== undefined ? join(home, path.slice(2)) : path;
  if (!isAbsolute(absolute)) {
    const shown = JSON.stringify(path);
    const message = `age_recipients: ${shown} is neither a public key nor the whole path of a file`;
    throw new HoldfastError('CONFIG_INVALID', message, {
      hint: 'Write public keys (age1…) with commas between, or a path that begins with /.',
    });
  }
  let text: string;
  try {
    text = await readFile(absolute, 'utf8');
  } catch (error) {
    const message = `age_recipients: the file ${absolute} cannot be read`;
    throw new HoldfastError('CONFIG_INVALID', `${message}: ${(error as Error).message}`, {
      hint: 'Name a file with a public key in each line, which this user may read.',
      cause: error,
    });
  }
  return parseAgeRecipients(text, absolute);
}

/**
 * For whom a new backup is encrypted, as the settings say; `null`: for nobody, it is not.
 *
 * @param environment HOME is what `~/` stands for
 * @throws HoldfastError CONFIG_INVALID when nobody is named, or something that is no key
 */
export async function newEncryption(
  settings: Omit<FilterSettings, 'compression' | 'compression_level'>,
  environment: Readonly<Record<string, string>>,
): Promise<EncryptionSpec | null> {
  const { encryption, age_recipients: age, gpg_recipients: gpg } = settings;
  switch (encryption) {
    case 'none':
      return null;
    case 'age': {
      if (age === null) throw nobody('age_recipients', 'AGE_RECIPIENTS', 'age1…');
      requireNoAgeSecret(age, 'age_recipients');
      const recipients = isAgeRecipients(age)
        ? parseAgeRecipients(age, 'age_recipients')
        : await recipientsFile(age.trim(), environment);
      return { name: 'age', recipients: [...recipients] };
    }
    case 'gpg': {
      if (gpg === null) throw nobody('gpg_recipients', 'GPG_RECIPIENTS', 'whole fingerprints');
      return { name: 'gpg', recipients: [...parseGpgRecipients(gpg, 'gpg_recipients')] };
    }
  }
}

/**
 * The filters of a new backup, in their order.
 *
 * @throws HoldfastError CONFIG_INVALID
 */
export async function newBackupFilters(
  settings: FilterSettings,
  environment: Readonly<Record<string, string>>,
): Promise<readonly Filter[]> {
  const { compression: name, compression_level: level } = settings;
  const encryption = await newEncryption(settings, environment);
  return [
    ...(name === 'none' ? [] : [compressionFilter({ name, level })]),
    ...(encryption === null ? [] : [encryptionFilter(encryption)]),
  ];
}
