import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable, printableText } from '../../../src/core/printable.ts';

describe('a name on a terminal', () => {
  it.each(['app', 'a b', 'ünïcödé 名前 🐘', "it's", '$(id)', 'a"b', '—', 'e\u0301'])(
    'is itself where nothing in it is acted on: %s',
    (name) => expect(printable(name)).toBe(name),
  );

  it.each([
    ['a\nb', '"a\\nb"'],
    ['\x1b[2Jgone', '"\\u001b[2Jgone"'],
    ['\x9b2Jgone', '"\\u009b2Jgone"'],
    ['\x7f', '"\\u007f"'],
    ['abc\u202etxt', '"abc\\u202etxt"'],
    ['a\u2028b', '"a\\u2028b"'],
    ['tab\there', '"tab\\there"'],
    ['no\u00a0break', '"no\\u00a0break"'],
    [' leading', '" leading"'],
    ['', ''],
  ])('else it is quoted, and says what it holds: %j', (name, shown) => {
    expect(printable(name)).toBe(shown);
  });

  it('never holds a character that a terminal acts on, and can be read back', () => {
    const odd = fc.string({
      unit: fc.constantFrom('a', '"', '\\', '\x1b', '\x9b', '\u202e', '🐘'),
    });
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), odd), (name) => {
        const shown = printable(name);
        expect(shown).not.toMatch(/[\p{C}\p{Zl}\p{Zp}\n]/u);
        expect(shown === name || JSON.parse(shown) === name).toBe(true);
      }),
    );
  });
});

describe('a message on a terminal', () => {
  it('keeps its line breaks and tabs, and escapes what a terminal acts on', () => {
    expect(printableText('one\n\ttwo "a b"')).toBe('one\n\ttwo "a b"');
    expect(printableText('gone\x1b[2J\r\x9b')).toBe('gone\\u001b[2J\\u000d\\u009b');
  });
});
