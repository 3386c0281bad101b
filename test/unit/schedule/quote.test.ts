import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  quoteExecArgument,
  quoteExecProgram,
  quoteForCron,
  quoteListedPath,
  quoteWholePath,
} from '../../../src/schedule/quote.ts';

const nasty = [
  '/opt/hold fast',
  "it's",
  '100%',
  '%%h%n',
  '\\%',
  '\\\\%\\\\',
  '$(touch /tmp/x)',
  '`id`',
  '$HOME $' + '{HOME} $$',
  '"double" \'single\'',
  'back\\slash\\',
  "ends with a quote'",
  'Grüße 数据 😀',
  '; rm -rf / & | > x',
  '# no comment',
  '~root !history *?[a]{b,c}',
  '\ttab',
  '',
  '-flag',
];

/** Both ways in which cron programs read a command (do_command.c of 3.0pl1, of ISC cron 4.1). */
const cronPrograms = {
  'leaves backslashes to the shell': (command: string) => {
    let escaped = false;
    for (const character of command) {
      if (!escaped && character === '%') throw new Error(`a new line in ${command}`);
      escaped = !escaped && character === '\\';
    }
    return command;
  },
  'takes a backslash before % and \\ away': (command: string) => {
    if (/(?<!\\)(?:\\\\)*%/.test(command)) throw new Error(`a new line in ${command}`);
    return command.replace(/\\([\s\S])/g, (pair, next) => ('%\\'.includes(next) ? next : pair));
  },
};

/** What a shell makes of a command: the words that its program is given. */
function wordsOf(command: string): string[] {
  const output = execFileSync('/bin/sh', ['-c', `printf '%s\\0' ${command}`], {
    encoding: 'utf8',
  });
  return output.split('\0').slice(0, -1);
}

describe.each(Object.entries(cronPrograms))('a cron that %s', (_, read) => {
  it('hands the shell every word as it was', () => {
    expect(wordsOf(read(nasty.map(quoteForCron).join(' ')))).toEqual(nasty);
  });

  it('does so for any words', () => {
    const word = fc.oneof(
      fc.string({ unit: fc.constantFrom('%', '\\', "'", '"', '$', ' ', 'a', '(', '`') }),
      fc.string({ unit: 'grapheme' }).filter((text) => !/[\n\r\0]/.test(text)),
    );
    const words = fc.array(word, { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(words, (given) => {
        expect(wordsOf(read(given.map(quoteForCron).join(' ')))).toEqual(given);
      }),
      { numRuns: 25 },
    );
  });
});

/** Reads a quoted word as systemd does: quotes, C-style escapes, specifiers, then variables. */
function readBySystemd(quoted: string): string {
  const inner = /^"((?:[^"\\\n]|\\.)*)"$/.exec(quoted)?.[1];
  if (inner === undefined) throw new Error(`not one quoted word: ${quoted}`);
  const plain: Record<string, string> = { n: '\n', r: '\r', t: '\t', '\\': '\\', '"': '"' };
  const unescaped = inner.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (pair, hex, letter) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    const meant = plain[letter];
    if (meant === undefined) throw new Error(`unknown escape ${pair}`);
    return meant;
  });
  const undo = (text: string, sign: string) => {
    const left = text.replaceAll(sign + sign, '');
    if (left.includes(sign)) throw new Error(`${sign} acts in ${quoted}`);
    return text.replaceAll(sign + sign, sign);
  };
  return undo(undo(unescaped, '%'), '$');
}

describe('words for systemd', () => {
  const texts = [...nasty, 'two\nlines\r', '\u0001\u007f'];

  it('come back as they were', () => {
    for (const text of texts) {
      expect(readBySystemd(quoteExecArgument(text))).toBe(text);
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        fc.pre(!text.includes('\0'));
        expect(readBySystemd(quoteExecArgument(text))).toBe(text);
      }),
    );
  });

  it('are written so', () => {
    expect(quoteExecArgument('a $b 5% "c"\n')).toBe('"a $$b 5%% \\"c\\"\\n"');
    expect(quoteExecProgram('/opt/100% $x/node')).toBe('"/opt/100%% $x/node"');
    expect(quoteListedPath('/a "b"\\c%')).toBe('"/a \\"b\\"\\\\c%%"');
    expect(quoteWholePath('/a "b" %h')).toBe('/a "b" %%h');
  });

  it.each([
    ['a program with a quote', () => quoteExecProgram("/opt/it's/node")],
    ['a program with a backslash', () => quoteExecProgram('/opt/a\\b/node')],
    ['a list with a line break', () => quoteListedPath('/a\nb')],
    ['a path with a line break', () => quoteWholePath('/a\nb')],
    ['a path with a space at its end', () => quoteWholePath('/a ')],
    ['a path that would join the next line', () => quoteWholePath('/a\\')],
    ['NUL', () => quoteExecArgument('a\0b')],
    ['a line break in a crontab', () => quoteForCron('a\nb')],
    ['a carriage return in a crontab', () => quoteForCron('a\rb')],
  ])('%s cannot be said', (_, quote) => {
    expect(quote).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});
