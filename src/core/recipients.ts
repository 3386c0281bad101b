/** For whom backups are encrypted: public keys, as people write them and as manifests keep them. */

import { HoldfastError } from './errors.ts';

/** An age header with more is refused by nobody, but nobody has more keys to keep either. */
export const recipientsMax = 100;

/** A program that encrypts, and for whom. */
export interface EncryptionSpec {
  readonly name: 'age' | 'gpg';
  /** Public keys, or fingerprints of them; none where nobody has written them down. */
  readonly recipients: string[];
}

/** A public key of age in Bech32, of a plugin too, or one of SSH without its comment. */
export const ageRecipientPattern =
  '^(?:age1[0-9a-z]{6,2200}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/]{40,2800}={0,2})$';

/** The fingerprint of an OpenPGP key, of version 4 or newer (RFC 9580, 5.5.4), without spaces. */
export const gpgRecipientPattern = '^(?:[0-9A-F]{40}|[0-9A-F]{64})$';

const ageRecipient = new RegExp(ageRecipientPattern);
const gpgRecipient = new RegExp(gpgRecipientPattern);

const ageHint =
  'Write public keys, as age-keygen -y FILE prints them (age1…), or keys of SSH ' +
  '(ssh-ed25519 …, ssh-rsa …).';

function refuse(message: string, hint: string): never {
  throw new HoldfastError('CONFIG_INVALID', message, { hint });
}

/** Whether a text holds a private key of age. Whoever finds one must not print it. */
export function holdsAgeSecret(text: string): boolean {
  return /AGE-SECRET-KEY-/i.test(text) || /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text);
}

/** @throws HoldfastError CONFIG_INVALID, which does not print what it found */
export function requireNoAgeSecret(text: string, place: string): void {
  if (!holdsAgeSecret(text)) return;
  refuse(
    `${place} holds a private key, which has no place there`,
    `Take it out, and where others may have read it make a new one. ${ageHint}`,
  );
}

/** Whether a text is public keys of age itself, and not the path of a file with them. */
export function isAgeRecipients(text: string): boolean {
  return /^\s*(?:age1|ssh-)/.test(text);
}

function bounded(recipients: readonly string[], place: string, hint: string): readonly string[] {
  const unique = [...new Set(recipients)];
  if (unique.length === 0) refuse(`${place} names nobody`, hint);
  if (unique.length > recipientsMax) {
    refuse(`${place} names more than ${recipientsMax} recipients`, hint);
  }
  return unique;
}

/**
 * Takes a list of public keys apart: with commas between, or one in each line, where lines that
 * begin with # are comments (age(1), --recipients-file).
 *
 * @param place where the text stands, for the message
 * @throws HoldfastError CONFIG_INVALID
 */
export function parseAgeRecipients(text: string, place: string): readonly string[] {
  requireNoAgeSecret(text, place);
  const entries = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => !line.startsWith('#'))
    .flatMap((line) => line.split(','))
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  const recipients = entries.map((entry) => {
    // What follows the key of SSH is a comment.
    const key = entry.startsWith('ssh-') ? entry.split(/\s+/, 2).join(' ') : entry;
    if (ageRecipient.test(key)) return key;
    return refuse(`${place}: ${JSON.stringify(entry)} is no public key of age`, ageHint);
  });
  return bounded(recipients, place, ageHint);
}

/**
 * Takes a list of fingerprints apart. A short key id can be forged, so none is taken.
 *
 * @throws HoldfastError CONFIG_INVALID
 */
export function parseGpgRecipients(text: string, place: string): readonly string[] {
  const hint = 'Write whole fingerprints, as gpg --list-keys prints them, with commas between.';
  const entries = text
    .split(/[,\n]/)
    .map((entry) => entry.replaceAll(/\s/g, ''))
    .filter((entry) => entry !== '');
  const recipients = entries.map((entry) => {
    const fingerprint = entry.replace(/^0x/i, '').toUpperCase();
    if (gpgRecipient.test(fingerprint)) return fingerprint;
    return refuse(`${place}: ${JSON.stringify(entry)} is no fingerprint of a key`, hint);
  });
  return bounded(recipients, place, hint);
}

/** The filter among these that encrypts; `null` where none does. */
export function encryptionOf(
  filters: readonly { readonly name: string; readonly recipients?: readonly string[] }[],
): EncryptionSpec | null {
  for (const { name, recipients } of filters) {
    if (name === 'age' || name === 'gpg') return { name, recipients: [...(recipients ?? [])] };
  }
  return null;
}
