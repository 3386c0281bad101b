/**
 * The encrypting filters: the programs age and gpg. A backup needs public keys alone; the private
 * ones come from a file, from the keyring, or from a person at the terminal.
 */

import { HoldfastError } from '../core/errors.ts';
import type { EncryptionSpec } from '../core/recipients.ts';
import { findProgram } from '../process/find_program.ts';
import { type ChildOptions, lostReaderWords, startChild } from '../process/stream.ts';
import { openAgeIdentity } from './age_identity.ts';
import type { Filter, FilterContext, Stage } from './filter.ts';

/** What each program comes in, where it has another name. */
const packages = { age: 'age', gpg: 'gnupg' } as const;

/**
 * Where the program lies.
 *
 * @throws HoldfastError PROGRAM_MISSING, with the package to install
 */
export async function encryptionProgram(
  name: EncryptionSpec['name'],
  { environment }: Pick<FilterContext, 'environment'>,
): Promise<string> {
  const path = await findProgram(name, environment);
  if (path !== null) return path;
  throw new HoldfastError('PROGRAM_MISSING', `the program ${name} is not installed`, {
    hint: `Install the package ${packages[name]}, or put its folder on PATH.`,
  });
}

/** What the filters hand on to a program, with messages that can be read. */
function childOptions({ environment, signal, output, into }: FilterContext): ChildOptions {
  return { environment: { ...environment, LC_ALL: 'C' }, signal, output, into };
}

/** gpg's words when it was ended. */
const ended = /signal (?:Terminated|Interrupt) caught/i;

/** `age1…, age1…`: for whom something is encrypted. */
function describeRecipients({ recipients }: EncryptionSpec): string {
  return recipients.length === 0 ? 'recipients that no manifest tells' : recipients.join(', ');
}

/** Bytes that a program rejects, or a key that is not theirs. */
function explainer(spec: EncryptionSpec, isKeyTrouble: RegExp, key: string, hint: string) {
  return (words: string): HoldfastError | null => {
    // Then it is somebody else who has failed.
    if (lostReaderWords.test(words) || ended.test(words)) return null;
    const last = words.trim().split('\n').slice(-3).join('; ');
    if (isKeyTrouble.test(words)) {
      const message =
        `${key} cannot decrypt it: it is encrypted with ${spec.name} for ` +
        `${describeRecipients(spec)} (${last})`;
      return new HoldfastError('WRONG_KEY', message, {
        hint,
        details: { encryption: spec.name, recipients: spec.recipients },
      });
    }
    return new HoldfastError('DAMAGED', `cannot be decrypted: ${last}`, {
      hint: 'This copy is damaged: use another backup, or another copy of this one.',
    });
  };
}

const ageKeyTrouble = /no identity matched|incorrect passphrase|incorrect identity/i;

/** What every call of gpg gets: nothing of the user's own settings changes what comes out. */
export function gpgArguments({ keys }: Pick<FilterContext, 'keys'>): string[] {
  const home = keys?.gpgHome ?? null;
  return [
    '--no-options',
    '--batch',
    '--quiet',
    '--no-permission-warning',
    '--disable-dirmngr',
    ...(home === null ? [] : ['--homedir', home]),
  ];
}

/**
 * The arguments of the program that encrypts for these recipients, from its stdin to its stdout.
 *
 * @param context with the keyring that gpg finds public keys in
 */
export function encryptionArguments(
  { name, recipients }: EncryptionSpec,
  context: Pick<FilterContext, 'keys'>,
): string[] {
  const whom = recipients.flatMap((key) => ['--recipient', key]);
  if (name === 'age') return ['--encrypt', ...whom];
  return [
    ...gpgArguments(context),
    '--no-autostart',
    // Whoever set the fingerprint has decided to trust it.
    '--trust-model',
    'always',
    '--no-encrypt-to',
    // It would compress what is compressed already: four times slower (measured).
    '--compress-algo',
    'none',
    '--encrypt',
    ...whom,
    '--output',
    '-',
  ];
}

/** Starts the program that encrypts. @throws HoldfastError PROGRAM_MISSING */
async function encrypt(spec: EncryptionSpec, context: FilterContext): Promise<Stage> {
  const path = await encryptionProgram(spec.name, context);
  const child = startChild(path, encryptionArguments(spec, context), childOptions(context));
  return { kind: 'child', child };
}

function ageFilter(spec: EncryptionSpec & { readonly name: 'age' }): Filter {
  return {
    spec,
    extension: '.age',
    forward: (context) => encrypt(spec, context),
    async backward(context): Promise<Stage> {
      const path = await encryptionProgram('age', context);
      const { args, secretInput, isInteractive, close } = await openAgeIdentity(spec, context);
      const options = { ...childOptions(context), secretInput, isInteractive };
      try {
        const child = startChild(path, ['--decrypt', ...args], options);
        const hint = 'Give the file with the private key of one of them: --identity FILE.';
        const explain = explainer(spec, ageKeyTrouble, 'the identity that was given', hint);
        return { kind: 'child', child, explain };
      } finally {
        await close();
      }
    },
  };
}

/** Of gpg, of its agent and of what asks for the passphrase. */
const gpgKeyTrouble = new RegExp(
  'no secret key|bad passphrase|no passphrase|operation cancelled|no pinentry|' +
    'inappropriate ioctl|agent|timeout|keyblock resource',
  'i',
);

function gpgFilter(spec: EncryptionSpec & { readonly name: 'gpg' }): Filter {
  return {
    spec,
    extension: '.gpg',
    forward: (context) => encrypt(spec, context),
    async backward(context): Promise<Stage> {
      const path = await encryptionProgram('gpg', context);
      const args = [...gpgArguments(context), '--decrypt', '--output', '-'];
      const child = startChild(path, args, { ...childOptions(context), isInteractive: true });
      const hint =
        'Import the private key of one of them (gpg --import), or name the folder of the keyring ' +
        'that has it: GPG_HOME.';
      const explain = explainer(spec, gpgKeyTrouble, 'no private key in the keyring', hint);
      return { kind: 'child', child, explain };
    },
  };
}

/** The filter that encrypts for these recipients, and decrypts for one of them. */
export function encryptionFilter(spec: EncryptionSpec): Filter {
  return spec.name === 'age'
    ? ageFilter({ ...spec, name: 'age' })
    : gpgFilter({ ...spec, name: 'gpg' });
}
