/** Reads a `.env` file, and refuses what it would not take as the writer meant it. */

import { parseEnv } from 'node:util';
import { HoldfastError } from '../core/errors.ts';

/** One assignment of a `.env` file. */
export interface EnvEntry {
  readonly name: string;
  readonly value: string;
  /** Counted from 1. */
  readonly line: number;
}

const assignment = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*/;

function refuse(file: string, line: number, fact: string, hint: string): never {
  throw new HoldfastError('CONFIG_UNREADABLE', `${file} line ${line}: ${fact}`, { hint });
}

/** What would be run by a shell, and is taken as it stands here. */
function shellSyntax(text: string): string | null {
  return /\$\(|`|\$\{/.exec(text)?.[0] ?? null;
}

/**
 * Looks at one value from its first character on.
 *
 * @returns the offset behind it; a quoted value may go over several lines
 */
function checkValue(text: string, start: number, file: string, line: number, name: string): number {
  const quote = text[start];
  const endOfLine = (from: number) => {
    const end = text.indexOf('\n', from);
    return end === -1 ? text.length : end;
  };
  let content: string;
  let end: number;
  if (quote === '"' || quote === "'") {
    const close = text.indexOf(quote, start + 1);
    if (close === -1) {
      refuse(file, line, `the quote around ${name} is not closed`, `End the value with ${quote}.`);
    }
    content = text.slice(start + 1, close);
    end = endOfLine(close);
    if (!/^[ \t]*(?:#.*)?$/.test(text.slice(close + 1, end))) {
      refuse(
        file,
        line,
        `text follows the closing quote of ${name}`,
        'A value that holds one kind of quote goes into the other kind.',
      );
    }
  } else {
    end = endOfLine(start);
    const whole = text.slice(text[start - 1] === '=' ? start - 1 : start, end);
    content = whole.replace(/^=/, '').replace(/(?:^|\s)#.*$/, '');
    if (/\S#/.test(whole.replace(/\s#.*$/, '')) || /["'].*\s#/.test(whole)) {
      refuse(
        file,
        line,
        `${name} holds a # without quotes: the value would be cut there`,
        'Put the value into single quotes, or a space before the # of a comment.',
      );
    }
  }
  const syntax = quote === "'" ? null : shellSyntax(content);
  if (syntax !== null) {
    refuse(
      file,
      line,
      `${name} holds ${syntax}: nothing is run or replaced in this file`,
      'Write the value itself; in single quotes it is taken as it stands.',
    );
  }
  return end;
}

/**
 * Parses the text of a `.env` file: `NAME=value`, `export NAME=value`, comments, quotes. The
 * values are those of `util.parseEnv`.
 *
 * @param file its path, for messages
 * @throws HoldfastError CONFIG_UNREADABLE for a line that is none of these, an unquoted `#` inside
 *   a value, `$(…)`, `${…}` or a backtick outside single quotes, and a name that is set twice
 */
export function parseEnvFile(bytes: string, file: string): EnvEntry[] {
  const text = bytes.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  const lines = new Map<string, number>();
  const entries: EnvEntry[] = [];
  let offset = 0;
  let line = 1;
  while (offset < text.length) {
    const lineEnd = text.indexOf('\n', offset) === -1 ? text.length : text.indexOf('\n', offset);
    const current = text.slice(offset, lineEnd);
    let end = lineEnd;
    if (!/^\s*(?:#.*)?$/.test(current)) {
      const match = assignment.exec(current);
      const name = match?.[1];
      if (match === null || name === undefined) {
        refuse(file, line, 'not of the form NAME=value', 'Begin a comment with #.');
      }
      const earlier = lines.get(name);
      if (earlier !== undefined) {
        refuse(file, line, `${name} is set already in line ${earlier}`, 'Keep one of the two.');
      }
      lines.set(name, line);
      end = checkValue(text, offset + match[0].length, file, line, name);
      // One at a time: given "A= " and a next line, parseEnv of Node 24 takes that line for A.
      const value = parseEnv(text.slice(offset, end).trimEnd())[name] ?? '';
      entries.push({ name, value, line });
    }
    line += text.slice(offset, end).split('\n').length;
    offset = end + 1;
  }
  return entries;
}
