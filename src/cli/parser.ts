/** Arguments, flags and help, by yargs. */

import yargs, { type Argv } from 'yargs';
import { nearest } from '../config/nearest.ts';
import { HoldfastError } from '../core/errors.ts';
import type { Command, Flags } from './command.ts';
import { toolVersion } from './version.ts';

/** What the arguments say; with `--help` and `--version` only the answer. */
export interface ParsedArguments {
  readonly answer: string | null;
  readonly flags: Flags;
  readonly operands: readonly string[];
}

type OptionsFor = (parser: Argv, command: Command) => Argv;

/**
 * A parser for a command. It never writes and never exits: it gives an answer or throws.
 *
 * @throws (from parse) HoldfastError USAGE, naming the argument and the valid ones
 */
export function createParser(command: Command, ...groups: readonly OptionsFor[]) {
  return {
    async parse(argv: readonly string[]): Promise<ParsedArguments> {
      let problem: string | null = null;
      // The folder is given, since yargs would ask for the current one, which may be gone.
      let parser = yargs([], '/')
        .scriptName(command.name)
        .usage(`$0 ${command.operands}\n\n${command.summary}`)
        .parserConfiguration({
          'camel-case-expansion': false,
          'parse-positional-numbers': false,
          'duplicate-arguments-array': false,
          'dot-notation': false,
          'boolean-negation': false,
          'populate--': false,
        })
        .strictOptions()
        .exitProcess(false)
        .help()
        .version(toolVersion())
        .wrap(100)
        .locale('en')
        .fail((message, error) => {
          problem ??= message ?? error.message;
        });
      if (command.options !== undefined) {
        parser = command.options(parser);
      }
      for (const group of groups) parser = group(parser, command);
      for (const [args, what] of command.examples) parser.example(`$0 ${args}`, what);

      let answer: string | null = null;
      const parsed = await parser.parseAsync([...argv], {}, (_error, _parsed, output) => {
        if (output !== '') answer = output;
      });
      if (problem !== null) throw usageError(problem, command, argv, await parser.getHelp());
      const { _: operands, $0: _script, ...flags } = parsed;
      return { answer, flags, operands: operands.map(String) };
    },
  };
}

/** yargs tells flags that it does not know without their dashes. */
const unknownPattern = /^Unknown arguments?: (.*)$/s;

/** `unknown flag --jbos; did you mean --jobs?`, by the flags that the help tells. */
function unknownFlag(names: string, argv: readonly string[], help: string): string {
  const known = [...help.matchAll(/^ +(?:-\w, )?--([a-z][a-z-]*)/gm)].map(
    (match) => match[1] ?? '',
  );
  const flags = names.split(', ').map((name) => {
    const isLong = argv.some((each) => each === `--${name}` || each.startsWith(`--${name}=`));
    return { name, text: `${isLong ? '--' : '-'}${name}` };
  });
  const texts = flags.map(({ text }) => text).join(', ');
  const [only, ...others] = flags;
  const meant = only === undefined || others.length > 0 ? null : nearest(only.name, known);
  const question = meant === null ? '' : `; did you mean --${meant}?`;
  return `unknown flag${others.length === 0 ? '' : 's'} ${texts}${question}`;
}

function usageError(
  problem: string,
  command: Command,
  argv: readonly string[],
  help: string,
): HoldfastError {
  const unknown = unknownPattern.exec(problem)?.[1];
  if (unknown !== undefined) {
    return new HoldfastError('USAGE', unknownFlag(unknown, argv, help), {
      hint: `Type ${command.name} --help for what it takes.`,
    });
  }
  const [first = problem, ...rest] = problem.split('\n').filter((line) => line.trim() !== '');
  const message = [first.replace(/^[A-Z]/, (letter) => letter.toLowerCase()), ...rest]
    .map((line) => line.trim().replace(/\.$/, ''))
    .join(' ');
  return new HoldfastError('USAGE', message, {
    hint: `Type ${command.name} --help for what it takes.`,
  });
}
