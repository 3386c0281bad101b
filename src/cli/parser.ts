/** Arguments, flags and help, by yargs. */

import yargs, { type Argv } from 'yargs';
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
      if (problem !== null) throw usageError(problem, command);
      const { _: operands, $0: _script, ...flags } = parsed;
      return { answer, flags, operands: operands.map(String) };
    },
  };
}

function usageError(problem: string, command: Command): HoldfastError {
  const [first = problem, ...rest] = problem.split('\n').filter((line) => line.trim() !== '');
  const message = [first.replace(/^[A-Z]/, (letter) => letter.toLowerCase()), ...rest]
    .map((line) => line.trim().replace(/\.$/, ''))
    .join(' ');
  return new HoldfastError('USAGE', message, {
    hint: `Type ${command.name} --help for what it takes.`,
  });
}
