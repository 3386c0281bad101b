/**
 * The code and its documentation tell the same, both ways: what exists is described, and what is
 * described exists.
 */

import { execFile } from 'node:child_process';
import { dirname, join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { allSettings } from '../src/config/schema.ts';
import { baseManifestSchemaText } from '../src/core/base_manifest_codec.ts';
import { errorTable, exitStatus } from '../src/core/errors.ts';
import { manifestSchemaText } from '../src/core/manifest_codec.ts';
import {
  anchors,
  codeBlocks,
  codeSpans,
  linkTargets,
  sections,
  tableRows,
  withoutCode,
} from './support/markdown.ts';
import { exists, filesBelow, projectDir, readText } from './support/source_tree.ts';

const run = promisify(execFile);
const pages = filesBelow('').filter((path) => path.endsWith('.md'));
const commandNames = filesBelow('scripts')
  .filter((path) => path.endsWith('.ts'))
  .map((path) => path.replace('scripts/', ''));

/** The one code span in a cell: the name that its row is about. */
function nameIn(cell: string | undefined): string {
  return codeSpans(cell ?? '')[0] ?? '';
}

/** Compares names both ways, so that the difference says what is missing where. */
function expectSame(documented: Iterable<string>, real: Iterable<string>): void {
  expect([...new Set(documented)].toSorted()).toEqual([...new Set(real)].toSorted());
}

describe('commands', () => {
  const page = readText('docs/reference/commands.md');
  const common = flagsIn(sections(page, 2).find(({ title }) => title === 'Every command'));

  it('are those of scripts/, each with a section of its own', () => {
    const titles = sections(page, 2).map(({ title }) => title.replaceAll('`', ''));
    expectSame(
      titles.filter((title) => title.endsWith('.ts')),
      commandNames,
    );
  });

  it('are named in the README, and the README names no others', () => {
    const named = readText('README.md').matchAll(/\b([a-z]+(?:_[a-z]+)*\.ts)\b/g);
    expectSame(
      [...named].map((match) => match[1] ?? '').filter((name) => name !== 'generate.ts'),
      commandNames,
    );
  });

  it.each(commandNames)('%s takes the flags that its section tells', async (name) => {
    const { stdout } = await run(join(projectDir, 'scripts', name), ['--help'], {
      timeout: 30_000,
    });
    const told = sections(page, 2).find(({ title }) => title === `\`${name}\``);
    expectSame([...common, ...flagsIn(told)], flagsOfHelp(stdout));
  });

  /** The first cell of a row says the flag: `--type TIER`. */
  function flagsIn(section: { readonly body: string } | undefined): string[] {
    return tableRows(section?.body ?? '')
      .map(([first]) => nameIn(first).split(' ')[0] ?? '')
      .filter((flag) => flag.startsWith('--'));
  }

  function flagsOfHelp(help: string): string[] {
    return [...help.matchAll(/^ +(?:-\w, )?(--[a-z][a-z-]*)/gm)].map((match) => match[1] ?? '');
  }
});

describe('settings', () => {
  const rows = tableRows(readText('docs/reference/settings.md'));

  it('are those of the schema, with their variables and flags', () => {
    expectSame(
      rows.map(([name, variables, flag]) =>
        [nameIn(name), ...codeSpans(variables ?? ''), ...codeSpans(flag ?? '')].join(' '),
      ),
      allSettings().map(([path, setting]) =>
        [path, ...setting.env, ...(setting.flag === undefined ? [] : [`--${setting.flag}`])].join(
          ' ',
        ),
      ),
    );
  });

  it('stand in the samples and in the README as docs/generate.ts writes them', async () => {
    const check = run(process.execPath, [join(projectDir, 'docs/generate.ts'), '--check']);
    await expect(check).resolves.toBeDefined();
  });
});

describe('errors', () => {
  const page = readText('docs/reference/errors.md');
  const groups = sections(page, 2)
    .map(({ title, body }) => ({ status: Number(/^(\d+):/.exec(title)?.[1] ?? -1), body }))
    .filter(({ status }) => status >= 0);

  it('end with the exit statuses that the page tells', () => {
    const statuses = sections(page, 2).find(({ title }) => title === 'Exit statuses');
    expectSame(
      tableRows(statuses?.body ?? '').map(([status]) => status ?? ''),
      Object.values(exitStatus).map(String),
    );
  });

  it('have the codes, statuses and meanings that the page tells', () => {
    expectSame(
      groups.flatMap(({ status, body }) =>
        tableRows(body).map(([code, meaning]) => `${nameIn(code)} ${status}: ${meaning}`),
      ),
      Object.entries(errorTable).map(
        ([code, { status, summary }]) =>
          // In a table a bar is a border, unless it is escaped.
          `${code} ${status}: ${summary.replaceAll('|', '\\|')}`,
      ),
    );
  });

  it('each say what to do', () => {
    for (const { body } of groups) {
      for (const [code, , advice = ''] of tableRows(body)) {
        expect(advice, code).toMatch(/^[A-Z`].{20,}\.$/);
      }
    }
  });
});

describe('the architecture page', () => {
  const page = readText('src/ARCHITECTURE.md');

  it('has every file of src/ on its map, and nothing that is not there', () => {
    const map = sections(page, 2).find(({ title }) => title === 'The map');
    const folders = sections(`## The map\n${map?.body ?? ''}`, 3);
    expectSame(
      folders.flatMap(({ title, body }) =>
        tableRows(body).map(([file]) => `src/${nameIn(title)}${nameIn(file)}`),
      ),
      filesBelow('src').filter((path) => path.endsWith('.ts')),
    );
  });

  it('names only files and folders that exist', () => {
    const paths = codeSpans(withoutCode(page)).filter((span) =>
      /^(?:src|scripts|docs|test|templates|bench|\.ci)\/[\w./-]*$/.test(span),
    );
    expect(paths.filter((path) => !exists(path))).toEqual([]);
  });
});

describe('every page', () => {
  it.each(pages)('%s links only to what is there', (path) => {
    const broken = linkTargets(readText(path)).filter((target) => {
      if (/^[a-z]+:/.test(target)) return false;
      const [file = '', anchor] = target.split('#');
      const linked = file === '' ? path : normalize(join(dirname(path), file));
      if (!exists(linked)) return true;
      return anchor !== undefined && !anchors(readText(linked)).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  it.each(pages)('%s names only npm scripts and commands that exist', (path) => {
    const text = readText(path);
    const shell = [codeBlocks(text), ...codeSpans(withoutCode(text))].join('\n');
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: object };
    const npm = [...shell.matchAll(/\bnpm (?:run )?([a-z:]+)/g)].map((match) => match[1] ?? '');
    const known = new Set([...Object.keys(scripts), 'run', 'ci', 'install']);
    expect(npm.filter((name) => !known.has(name))).toEqual([]);
    const files = [...shell.matchAll(/(?:^|[\s./])(scripts\/[\w.]+)/g)].map((match) => match[1]);
    expect(files.filter((file) => file !== undefined && !exists(file))).toEqual([]);
  });

  it('of docs/ is reached from its index', () => {
    const index = linkTargets(readText('docs/README.md')).map((target) => `docs/${target}`);
    expect(pages.filter((path) => path.startsWith('docs/') && path !== 'docs/README.md')).toEqual(
      index.filter((path) => path.endsWith('.md') && !path.includes('..')).toSorted(),
    );
  });
});

describe('the published schema', () => {
  it('of the manifest is the one that the code checks with', () => {
    expect(readText('docs/schemas/manifest.schema.json')).toBe(manifestSchemaText());
  });

  it('of the manifest of a base backup is too', () => {
    expect(readText('docs/schemas/base_manifest.schema.json')).toBe(baseManifestSchemaText());
  });
});
