/**
 * The project's own files, as the tests that hold the house in order see them: paths, texts, and
 * for TypeScript what a file imports, exports and holds, from TypeScript's own parser.
 */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as ast from 'typescript/unstable/ast';
import { API } from 'typescript/unstable/sync';

/** The checkout. */
export const projectDir = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Folders that are no part of the project, wherever they are. */
const foreign = new Set(['node_modules', '.git']);
/** Folders of the checkout that runs leave behind. */
const results = new Set(['backups', 'quickstart', 'coverage', 'logs']);

/** Whether a file or folder exists; `path` is relative to the checkout. */
export function exists(path: string): boolean {
  return statSync(join(projectDir, path), { throwIfNoEntry: false }) !== undefined;
}

/** Whether a file is marked as executable; `path` is relative to the checkout. */
export function isExecutable(path: string): boolean {
  return exists(path) && (statSync(join(projectDir, path)).mode & 0o111) !== 0;
}

/** The text of a file; `path` is relative to the checkout. */
export function readText(path: string): string {
  return readFileSync(join(projectDir, path), 'utf8');
}

/** The paths of all files below a folder of the checkout (`''`: all), sorted. */
export function filesBelow(folder: string): string[] {
  if (!exists(folder)) return [];
  return readdirSync(join(projectDir, folder), { withFileTypes: true })
    .filter(({ name }) => !foreign.has(name) && !(folder === '' && results.has(name)))
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      return entry.isDirectory() ? filesBelow(path) : [path];
    })
    .sort();
}

/** One import of a module, in whatever form. */
export interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** The file of this project behind it, relative to the checkout; `null` for a package. */
  readonly target: string | null;
  /** What is taken from it; `*` stands for everything. */
  readonly names: readonly string[];
  readonly line: number;
}

/** One exported declaration. */
export interface Export {
  readonly name: string;
  readonly kind: 'function' | 'class' | 'interface' | 'type' | 'const';
  readonly node: ast.Node;
  readonly line: number;
}

/** One TypeScript file. */
export interface SourceFile {
  /** Relative to the checkout. */
  readonly path: string;
  readonly text: string;
  readonly root: ast.SourceFile;
  readonly imports: readonly Import[];
  readonly exports: readonly Export[];
}

/** Calls `visit` for a node and everything in it, from the outside in. */
export function walk(node: ast.Node, visit: (node: ast.Node) => void): void {
  visit(node);
  node.forEachChild((child) => {
    walk(child, visit);
  });
}

/** The line of a position, counted from 1. */
export function lineOf(file: ast.SourceFile, position: number): number {
  return file.getLineAndCharacterOfPosition(position).line + 1;
}

/** The text of a string literal or of a template without placeholders; else `null`. */
export function literalText(node: ast.Node | undefined): string | null {
  if (node === undefined) return null;
  return ast.isStringLiteral(node) || ast.isNoSubstitutionTemplateLiteral(node) ? node.text : null;
}

/** The folders whose TypeScript is held to the rules. */
const codeFolders = ['src', 'scripts', 'docs', 'test', 'bench'];

/** The paths of every TypeScript file of the project. */
export function typeScriptPaths(): string[] {
  return codeFolders.flatMap((folder) => filesBelow(folder)).filter((path) => path.endsWith('.ts'));
}

/** Parses every TypeScript file that tsconfig.json includes, the whole once. */
export function readSourceTree(): SourceFile[] {
  const api = new API({ cwd: projectDir });
  try {
    const snapshot = api.updateSnapshot({ openProjects: [join(projectDir, 'tsconfig.json')] });
    const program = snapshot.getProjects()[0]?.program;
    return typeScriptPaths().flatMap((path) => {
      const root = program?.getSourceFile(join(projectDir, path));
      if (root === undefined) return [];
      const { text } = root;
      return [{ path, text, root, imports: importsOf(root, path), exports: exportsOf(root) }];
    });
  } finally {
    api.close();
  }
}

function importsOf(root: ast.SourceFile, path: string): Import[] {
  const imports: Import[] = [];
  const add = (module: ast.Node | undefined, names: readonly string[]) => {
    const specifier = literalText(module);
    if (module === undefined || specifier === null) return;
    const target = specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : null;
    imports.push({ specifier, target, names, line: lineOf(root, module.getStart(root)) });
  };
  walk(root, (node) => {
    if (ast.isImportDeclaration(node)) {
      add(node.moduleSpecifier, namesOfClause(node.importClause));
    } else if (ast.isExportDeclaration(node)) {
      add(node.moduleSpecifier, namesOfBindings(node.exportClause));
    } else if (ast.isImportTypeNode(node)) {
      const literal = ast.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
      const [name = '*'] = node.qualifier?.getText(root).split('.') ?? [];
      add(literal, [name]);
    } else if (
      ast.isCallExpression(node) &&
      node.expression.kind === ast.SyntaxKind.ImportKeyword
    ) {
      add(node.arguments[0], namesOfDynamicImport(node));
    }
  });
  return imports;
}

function namesOfClause(clause: ast.ImportClause | undefined): string[] {
  if (clause === undefined) return [];
  const own = clause.name === undefined ? [] : ['default'];
  return clause.namedBindings === undefined
    ? own
    : [...own, ...namesOfBindings(clause.namedBindings)];
}

function namesOfBindings(bindings: ast.Node | undefined): string[] {
  if (bindings === undefined || !(ast.isNamedImports(bindings) || ast.isNamedExports(bindings))) {
    return ['*'];
  }
  return bindings.elements.map((element) => (element.propertyName ?? element.name).text);
}

/** `const { a } = await import('…')` takes `a`; every other form takes everything. */
function namesOfDynamicImport(call: ast.Node): string[] {
  const awaited = ast.isAwaitExpression(call.parent) ? call.parent : call;
  const { parent } = awaited;
  if (ast.isPropertyAccessExpression(parent.parent) && ast.isParenthesizedExpression(parent)) {
    return [parent.parent.name.text];
  }
  if (!ast.isVariableDeclaration(parent) || !ast.isObjectBindingPattern(parent.name)) return ['*'];
  return parent.name.elements.map((element) =>
    (element.propertyName ?? element.name ?? element).getText(),
  );
}

function exportsOf(root: ast.SourceFile): Export[] {
  const found: Export[] = [];
  for (const node of root.statements) {
    const { modifiers } = node as { readonly modifiers?: readonly ast.Node[] };
    if (!modifiers?.some((modifier) => modifier.kind === ast.SyntaxKind.ExportKeyword)) continue;
    const line = lineOf(root, node.getStart(root));
    if (ast.isVariableStatement(node)) {
      for (const declaration of node.declarationList.declarations) {
        found.push({ name: declaration.name.getText(root), kind: 'const', node, line });
      }
      continue;
    }
    const kind = kindOf(node);
    const { name } = node as { readonly name?: ast.Node };
    if (kind !== null && name !== undefined) {
      found.push({ name: name.getText(root), kind, node, line });
    }
  }
  return found;
}

function kindOf(node: ast.Node): Exclude<Export['kind'], 'const'> | null {
  if (ast.isFunctionDeclaration(node)) return 'function';
  if (ast.isClassDeclaration(node)) return 'class';
  if (ast.isInterfaceDeclaration(node)) return 'interface';
  return ast.isTypeAliasDeclaration(node) ? 'type' : null;
}
