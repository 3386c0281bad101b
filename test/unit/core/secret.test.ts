import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { redactPasswords, Secret } from '../../../src/core/secret.ts';

describe('a secret', () => {
  const secret = new Secret('hunter2');

  it('never prints, however it is printed', () => {
    const printed = [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      inspect({ secret }, { showHidden: true, depth: 5 }),
    ];
    for (const text of printed) {
      expect(text).toContain('[redacted]');
      expect(text).not.toContain('hunter2');
    }
  });

  it('gives its text to the one who asks for it', () => {
    expect(secret.reveal()).toBe('hunter2');
  });
});

describe('a URL in a message', () => {
  it.each([
    ['postgresql://app:s3cret@db/x', 'postgresql://app:[redacted]@db/x'],
    ['postgresql://app:a@b:c@db/x', 'postgresql://app:[redacted]@db/x'],
    [
      'postgresql://app@db/x?password=s3cret&port=1',
      'postgresql://app@db/x?password=[redacted]&port=1',
    ],
    ['postgresql://app@db/x', 'postgresql://app@db/x'],
    ['no URL at all: a@b', 'no URL at all: a@b'],
    ['postgresql://db/x?passwrd=hunter3&port=1', 'postgresql://db/x?passwrd=[redacted]&port=1'],
    [`no file AGE-SECRET-KEY-1${'Q'.repeat(58)} here`, 'no file [redacted] here'],
    ["host=db password='a b' dbname=x", 'host=db password=[redacted] dbname=x'],
  ])('%s', (text, redacted) => {
    expect(redactPasswords(text)).toBe(redacted);
  });

  it('takes the length of a long text, not its square', () => {
    const long = 'abcd'.repeat(500_000);
    expect(redactPasswords(`${long} 1x://app:s3cret@db`)).toBe(`${long} 1x://app:[redacted]@db`);
  });
});
