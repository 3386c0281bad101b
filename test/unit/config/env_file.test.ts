import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseEnvFile } from '../../../src/config/env_file.ts';

const values = (text: string) =>
  Object.fromEntries(parseEnvFile(text, '/x/.env').map(({ name, value }) => [name, value]));

describe('parseEnvFile', () => {
  it('reads assignments, exports, comments and quotes, with their lines', () => {
    const text = `\uFEFF# first\r\nA=one # said\n\nexport B="two # kept"\nC='$(x) \`y\` \${z}'\nD="a\nb"\nE = 5\n`;
    expect(parseEnvFile(text, '/x/.env')).toEqual([
      { name: 'A', value: 'one', line: 2 },
      { name: 'B', value: 'two # kept', line: 4 },
      { name: 'C', value: '$(x) `y` $' + '{z}', line: 5 },
      { name: 'D', value: 'a\nb', line: 6 },
      { name: 'E', value: '5', line: 8 },
    ]);
  });

  it.each([
    ['PGPASSWORD=se#cret', /line 1: PGPASSWORD holds a # without quotes/],
    ['A=1\nPGPASSWORD=#secret', /line 2: PGPASSWORD holds a #/],
    ['A=say "x # y"', /holds a #/],
    ['A=$(cat /etc/passwd)', /A holds \$\(/],
    ['A="$(cat x)"', /A holds \$\(/],
    ['A=`id`', /A holds `/],
    [`A=$${'{HOME}'}/x`, /A holds \$\{/],
    ['A="open', /quote around A is not closed/],
    ["A='a'b", /text follows the closing quote/],
    ['just words', /line 1: not of the form/],
    ['A=1\nB=2\nA=3', /line 3: A is set already in line 1/],
  ])('refuses %j', (text, message) => {
    expect(() => parseEnvFile(text, '/x/.env')).toThrow(message);
  });

  it('shows no value in a refusal', () => {
    expect(() => parseEnvFile('A=hunter#2', 'f')).not.toThrow(/hunter/);
  });

  it('gives each value whole or refuses it, whatever stands in the other lines', () => {
    const part = fc.stringMatching(/^[ -~]{0,12}$/);
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), (parts) => {
        const text = parts.map((value, index) => `N${index}=${value}\n`).join('');
        let read: Record<string, string>;
        try {
          read = values(text);
        } catch {
          return;
        }
        for (const [index, value] of parts.entries()) {
          if (/["']/.test(value)) continue;
          const name = `N${index}`;
          const plain = value.replace(/(^|\s+)#.*$/, '').trim();
          // A quote that an earlier line opens and a later one closes takes this line in whole.
          const within = Object.values(read).some((each) => each.includes(`${name}=${value}\n`));
          if (!within) expect(read[name]).toBe(plain);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
