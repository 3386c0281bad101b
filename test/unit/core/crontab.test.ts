import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  blockMarks,
  crontabText,
  installedJobs,
  putBlock,
  readBlock,
  removeBlock,
} from '../../../src/core/crontab.ts';

const repository = '/var/backups/Grüße 5% $x';
const [begin, end] = blockMarks(repository);
const block = `${begin}\n0 2 * * * run backup_full.ts --type daily --job daily\n${end}\n`;
const bytes = crontabText(block);

const foreign = {
  nothing: '',
  'one line': '5 4 * * * true\n',
  'no final line break': 'MAILTO=me\n5 4 * * * true',
  CRLF: '# a\r\n5 4 * * * true\r\n',
  'CRLF and no final line break': '5 4 * * * true\r',
  'percent signs': '0 1 * * * mail me%subject%%\\%text\n',
  'blank lines at the end': '5 4 * * * true\n\n\n',
  'bytes that are no UTF-8': '# \u00e9\u00ff\u0080\n',
  'a schedule of another repository': crontabText(
    block.replaceAll(repository, '/srv/other').replaceAll('\n', '\r\n'),
  ),
  'comments that look like ours': '# BEGIN holdfastly\n#BEGIN holdfast x\n # END holdfast x\n',
};

describe('a crontab', () => {
  it.each(Object.entries(foreign))('with %s is what it was after an uninstall', (_, text) => {
    const installed = putBlock(text, repository, block);
    expect(installed.startsWith(text)).toBe(true);
    expect(readBlock(installed, repository)).toBe(bytes);
    expect(putBlock(installed, repository, block)).toBe(installed);
    expect(removeBlock(installed, repository)).toBe(text);
  });

  it('that did not exist is gone after an uninstall, and an empty one is empty', () => {
    const installed = putBlock(null, repository, block);
    expect(readBlock(installed, repository)).toBe(bytes);
    expect(putBlock(installed, repository, block)).toBe(installed);
    expect(removeBlock(installed, repository)).toBeNull();
    expect(removeBlock(putBlock('', repository, block), repository)).toBe('');
  });

  it('comes back whatever its bytes are, also after two installations', () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom('\n', '\r', '#', ' ', 'BEGIN holdfast ', 'x', '%') }),
      fc.array(fc.integer({ min: 0, max: 255 })).map((codes) => String.fromCharCode(...codes)),
    );
    fc.assert(
      fc.property(fc.option(text), (before) => {
        let installed: string;
        try {
          installed = putBlock(before, repository, block);
        } catch {
          // Marks of somebody without an end: refused, and nothing is written.
          return;
        }
        const other = putBlock(installed, repository, block.replace('daily', 'weekly'));
        expect(removeBlock(other, repository)).toBe(before);
      }),
    );
  });

  it('keeps what was added behind the block, and that in a line of its own', () => {
    for (const before of [null, '', 'a', 'a\n']) {
      const grown = `${putBlock(before, repository, block)}6 6 * * * mine\n`;
      const lead = before === null || before === '' ? '' : 'a\n';
      expect(removeBlock(grown, repository)).toBe(`${lead}6 6 * * * mine\n`);
    }
  });

  it('has a new schedule in the place of the old one', () => {
    const text = `first\n${bytes}last`;
    const changed = block.replace('0 2', '30 1');
    expect(putBlock(text, repository, changed)).toBe(`first\n${crontabText(changed)}last`);
    const windows = text.replaceAll('\n', '\r\n');
    expect(putBlock(windows, repository, block)).toBe(`first\r\n${bytes}last`);
  });

  it('without a schedule has none', () => {
    expect(readBlock('x\n', repository)).toBeNull();
    expect(removeBlock('x\n', repository)).toBe('x\n');
  });

  it.each([
    ['has no end', `${begin}\nx\n`],
    ['has no end', `${begin}\nx\n${begin}\n${end}\n`],
    ['is there twice', `${block}${block}`],
    ['ends that has not begun', `${end}\n`],
    ['ends that has not begun', `# BEGIN holdfast /other\n${end}\n# END holdfast /other\n`],
    ['has no end', `${begin}\n# BEGIN holdfast /other\n# END holdfast /other\n${end}\n`],
  ])('whose block %s is left alone', (fact, text) => {
    const damaged = crontabText(text);
    for (const edit of [putBlock, removeBlock, readBlock]) {
      expect(() => edit(damaged, repository, block)).toThrow(
        expect.objectContaining({
          code: 'CONFIG_UNREADABLE',
          message: expect.stringContaining(fact),
        }),
      );
    }
  });

  it('says the name of a repository on one line', () => {
    const marks = blockMarks('/a\nb\u001b');
    expect(marks.join('')).not.toMatch(/\p{Cc}/u);
    expect(marks[0]).toBe('# BEGIN holdfast "/a\\nb\\u001b"');
  });
});

it('tells the jobs that are installed', () => {
  const lines = [
    '# comment --job daily',
    '0 2 * * * /x/run_job.sh --log /ü backup_full.ts --type daily --job daily --config /c',
    '*/15 * * * * postgres /x/run_job.sh monitor_backups.ts alert --job monitor',
    '0 0 * * * other --job unknown',
    '0 0 * * * no job at all',
  ];
  const found = installedJobs(crontabText(lines.join('\r\n')));
  expect(found.map(({ name, when }) => [name, when])).toEqual([
    ['daily', '0 2 * * *'],
    ['monitor', '*/15 * * * *'],
  ]);
  expect(found[0]?.command).toBe(
    '/x/run_job.sh --log /ü backup_full.ts --type daily --job daily --config /c',
  );
});
