/** Reads holdfast.yaml into raw values by their path, and refuses keys that do not exist. */

import { HoldfastError } from '../core/errors.ts';
import { nearest } from './nearest.ts';
import { databaseEntryTable, generalTable, groupTables, storeEntryTable } from './schema.ts';

/** One value of the file, as it was written. */
export interface YamlValue {
  /** `compression`, `connection.host`. */
  readonly path: string;
  readonly raw: unknown;
  readonly line: number | undefined;
}

/** One entry under `databases:` or `stores:`. */
export interface YamlEntry {
  readonly key: string;
  /** By the names of its settings. */
  readonly values: ReadonlyMap<string, YamlValue>;
}

/** What a file sets: keys that exist, with values that nobody has checked yet. */
export interface YamlContent {
  readonly values: readonly YamlValue[];
  readonly databases: readonly YamlEntry[];
  readonly stores: readonly YamlEntry[];
}

/** A mapping's pairs with the lines they stand in. */
interface Pair {
  readonly key: string;
  readonly node: unknown;
  readonly line: number | undefined;
}

const groups = [...Object.keys(groupTables), 'databases', 'stores'];

type Yaml = typeof import('yaml');

class YamlReader {
  readonly #yaml: Yaml;
  readonly #file: string;
  readonly #counter: InstanceType<Yaml['LineCounter']>;

  constructor(yaml: Yaml, file: string) {
    this.#yaml = yaml;
    this.#file = file;
    this.#counter = new yaml.LineCounter();
  }

  read(text: string): YamlContent {
    const document = this.#yaml.parseDocument(text, { lineCounter: this.#counter });
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem !== undefined) {
      const line = problem.linePos?.[0].line;
      const fact = problem.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '');
      this.#fail('CONFIG_UNREADABLE', line, fact ?? 'not valid YAML', 'Mend the YAML there.');
    }
    const values: YamlValue[] = [];
    const databases: YamlEntry[] = [];
    const stores: YamlEntry[] = [];
    for (const pair of this.#pairs(document.contents, '')) {
      const table = Object.entries(groupTables).find(([name]) => name === pair.key)?.[1];
      if (pair.key === 'databases') databases.push(...this.#databases(pair));
      else if (pair.key === 'stores') stores.push(...this.#stores(pair));
      else if (table !== undefined) {
        values.push(...this.#group(pair.node, pair.key, Object.keys(table)));
      } else {
        this.#mustBeKnown(pair, '', [...Object.keys(generalTable), ...groups]);
        values.push(this.#scalar(pair, pair.key));
      }
    }
    return { values, databases, stores };
  }

  #fail(
    code: 'CONFIG_UNREADABLE' | 'CONFIG_UNKNOWN_KEY' | 'CONFIG_INVALID',
    line: number | undefined,
    fact: string,
    hint: string,
  ): never {
    const place = line === undefined ? this.#file : `${this.#file} line ${line}`;
    throw new HoldfastError(code, `${place}: ${fact}`, { hint });
  }

  #line(node: unknown): number | undefined {
    const range = this.#yaml.isNode(node) ? node.range : undefined;
    return range === undefined || range === null ? undefined : this.#counter.linePos(range[0]).line;
  }

  #mustBeKnown(pair: Pair, prefix: string, known: readonly string[]): void {
    if (known.includes(pair.key)) return;
    const meant = nearest(pair.key, known);
    this.#fail(
      'CONFIG_UNKNOWN_KEY',
      pair.line,
      `there is no setting ${JSON.stringify(prefix + pair.key)}`,
      meant === null
        ? `The settings here are ${known.join(', ')}.`
        : `Did you mean ${prefix}${meant}?`,
    );
  }

  #pairs(given: unknown, path: string): Pair[] {
    const yaml = this.#yaml;
    const node = yaml.isAlias(given) ? undefined : given;
    if (node === null || (yaml.isScalar(node) && node.value === null)) return [];
    if (!yaml.isMap(node)) {
      const what = path === '' ? 'the file' : path;
      this.#fail(
        'CONFIG_INVALID',
        this.#line(given),
        `${what} is not a mapping of names to values`,
        'Write one "name: value" in each line, as in holdfast.sample.yaml.',
      );
    }
    return node.items.map((item) => ({
      key: yaml.isScalar(item.key) ? String(item.key.value) : String(item.key),
      node: item.value,
      line: this.#line(item.key),
    }));
  }

  #scalar(pair: Pair, path: string): YamlValue {
    const { node } = pair;
    if (node !== null && !this.#yaml.isScalar(node)) {
      this.#fail(
        'CONFIG_INVALID',
        pair.line,
        `${path} is not a single value`,
        'Put text with special characters into quotes.',
      );
    }
    return { path, raw: node === null ? null : node.value, line: pair.line };
  }

  #group(node: unknown, path: string, known: readonly string[]): YamlValue[] {
    return this.#pairs(node, path).map((pair) => {
      this.#mustBeKnown(pair, `${path}.`, known);
      return this.#scalar(pair, `${path}.${pair.key}`);
    });
  }

  #databases(whole: Pair): YamlEntry[] {
    const yaml = this.#yaml;
    if (yaml.isSeq(whole.node)) {
      return whole.node.items.map((item) => {
        const name = yaml.isScalar(item) ? item.value : undefined;
        if (typeof name !== 'string' || name === '' || name.includes('://')) {
          this.#fail(
            'CONFIG_INVALID',
            this.#line(item),
            'an entry of the list of databases is not a name',
            'Write "databases: { name: { url: … } }" for a database with a connection of its own.',
          );
        }
        return { key: name, values: new Map() };
      });
    }
    return this.#pairs(whole.node, 'databases').map((pair) => {
      const path = `databases.${pair.key}`;
      if (yaml.isScalar(pair.node) && typeof pair.node.value === 'string') {
        const url: YamlValue = { path: `${path}.url`, raw: pair.node.value, line: pair.line };
        return { key: pair.key, values: new Map([['url', url]]) };
      }
      return this.#entry(pair, path, Object.keys(databaseEntryTable));
    });
  }

  #entry(pair: Pair, path: string, known: readonly string[]): YamlEntry {
    const values = this.#group(pair.node, path, known);
    return {
      key: pair.key,
      values: new Map(values.map((value) => [value.path.slice(path.length + 1), value])),
    };
  }

  #stores(whole: Pair): YamlEntry[] {
    return this.#pairs(whole.node, 'stores').map((pair) => {
      if (!/^[a-z][a-z0-9_-]{0,31}$/.test(pair.key) || ['local', 's3'].includes(pair.key)) {
        this.#fail(
          'CONFIG_INVALID',
          pair.line,
          `${JSON.stringify(pair.key)} is no name for a store`,
          'Write lower-case letters, digits, _ and -, and neither local nor s3.',
        );
      }
      return this.#entry(pair, `stores.${pair.key}`, Object.keys(storeEntryTable));
    });
  }
}

/**
 * Parses the text of a holdfast.yaml.
 *
 * @param file its path, for messages
 * @throws HoldfastError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY (with the nearest key that exists)
 *   or CONFIG_INVALID (the shape, not the values)
 */
export async function parseYamlFile(text: string, file: string): Promise<YamlContent> {
  return new YamlReader(await import('yaml'), file).read(text);
}
