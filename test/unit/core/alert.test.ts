import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { type Alert, alertSchemaText, parseAlert, reaches } from '../../../src/core/alert.ts';
import { documentBytes } from '../../../src/core/validate.ts';

const alert: Alert = {
  format: 1,
  source: 'holdfast',
  id: 'a1',
  event: 'backup',
  priority: 'high',
  status: 'firing',
  title: 'the backup of "app" failed',
  message: 'there is no space left',
  cluster: null,
  database: 'app',
  host: 'db1',
  timestamp: '2026-11-21T02:00:00.000Z',
  key: 'backup/db1:5432/app',
  details: { exit_status: 3, code: 'NO_SPACE', hint: null, dry: false },
};

describe('an alert', () => {
  it('is read as it was kept', () => {
    expect(parseAlert(documentBytes(alert))).toEqual(alert);
  });

  it.each([
    ['a priority that is none', { priority: 'urgent' }],
    ['no title', { title: '' }],
    ['something more', { password: 'x' }],
    ['a detail with something in it', { details: { a: { b: 1 } } }],
  ])('is damaged with %s', (_what, change) => {
    const bytes = documentBytes({ ...alert, ...change });
    expect(() => parseAlert(bytes)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  });

  it('is refused in a newer format, with what to do', () => {
    expect(() => parseAlert(documentBytes({ ...alert, format: 2 }))).toThrow(/format 2/);
  });

  it('has a published schema that others can hold it against', () => {
    const schema = JSON.parse(alertSchemaText());
    const validate = new Ajv().compile(schema);
    expect(validate(alert)).toBe(true);
    expect(validate({ ...alert, status: 'over' })).toBe(false);
  });
});

describe('a channel with a least priority', () => {
  it.each([
    ['info', 'info', true],
    ['info', 'medium', false],
    ['critical', 'high', true],
    ['high', 'critical', false],
  ] as const)('%s where at least %s is wanted: %s', (priority, least, expected) => {
    expect(reaches(priority, least)).toBe(expected);
  });
});
