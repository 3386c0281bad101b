/** How errors are worded, as far as literals tell it (STYLE: message, then a hint). */

import * as ast from 'typescript/unstable/ast';
import { lineOf, type SourceFile, walk } from './source_tree.ts';

/** Words that keep their capital at the start of a message: names, not sentences. */
const properNames = /^(?:PostgreSQL|Holdfast|Node|Debian|Windows|I\/O)\b/;

/** The first and the last piece of text of an expression; `null` where it is no literal. */
interface Ends {
  readonly first: string | null;
  readonly last: string | null;
}

/** Every way in which an expression of literals can begin and end. */
function endsOf(node: ast.Node): Ends[] {
  if (ast.isParenthesizedExpression(node)) return endsOf(node.expression);
  if (ast.isStringLiteral(node) || ast.isNoSubstitutionTemplateLiteral(node)) {
    return [{ first: node.text, last: node.text }];
  }
  if (ast.isTemplateExpression(node)) {
    const tail = node.templateSpans.at(-1)?.literal.text ?? '';
    return [{ first: node.head.text || null, last: tail || null }];
  }
  if (ast.isConditionalExpression(node)) {
    return [...endsOf(node.whenTrue), ...endsOf(node.whenFalse)];
  }
  if (ast.isBinaryExpression(node) && node.operatorToken.kind === ast.SyntaxKind.PlusToken) {
    const left = endsOf(node.left);
    const right = endsOf(node.right);
    return left.flatMap(({ first }) => right.map(({ last }) => ({ first, last })));
  }
  return [{ first: null, last: null }];
}

function faultOfMessage({ first, last }: Ends): string | null {
  if (first !== null && /^[A-Z][a-z]/.test(first) && !properNames.test(first)) {
    return `the message begins with a capital: ${first}`;
  }
  if (last !== null && /[^.]\.$/.test(last)) return `the message ends with a full stop: ${last}`;
  return null;
}

function faultOfHint({ first, last }: Ends): string | null {
  if (first !== null && /^[a-z]+ /.test(first)) {
    return `the hint begins with a small letter: ${first}`;
  }
  if (last !== null && !/[.?!]\)?$/.test(last)) return `the hint has no full stop: ${last}`;
  return null;
}

/** The faults in the literals of a file's errors, each with its place. */
export function literalMessages(file: SourceFile): string[] {
  const faults: string[] = [];
  const judge = (node: ast.Node, judgement: (ends: Ends) => string | null) => {
    for (const ends of endsOf(node)) {
      const fault = judgement(ends);
      if (fault === null) continue;
      faults.push(`${file.path}:${lineOf(file.root, node.getStart(file.root))} ${fault}`);
    }
  };
  walk(file.root, (node) => {
    if (ast.isNewExpression(node) && node.expression.getText(file.root) === 'HoldfastError') {
      const message = node.arguments?.[1];
      if (message !== undefined) judge(message, faultOfMessage);
    }
    if (ast.isPropertyAssignment(node) && node.name.getText(file.root) === 'hint') {
      judge(node.initializer, faultOfHint);
    }
  });
  return faults;
}
