/** The words of a statement, and whether a semicolon ends it, by the rules of psql's psqlscan.l. */

const wordsMax = 16;
/** Where psql counts BEGIN and END: `CREATE [OR REPLACE] {FUNCTION | PROCEDURE}`. */
const functionHead = /^c(?:or)?[fp]/;
const headWords = new Set(['create', 'or', 'replace', 'function', 'procedure']);
const headLength = 4;

/** Takes what stands in a statement. */
export class SqlWords {
  /** The first ones, in lower case, outside of parentheses; `""` for a quoted name. */
  words: string[] = [];
  #head = '';
  #isFunction = false;
  #parentheses = 0;
  #begins = 0;

  /** Whether the next word is looked at. */
  get wantsWord(): boolean {
    // Of these nothing more matters, and a dump may have a million of them.
    if (this.words[0] === 'insert') return false;
    if (this.#isFunction || this.#head.length < headLength) return true;
    return this.#parentheses === 0 && this.words.length < wordsMax;
  }

  /** A semicolon inside of parentheses or of a function's BEGIN … END ends no statement. */
  get endsHere(): boolean {
    return this.#parentheses === 0 && this.#begins === 0;
  }

  /** A new statement; psql takes the parentheses and BEGINs that were left open with it. */
  reset(): void {
    this.words = [];
    this.#head = '';
    this.#isFunction = false;
  }

  parenthesis(isOpening: boolean): void {
    if (isOpening) this.#parentheses += 1;
    else if (this.#parentheses > 0) this.#parentheses -= 1;
  }

  name(): void {
    if (this.#parentheses === 0 && this.words.length < wordsMax) this.words.push('""');
  }

  word(text: string): void {
    const word = text.toLowerCase();
    const isOutside = this.#parentheses === 0;
    if (isOutside && this.words.length < wordsMax) this.words.push(word);
    if (this.#head.length < headLength) {
      this.#head += headWords.has(word) ? word.charAt(0) : '-';
      this.#isFunction = functionHead.test(this.#head);
    }
    if (!this.#isFunction || !isOutside) return;
    if (word === 'begin' || (word === 'case' && this.#begins > 0)) this.#begins += 1;
    else if (word === 'end' && this.#begins > 0) this.#begins -= 1;
  }
}
