import { describe, expect, it } from 'vitest';
import { formatTable } from '../../../src/cli/table.ts';

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
