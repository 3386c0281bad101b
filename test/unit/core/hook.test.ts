import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import {
  type HookDocument,
  hookNames,
  hookSchemaText,
  hookVariables,
} from '../../../src/core/hook.ts';

const document: HookDocument = {
  format: 1,
  source: 'holdfast',
  hook: 'on_failure',
  event: 'backup',
  status: 'failed',
  database: 'app $(id)\n"x"',
  cluster: null,
  server: 'db1:5432',
  label: null,
  error: { code: 'NO_SPACE', message: 'no space left', hint: null, exit_status: 3 },
  repository: '/srv/backups',
  host: 'db1',
  run_id: 'r1',
  timestamp: '2026-11-21T02:00:00.000Z',
  facts: { bytes: 5 },
};

describe('what a hook is told', () => {
  it('fits the schema that is published', () => {
    const validate = new Ajv().compile(JSON.parse(hookSchemaText()));
    expect(validate(document)).toBe(true);
    for (const hook of hookNames) expect(validate({ ...document, hook })).toBe(true);
    expect(validate({ ...document, hook: 'sometimes' })).toBe(false);
    expect(validate({ ...document, password: 'x' })).toBe(false);
  });

  it('stands in variables, and what is not known is empty', () => {
    expect(hookVariables(document)).toEqual({
      HOLDFAST_HOOK: 'on_failure',
      HOLDFAST_EVENT: 'backup',
      HOLDFAST_STATUS: 'failed',
      HOLDFAST_DATABASE: 'app $(id)\n"x"',
      HOLDFAST_CLUSTER: '',
      HOLDFAST_SERVER: 'db1:5432',
      HOLDFAST_LABEL: '',
      HOLDFAST_ERROR: 'no space left',
      HOLDFAST_ERROR_CODE: 'NO_SPACE',
      HOLDFAST_EXIT_STATUS: '3',
      HOLDFAST_REPOSITORY: '/srv/backups',
      HOLDFAST_HOST: 'db1',
      HOLDFAST_RUN_ID: 'r1',
      HOLDFAST_TIMESTAMP: '2026-11-21T02:00:00.000Z',
    });
    const done = { ...document, status: 'succeeded', error: null } as const;
    expect(hookVariables(done)).toMatchObject({ HOLDFAST_EXIT_STATUS: '0', HOLDFAST_ERROR: '' });
    const begun = { ...document, status: 'starting', error: null } as const;
    expect(hookVariables(begun).HOLDFAST_EXIT_STATUS).toBe('');
  });

  it('can be handed to any program: bounded, without NUL, and no half characters', () => {
    const message = `a\0b${'🐘'.repeat(10_000)}`;
    const error = { code: 'NO_SPACE', message, hint: null, exit_status: 3 };
    const { HOLDFAST_ERROR: text = '' } = hookVariables({ ...document, error });
    expect(text).toMatch(/^a b🐘/u);
    expect(text.length).toBeLessThanOrEqual(4_000);
    expect(text.isWellFormed()).toBe(true);
  });
});
