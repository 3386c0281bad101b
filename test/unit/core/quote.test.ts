import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import {
  quoteIdentifier,
  quoteLiteral,
  shellQuote,
  shownIdentifier,
} from '../../../src/core/quote.ts';

describe('names and texts for SQL', () => {
  it('quotes a name with quotes, spaces and newlines', () => {
    expect(quoteIdentifier('a"b\n$(x) ü')).toBe('"a""b\n$(x) ü"');
  });

  it('shows a name on one line, with nothing in it that a terminal acts on', () => {
    expect(shownIdentifier('a "b" ü\\c')).toBe('"a ""b"" ü\\c"');
    expect(shownIdentifier('two\nlines\\')).toBe('U&"two\\000alines\\\\"');
    expect(shownIdentifier('\u001b[31m')).toBe('U&"\\001b[31m"');
    expect(shownIdentifier('\u{e0001}x')).toBe('U&"\\+0e0001x"');
    expect(() => shownIdentifier('')).toThrow(HoldfastError);
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (name) => {
        fc.pre(!name.includes('\0'));
        expect(shownIdentifier(name)).toMatch(/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u);
      }),
    );
  });

  it('refuses what no identifier can be', () => {
    expect(() => quoteIdentifier('')).toThrow(HoldfastError);
    expect(() => quoteIdentifier('a\0b')).toThrow('NUL');
  });

  it('writes a backslash so that standard_conforming_strings does not matter', () => {
    expect(quoteLiteral("it's")).toBe("'it''s'");
    expect(quoteLiteral("it's \\ here")).toBe("E'it''s \\\\ here'");
  });

  it('never leaves a quote open', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a'\\"\n]*$/), (text) => {
        const literal = quoteLiteral(text);
        const body = literal.startsWith('E') ? literal.slice(2, -1) : literal.slice(1, -1);
        const plain = body.replaceAll("''", "'");
        expect(literal.startsWith('E') ? plain.replaceAll('\\\\', '\\') : plain).toBe(text);
      }),
    );
  });
});

describe('words for a shell', () => {
  it('come out of sh as they went in, and nothing in them is executed', () => {
    const texts = fc.sample(
      fc.string({ unit: 'binary', minLength: 0 }).filter((text) => !text.includes('\0')),
      40,
    );
    texts.push("'", "'\\''", '$(touch x)', '`touch x`', 'a\nb\n', '-n', '\\', '"');
    const script = `printf '%s\\0' ${texts.map(shellQuote).join(' ')}`;
    const printed = execFileSync('sh', ['-c', script]).toString('utf8').split('\0');
    const expected = texts.map((text) => Buffer.from(text, 'utf8').toString('utf8'));
    expect(printed.slice(0, -1)).toEqual(expected);
  });

  it('refuses NUL, which no argument can hold', () => {
    expect(() => shellQuote('a\0')).toThrow('NUL');
  });
});
