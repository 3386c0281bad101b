import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatTable, printable } from '../../../src/cli/table.ts';

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

describe('a table', () => {
  it('has columns as wide as their widest cell, two spaces between, and none at the end', () => {
    const text = formatTable(
      ['LABEL', 'SIZE', 'NOTE'],
      [
        ['20261121T020000Z-daily-k3f9', '1.2 MB', ''],
        ['a', '35 B', 'damaged'],
      ],
    );
    expect(text).toBe(
      [
        'LABEL                        SIZE    NOTE',
        '20261121T020000Z-daily-k3f9  1.2 MB',
        'a                            35 B    damaged',
        '',
      ].join('\n'),
    );
  });

  it('is its header where there are no rows', () => {
    expect(formatTable(['A', 'B'], [])).toBe('A  B\n');
  });
});
