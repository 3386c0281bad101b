/**
 * The rules of the house (src/ARCHITECTURE.md, CONTRIBUTING.md), as ordinary tests. Each tells all
 * the places that break its rule at once.
 */

import { basename, dirname } from 'node:path';
import * as ast from 'typescript/unstable/ast';
import { describe, expect, it } from 'vitest';
import { literalMessages } from './support/error_literals.ts';
import { ranks } from './support/ranks.ts';
import {
  type Export,
  exists,
  filesBelow,
  isExecutable,
  lineOf,
  readSourceTree,
  readText,
  type SourceFile,
  typeScriptPaths,
} from './support/source_tree.ts';
import {
  accessText,
  clockRead,
  findCircles,
  findNodes,
  importsMatching,
  isDescribed,
  linesMatching,
  randomness,
  reachableFrom,
  stringLiterals,
} from './support/tidy_rules.ts';

const tree = readSourceTree();
const byPath = new Map(tree.map((file) => [file.path, file]));
const source = tree.filter((file) => file.path.startsWith('src/'));
const commands = tree.filter((file) => file.path.startsWith('scripts/'));
const tests = tree.filter((file) => file.path.startsWith('test/'));
/** What runs outside the tests. */
const running = tree.filter((file) => !file.path.startsWith('test/'));
const sourceTexts = filesBelow('').filter((path) =>
  /\.(?:ts|sh|bats|json|ya?ml|npmrc)$/.test(path),
);

/** Fails with all violations, one on each line. */
function holds(violations: readonly string[]): void {
  if (violations.length > 0) expect.fail(`${violations.length} times:\n${violations.join('\n')}`);
}

function folderOf(path: string): string {
  return path.split('/').slice(1, -1).join('/');
}

describe('imports', () => {
  it('go from a file to its own folder or to a strictly lower rank', () => {
    const violations = source.flatMap((file) => {
      const own = folderOf(file.path);
      const rank = ranks[own];
      if (rank === undefined) return [`${file.path}: the folder has no rank`];
      return file.imports.flatMap(({ target, line }) => {
        if (target === null) return [];
        const other = folderOf(target);
        const inside = target.startsWith('src/') && (other === own || (ranks[other] ?? 99) < rank);
        return inside ? [] : [`${file.path}:${line} imports ${target}`];
      });
    });
    holds(violations);
  });

  it('bring scripts/ only cli, operations and config', () => {
    const allowed = /^src\/(?:cli|operations|config)\//;
    holds(
      commands.flatMap((file) =>
        file.imports
          .filter(({ target }) => target === null || !allowed.test(target))
          .map(({ specifier, line }) => `${file.path}:${line} imports ${specifier}`),
      ),
    );
  });

  it('bring nobody scripts/, and only tests test/', () => {
    holds(
      tree.flatMap((file) =>
        file.imports
          .filter(({ target }) => target !== null && isOutOfReach(target, file.path))
          .map(({ target, line }) => `${file.path}:${line} imports ${target}`),
      ),
    );

    function isOutOfReach(target: string, from: string): boolean {
      if (target.startsWith('scripts/')) return true;
      return target.startsWith('test/') && !from.startsWith('test/');
    }
  });

  it('name files that exist', () => {
    holds(
      tree.flatMap((file) =>
        file.imports
          .filter(({ target }) => target !== null && !exists(target))
          .map(({ target, line }) => `${file.path}:${line} imports ${target}`),
      ),
    );
  });

  it('run in no circle', () => {
    holds(findCircles(tree));
  });
});

