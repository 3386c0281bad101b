import { describe, expect, it } from 'vitest';
import {
  encryptionOf,
  isAgeRecipients,
  parseAgeRecipients,
  parseGpgRecipients,
  recipientsMax,
} from '../../../src/core/recipients.ts';

const age = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p';
const ssh = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1GRpFyxUk7qFsIWCE0lqTNGkVd2qLHiFQPFfZPbTvj';
const secret = `AGE-SECRET-KEY-1${'Q'.repeat(58)}`;

/** The whole error, as anybody may see it. */
function errorOf(work: () => unknown): { code: string; text: string } {
  try {
    work();
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint: string };
    return { code, text: `${message} ${hint}` };
  }
  throw new Error('it was taken');
}

describe('recipients of age', () => {
  it('stand with commas between, or in lines with comments, each once and without its comment', () => {
    expect(parseAgeRecipients(`${age}, ${ssh} alice@laptop,${age}`, 'it')).toEqual([age, ssh]);
    const file = `# for the safe\n${age}\r\n\n  # ${secret.slice(0, 3)}\n${ssh} bob\n`;
    expect(parseAgeRecipients(file, 'it')).toEqual([age, ssh]);
    expect([age, ` ${ssh}`, '/etc/keys', '~/keys'].map(isAgeRecipients)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it.each([
    ['nothing', ' , \n# nobody\n', 'names nobody'],
    ['a word', 'alice', '"alice" is no public key of age'],
    ['capital letters', age.toUpperCase(), 'is no public key of age'],
    ['a flag', `${age},--output=/etc/passwd`, 'is no public key of age'],
    ['a key of SSH that is none', 'ssh-dss AAAA', 'is no public key of age'],
    [
      'too many',
      Array.from({ length: recipientsMax + 1 }, (_, at) => `age1${'q'.repeat(9)}${at}`).join(),
      `more than ${recipientsMax}`,
    ],
  ])('are refused: %s', (_what, text, words) => {
    const { code, text: told } = errorOf(() => parseAgeRecipients(text, 'it'));
    expect(code).toBe('CONFIG_INVALID');
    expect(told).toContain(words);
  });

  it.each([
    ['of age', secret],
    ['of age, in small letters', secret.toLowerCase()],
    ['behind a public one', `${age},${secret}`],
    ['of SSH', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk='],
  ])('are refused where a private key stands, which is not printed: %s', (_what, text) => {
    const { code, text: told } = errorOf(() => parseAgeRecipients(text, 'age_recipients'));
    expect(code).toBe('CONFIG_INVALID');
    expect(told).toContain('holds a private key');
    expect(told).not.toMatch(/QQQQ|b3Bl/i);
  });
});

describe('recipients of gpg', () => {
  const fingerprint = 'D2A5E3F1B8C94A7F6E0D1C2B3A495867F1E2D3C4';

  it('are whole fingerprints, however they are written', () => {
    const spaced = 'd2a5 e3f1 b8c9 4a7f 6e0d  1c2b 3a49 5867 f1e2 d3c4';
    expect(parseGpgRecipients(`${spaced}, 0x${fingerprint}`, 'it')).toEqual([fingerprint]);
    expect(parseGpgRecipients('a'.repeat(64), 'it')).toEqual(['A'.repeat(64)]);
  });

  it.each([['F1E2D3C4'], ['alice@example.org'], [`${fingerprint}!`], ['']])(
    'are refused: %s',
    (text) => {
      expect(errorOf(() => parseGpgRecipients(text, 'it')).code).toBe('CONFIG_INVALID');
    },
  );
});

it('are found among the filters of a file', () => {
  const zstd = { name: 'zstd', level: 3 };
  expect(encryptionOf([zstd, { name: 'age', recipients: [age] }])).toEqual({
    name: 'age',
    recipients: [age],
  });
  expect(encryptionOf([zstd])).toBeNull();
});
