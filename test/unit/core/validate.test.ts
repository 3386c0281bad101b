import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import { Type } from '../../../src/core/type_builder.ts';
import { documentBytes, documentReader } from '../../../src/core/validate.ts';

const schema = Type.Object(
  {
    format: Type.Integer({ minimum: 1 }),
    name: Type.String({ minLength: 1 }),
    sizes: Type.Optional(Type.Array(Type.Integer({ minimum: 0 }))),
  },
  { additionalProperties: false },
);
const read = documentReader(schema, { name: 'the note', format: 2, code: 'MANIFEST_INVALID' });

/** What the reader says about these bytes. */
function refusal(bytes: Uint8Array): HoldfastError {
  try {
    read(bytes);
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('it was read');
}

const bytesOf = (text: string) => Buffer.from(text, 'utf8');
const refusalOf = (value: unknown) => refusal(documentBytes(value)).message;

describe('a document', () => {
  it('comes back as it was written, whatever is in its texts', () => {
    const note = fc.record(
      {
        format: fc.integer({ min: 1, max: 2 }),
        name: fc.string({ minLength: 1, unit: 'grapheme' }),
        sizes: fc.array(fc.nat()),
      },
      { requiredKeys: ['format', 'name'] },
    );
    fc.assert(
      fc.property(note, (value) => {
        expect(read(documentBytes(value))).toEqual(value);
      }),
    );
  });

  it('has one form only: the same value gives the same bytes, which end with a newline', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const bytes = documentBytes(value);
        const again = documentBytes(JSON.parse(Buffer.from(bytes).toString('utf8')));
        expect(Buffer.from(again).equals(bytes)).toBe(true);
        expect(bytes.at(-1)).toBe(0x0a);
      }),
    );
  });

  it('is refused with its kind, its code and the place that is wrong', () => {
    expect(refusal(documentBytes({ format: 1, name: '' })).code).toBe('MANIFEST_INVALID');
    expect(refusalOf({ format: 1 })).toBe(
      "the note is not valid: the document must have required property 'name'",
    );
    expect(refusalOf({ format: 1, name: 'a', sizes: [1, -1] })).toBe(
      'the note is not valid: /sizes/1 must be >= 0',
    );
    expect(refusalOf({ format: 1, name: 'a', 'odd "key"': 1 })).toBe(
      'the note is not valid: the document must NOT have additional properties ("odd \\"key\\"")',
    );
    expect(refusalOf(['format', 1])).toContain('the document must be object');
    expect(refusalOf(null)).toContain('the document must be object');
  });

  it('of a newer format says so before anything else about it', () => {
    const error = refusal(documentBytes({ format: 3, name: 7, what: 'comes' }));
    expect(error.message).toBe('the note has the format 3; this version knows up to 2');
    expect(error.hint).toContain('newer version');
  });

  it('is no JSON when it is cut anywhere', () => {
    const whole = documentBytes({ format: 1, name: 'ü 🐘', sizes: [1, 2] });
    for (let end = 0; end < whole.length - 1; end += 1) {
      const error = refusal(whole.subarray(0, end));
      expect(error.message, `cut after ${end} bytes`).toContain('the note is not valid JSON: ');
      expect(error.code).toBe('MANIFEST_INVALID');
      expect(error.cause).toBeInstanceOf(Error);
    }
  });

  it('is strict UTF-8 without a byte order mark', () => {
    const whole = documentBytes({ format: 1, name: 'a' });
    const latin1 = Buffer.from('{"format": 1, "name": "\xfc"}', 'latin1');
    expect(refusal(latin1).message).toContain('not valid JSON');
    expect(refusal(Buffer.concat([bytesOf('\ufeff'), whole])).message).toContain('not valid JSON');
  });
});