describe('what must never be', () => {
  it('TypeBox is known to the builder of schemas alone, by its types', () => {
    const others = source.filter((file) => file.path !== 'src/core/type_builder.ts');
    holds(importsMatching(others, /^typebox(?:\/|$)/));
    expect(readText('src/core/type_builder.ts')).not.toMatch(
      /^(?:import|export) (?!type).*typebox/m,
    );
  });

  it('children are started by process/ alone', () => {
    const others = running.filter((file) => !file.path.startsWith('src/process/'));
    holds(importsMatching(others, /^(?:node:)?child_process$|^zx(?:\/|$)/));
  });

  it('the environment is read by config/load.ts alone', () => {
    const others = running.filter((file) => file.path !== 'src/config/load.ts');
    holds([
      ...importsMatching(others, /^(?:node:)?process$/),
      ...findNodes(others, (node) => (accessText(node) === 'process.env' ? 'process.env' : null)),
    ]);
  });

  it('this process is ended by cli/ and scripts/ alone', () => {
    const others = running.filter((file) => !/^(?:src\/cli|scripts|docs)\//.test(file.path));
    const enders = new Set(['process.exit', 'process.exitCode', 'process.abort']);
    holds(
      findNodes(others, (node) => {
        const text = accessText(node);
        return text !== null && enders.has(text) ? text : null;
      }),
    );
  });

  it('core/ does no I/O, reads no clock and no environment, and throws no dice', () => {
    const core = source.filter((file) => file.path.startsWith('src/core/'));
    const impure = /^(?!\.|(?:node:crypto|node:util|node:buffer|typebox|ajv)(?:\/|$))/;
    holds([
      ...importsMatching(core, impure),
      ...findNodes(core, (node) => clockRead(node) ?? randomness(node) ?? worldRead(node)),
    ]);

    function worldRead(node: ast.Node): string | null {
      const text = accessText(node);
      return text !== null && /^(?:process|console|globalThis)\./.test(text) ? text : null;
    }
  });

  it('operations/ take the clock and the dice from their context', () => {
    const operations = source.filter((file) => file.path.startsWith('src/operations/'));
    holds(findNodes(operations, (node) => clockRead(node) ?? randomness(node)));
  });

  it('a storage backend is named by storage/open.ts alone', () => {
    const port = new Set(['storage', 'open', 'key'].map((name) => `src/storage/${name}.ts`));
    const isBackend = (path: string) => path.startsWith('src/storage/') && !port.has(path);
    holds(
      running
        .filter((file) => file.path !== 'src/storage/open.ts' && !isBackend(file.path))
        .flatMap((file) =>
          file.imports
            .filter(({ target }) => target !== null && isBackend(target))
            .map(({ target, line }) => `${file.path}:${line} imports ${target}`),
        ),
    );
  });
});

describe('sizes and names', () => {
  const fileLinesMax = 400;
  const functionLinesMax = 70;
  const columnsMax = 100;
  const commandLinesMax = 60;

  it(`a file has at most ${fileLinesMax} lines`, () => {
    holds(
      tree
        .map((file) => ({ path: file.path, lines: file.text.trimEnd().split('\n').length }))
        .filter(({ lines }) => lines > fileLinesMax)
        .map(({ path, lines }) => `${path} has ${lines} lines`),
    );
  });

  it(`a function has at most ${functionLinesMax} lines`, () => {
    holds(
      findNodes(tree, (node, file) => {
        if (!ast.isFunctionLikeDeclaration(node) || isStory(node)) return null;
        const { root } = file;
        const lines = lineOf(root, node.getEnd()) - lineOf(root, node.getStart(root)) + 1;
        return lines > functionLinesMax ? `a function of ${lines} lines` : null;
      }),
    );

    /** A group of tests is a chapter and no function to be understood at one glance. */
    function isStory(node: ast.Node): boolean {
      const call = node.parent;
      return ast.isCallExpression(call) && /^describe\b/.test(call.expression.getText());
    }
  });

  it(`a line has at most ${columnsMax} columns`, () => {
    holds(
      sourceTexts
        .filter((path) => /\.(?:ts|sh|bats)$/.test(path))
        .flatMap((path) =>
          readText(path)
            .split('\n')
            .map((line, index) => ({ line, number: index + 1, columns: [...line].length }))
            .filter(({ columns }) => columns > columnsMax)
            .filter(({ line, number }) => number > 1 || !line.startsWith('#!'))
            .filter(({ line }) => /\s/.test(line.trim()) && !quotes(path, line))
            .map(({ number, columns }) => `${path}:${number} has ${columns} columns`),
        ),
    );

    /** Tests quote what programs say, and that is as long as it is. */
    function quotes(path: string, line: string): boolean {
      return path.startsWith('test/') && /(['"`/]).*\1/.test(line);
    }
  });

  it('a file is called in snake_case', () => {
    const pattern = /^[a-z0-9]+(?:_[a-z0-9]+)*(?:\.test)?\.ts$/;
    holds(tree.map((file) => file.path).filter((path) => !pattern.test(basename(path))));
  });

  it('a command is short, executable, and begins with the one line that finds its Node', () => {
    const start = `exec "$(dirname "$(readlink -f "$0")")/run_node.sh" "$0" "$@"`;
    const shebang = `#!/usr/bin/env -S sh -c '${start}'`;
    holds(
      commands.flatMap((file) => {
        const lines = file.text.trimEnd().split('\n');
        return [
          ...(lines.length > commandLinesMax ? [`${file.path} has ${lines.length} lines`] : []),
          ...(lines[0] === shebang ? [] : [`${file.path} begins with another line`]),
          ...(isExecutable(file.path) ? [] : [`${file.path} is not executable`]),
        ];
      }),
    );
  });
});

describe('comments', () => {
  it('stand before everything that src/ exports', () => {
    holds(
      source.flatMap((file) =>
        file.exports
          .filter((exported) => !isDescribed(exported, file))
          .map(({ name, kind, line }) => `${file.path}:${line} ${kind} ${name}`),
      ),
    );
  });

  it('hold no code', () => {
    const statement = /^\s*\/\/\s*(?:const|let|import|export|return|throw|if|for)\b.*[;{]\s*$/;
    const rest = /^\s*\/\/\s*(?:.*\);|\}.*)\s*$/;
    holds(tree.flatMap((file) => linesMatching(file.path, [statement, rest])));
  });
});

describe('nothing is left over', () => {
  it('every file is compiled: tsconfig.json includes it', () => {
    holds(typeScriptPaths().filter((path) => !byPath.has(path)));
  });

  it('every file is reached from a command or from the documents that are generated', () => {
    const reached = reachableFrom(
      running.filter((file) => !file.path.startsWith('src/')),
      tree,
    );
    holds(source.map((file) => file.path).filter((path) => !reached.has(path)));
  });

  it('every export is imported', () => {
    const used = new Set(
      tree.flatMap((file) =>
        file.imports.flatMap(({ target, names }) => names.map((name) => `${target}#${name}`)),
      ),
    );
    holds(
      tree
        .filter((file) => !used.has(`${file.path}#*`))
        .flatMap((file) =>
          file.exports
            .filter(({ name }) => !used.has(`${file.path}#${name}`))
            .filter((exported) => !isPartOfAnother(exported, file))
            .map(({ name, line }) => `${file.path}:${line} ${name}`),
        ),
    );

    /** A type in the signature of another export is given to whoever uses that one. */
    function isPartOfAnother(exported: Export, file: SourceFile): boolean {
      if (exported.kind !== 'interface' && exported.kind !== 'type') return false;
      return file.exports.some(
        (other) =>
          other.node !== exported.node &&
          new RegExp(`\\b${exported.name}\\b`).test(other.node.getText(file.root)),
      );
    }
  });

  it('every template is used', () => {
    const strings = new Set([...stringLiterals(source)].map((text) => basename(text)));
    holds(
      filesBelow('templates').filter(
        (path) => !path.endsWith('.md') && !strings.has(basename(path)),
      ),
    );
  });

  it('no mark of unfinished work or of a rule switched off', () => {
    const marks = [
      /\b(?:TO[D]O|FIX[M]E|XX[X]|HAC[K])\b/,
      /biome-ignor[e]|@ts-ignor[e]|@ts-expect-erro[r]|@ts-nochec[k]|eslint-disabl[e]/,
      /\b(?:it|test|describe)\.(?:onl[y]|ski[p]|tod[o])\b|\bx(?:it|describe)\(/,
    ];
    const texts = sourceTexts.filter((path) => path !== 'package-lock.json');
    holds([
      ...texts.flatMap((path) => linesMatching(path, marks)),
      ...findNodes(tree, (node) => (node.kind === ast.SyntaxKind.AnyKeyword ? 'any' : null)),
      ...findNodes(tree, (node) => (ast.isNonNullExpression(node) ? node.getText() : null)),
    ]);
  });

  it('no host of a package registry', () => {
    const hosts = [/\bregistry\.[a-z]/, /\bnpm[j]s\b/, /\bnpm[m]irror\b/, /\bpyp[i]\.org\b/];
    const texts = [...sourceTexts, ...filesBelow('').filter((path) => path.endsWith('.md'))];
    holds(texts.flatMap((path) => linesMatching(path, hosts)));
  });
});

describe('tests', () => {
  it('in test/unit mirror src/ by path', () => {
    holds(
      tests
        .map((file) => file.path)
        .filter((path) => path.startsWith('test/unit/'))
        .filter((path) => !exists(mirrorOf(path)))
        .map((path) => `${path}: there is no ${mirrorOf(path)}`),
    );

    function mirrorOf(path: string): string {
      return path.replace(/^test\/unit\//, 'src/').replace(/\.test\.ts$/, '.ts');
    }
  });

  it('exist for every file of core/ that holds code', () => {
    const code = new Set(['function', 'class']);
    holds(
      source
        .filter((file) => dirname(file.path) === 'src/core')
        .filter((file) => file.exports.some(({ kind }) => code.has(kind)))
        .map((file) => file.path.replace('src/', 'test/unit/').replace(/\.ts$/, '.test.ts'))
        .filter((path) => !exists(path)),
    );
  });

  it('reach every file of src/: by importing it, or by starting the command that uses it', () => {
    const started = commands.filter((file) =>
      tests.some(({ text }) => text.includes(basename(file.path))),
    );
    const reached = reachableFrom([...tests, ...started], tree);
    holds(source.map((file) => file.path).filter((path) => !reached.has(path)));
  });
});

describe('errors', () => {
  it('have codes that are all used', () => {
    const used = stringLiterals(source);
    const { text } = byPath.get('src/core/errors.ts') ?? { text: '' };
    const codes = [...text.matchAll(/^ {2}([A-Z][A-Z_]+): \{/gm)].map((match) => match[1] ?? '');
    expect(codes.length).toBeGreaterThan(10);
    holds(codes.filter((code) => !used.has(code)));
  });

  it('are told in lower case without a full stop, with hints that are sentences', () => {
    holds(source.flatMap((file) => literalMessages(file)));
  });
});
