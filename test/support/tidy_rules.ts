/** What the rules of test/tidy.test.ts are made of: each finds the places that break a rule. */

import * as ast from 'typescript/unstable/ast';
import {
  type Export,
  lineOf,
  literalText,
  readText,
  type SourceFile,
  walk,
} from './source_tree.ts';

/** The imports that are written in a certain way. */
export function importsMatching(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap((file) =>
    file.imports
      .filter(({ specifier }) => pattern.test(specifier))
      .map(({ specifier, line }) => `${file.path}:${line} imports ${specifier}`),
  );
}

/** One violation for each node that `broken` finds fault with. */
export function findNodes(
  files: readonly SourceFile[],
  broken: (node: ast.Node, file: SourceFile) => string | null,
): string[] {
  const found: string[] = [];
  for (const file of files) {
    walk(file.root, (node) => {
      const fault = broken(node, file);
      if (fault === null) return;
      found.push(`${file.path}:${lineOf(file.root, node.getStart(file.root))} ${fault}`);
    });
  }
  return found;
}

/** `process.env` and the like, as the words that a property access is made of. */
export function accessText(node: ast.Node): string | null {
  if (!ast.isPropertyAccessExpression(node) || !ast.isIdentifier(node.expression)) return null;
  return `${node.expression.text}.${node.name.text}`;
}

function isArglessDate(node: ast.Node): boolean {
  return (
    ast.isNewExpression(node) &&
    ast.isIdentifier(node.expression) &&
    node.expression.text === 'Date' &&
    (node.arguments?.length ?? 0) === 0
  );
}

/** What reads a clock, if the node does. */
export function clockRead(node: ast.Node): string | null {
  if (isArglessDate(node)) return 'new Date()';
  const text = accessText(node);
  return text !== null && /^(?:Date\.now|performance\.now|process\.hrtime)$/.test(text)
    ? text
    : null;
}

/** What is random, if the node is. */
export function randomness(node: ast.Node): string | null {
  if (accessText(node) === 'Math.random') return 'Math.random';
  return ast.isIdentifier(node) && /^(?:randomBytes|randomUUID|randomInt)$/.test(node.text)
    ? importedFromCrypto(node)
    : null;
}

function importedFromCrypto(node: ast.Identifier): string | null {
  return ast.isImportSpecifier(node.parent) ? `${node.text} of node:crypto` : null;
}

/** Every circle of imports once, as `a → b → a`. Types count: a circle of types is one of ideas. */
export function findCircles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const circles = new Set<string>();
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    const start = trail.indexOf(path);
    if (start >= 0) {
      const circle = trail.slice(start);
      const first = circle.indexOf(circle.toSorted()[0] ?? path);
      const turned = [...circle.slice(first), ...circle.slice(0, first)];
      circles.add([...turned, turned[0]].join(' → '));
      return;
    }
    if (finished.has(path)) return;
    for (const { target } of byPath.get(path)?.imports ?? []) {
      if (target !== null) visit(target, [...trail, path]);
    }
    finished.add(path);
  };
  for (const file of files) visit(file.path, []);
  return [...circles];
}

/**
 * Whether a comment tells what is exported. A constant or type may share the comment of the one
 * right above it; a type that is derived from a value (`typeof`) is told there; and the fields of
 * what one function takes (`…Options`, `…Input`) are told one by one.
 */
export function isDescribed(exported: Export, file: SourceFile): boolean {
  const { root } = file;
  const trivia = file.text.slice(exported.node.pos, exported.node.getStart(root));
  if (/\/\*\*(?:[^*]|\*(?!\/))*\*\/\s*(?:\/\/[^\n]*\s*)*$/.test(trivia)) return true;
  if (exported.kind === 'interface' && /(?:Options|Input)$/.test(exported.name)) return true;
  if (exported.kind === 'type') {
    const text = exported.node.getText(root);
    if (/\btypeof\b/.test(text)) return true;
  }
  if (exported.kind !== 'type' && exported.kind !== 'const') return false;
  const above = file.exports.findLast((other) => other.node.getEnd() <= exported.node.pos);
  return above !== undefined && trivia === '\n' && isDescribed(above, file);
}

/** The lines of a file that match one of the patterns, each with its place. */
export function linesMatching(path: string, patterns: readonly RegExp[]): string[] {
  return readText(path)
    .split('\n')
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => patterns.some((pattern) => pattern.test(line)))
    .map(({ line, number }) => `${path}:${number} ${line.slice(0, 100)}`);
}

/** The paths of the files and of everything that they import, also through others. */
export function reachableFrom(
  roots: readonly SourceFile[],
  tree: readonly SourceFile[],
): Set<string> {
  const byPath = new Map(tree.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const waiting = [...roots];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (reached.has(file.path)) continue;
    reached.add(file.path);
    for (const { target } of file.imports) {
      const next = target === null ? undefined : byPath.get(target);
      if (next !== undefined) waiting.push(next);
    }
  }
  return reached;
}

/** The texts of all string literals. */
export function stringLiterals(files: readonly SourceFile[]): Set<string> {
  const texts = new Set<string>();
  for (const file of files) {
    walk(file.root, (node) => {
      const text = literalText(node);
      if (text !== null) texts.add(text);
    });
  }
  return texts;
}
